"""QLinearGlobalAveragePool: float32 rounding to even of the sum without zero points, then the zero point.

Its scale is ``f32(sx / f32(sy * f32(n)))``. (The kernel for NEON has a 24-bit integer multiplier and sends
ties away from zero.)
"""

from __future__ import annotations

import math

import numpy as np

from simulator.fixedpoint.requantize import REQUANTIZERS
from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops import _reduction, _reduction_codes
from simulator.program.commands import LaneWork, Vector


def _scale(graph: Graph, node: Node, count: int) -> np.float32:
    source, target = graph.quantization(node.inputs[0]), graph.quantization(node.outputs[0])
    return np.float32(source.scale) / (np.float32(target.scale) * np.float32(count))


def global_codes(
    graph: Graph, node: Node, x: np.ndarray, reduced: tuple[int, ...]
) -> np.ndarray:  # fmt: skip
    """The codes of all means over the axes ``reduced``, flat; int64."""
    source, target = graph.quantization(node.inputs[0]), graph.quantization(node.outputs[0])
    spec, kept = graph.spec(node.outputs[0]), [d for d in range(x.ndim) if d not in reduced]
    rows = x.transpose(*kept, *reduced).reshape(-1, math.prod(x.shape[d] for d in reduced))
    codes = []
    for row in rows:
        total = sum(int(v) - source.zero_point for v in row)
        code = int(np.rint(np.float32(total) * _scale(graph, node, row.size))) + target.zero_point
        codes.append(min(max(code, spec.minimum), spec.maximum))
    return np.array(codes, np.int64)


def lower_global(graph: Graph, node: Node, reduced: tuple[int, ...]) -> common.Lowered:
    """The same on the vector unit; the reduced axes are neighbours."""
    shape = graph.spec(node.inputs[0]).shape
    seen = _reduction.view(shape, reduced)
    assert seen is not None
    source, target = graph.quantization(node.inputs[0]), graph.quantization(node.outputs[0])
    count = math.prod(shape[d] for d in reduced)
    pair = REQUANTIZERS["float32_even"].convert(float(_scale(graph, node, count)))
    way = _reduction_codes.Requantized(
        "float32_even", *pair, count * source.zero_point, target.zero_point
    )
    command = Vector(
        name=node.name, operator=node.operator, function="reduce", inputs=node.inputs[:1],
        ofmap=node.outputs[0], nest=seen.nest,
        parameters=_reduction_codes.parameters(way, graph.spec(node.outputs[0])),
        lane=LaneWork(cycles=count + 1, multiplies=1, adds=count),
    )  # fmt: skip
    return common.Lowered((command,))
