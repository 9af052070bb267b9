"""Functions of one 8-bit code: a table of 256 entries, filled by the profile's arithmetic.

LiteRT fills its own tables in float32 (``LUTPopulate``): the real value of the code, the function, times
``f32(1 / s_out)``, rounded ties away, then the zero point. XNNPACK adds the zero point before it rounds,
ties to even. The functions themselves come from the C library there; here each is the float32 nearest to
the exact value, which a library may miss by one unit. That shows only where a value lies on the edge
between two codes (a few entries in 10**5 even if scales are chosen for it).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops import _elementwise
from simulator.program.commands import LaneWork, Vector
from simulator.tensor import TensorSpec

Code = Callable[[int], int]  # from a code to a code, as it is in the tensors
Real = Callable[[np.float32], np.float32]

LOOKUP_LANE = LaneWork(cycles=1, multiplies=0, adds=0, lookups=1)


def float_table(graph: Graph, node: Node, function: Real, by_xnnpack: bool = False) -> Code:
    """A table filled in float32 with ``function`` of real values."""
    source, target = (graph.quantization(n) for n in (node.inputs[0], node.outputs[0]))
    spec = graph.spec(node.outputs[0])
    inverse = np.float32(1) / np.float32(target.scale)
    zero = np.float32(target.zero_point)

    def code(x: int) -> int:
        with np.errstate(over="ignore"):
            real = function(np.float32(source.scale) * np.float32(x - source.zero_point))
            scaled = real * inverse
        # Larger than any code and small enough for an integer.
        scaled = np.clip(scaled, np.float32(-(2**20)), np.float32(2**20))
        rounded = (
            int(np.rint(scaled + zero))
            if by_xnnpack
            else common.round_half_away(float(scaled)) + target.zero_point
        )
        return min(max(rounded, spec.minimum), spec.maximum)

    return code


def reference(code: Code, x: np.ndarray) -> np.ndarray:
    """``code`` of every element."""
    return np.array([code(v) for v in x.reshape(-1).tolist()], np.int64).reshape(x.shape)


def lower(graph: Graph, node: Node, code: Code) -> common.Lowered:
    """A look-up in the table of all codes."""
    spec, made = graph.spec(node.inputs[0]), graph.spec(node.outputs[0])
    entries = [code(x) for x in range(spec.minimum, spec.maximum + 1)]
    table = f"{node.name}/table"
    command = Vector(
        name=node.name, operator=node.operator, function="lookup", inputs=(node.inputs[0], table),
        ofmap=node.outputs[0], nest=_elementwise.elementwise_nest(made.shape), parameters=(),
        lane=LOOKUP_LANE,
    )  # fmt: skip
    return common.Lowered(
        (command,), {table: np.array(entries, made.container)},
        tensors={table: TensorSpec((len(entries),), made.dtype)},
    )  # fmt: skip
