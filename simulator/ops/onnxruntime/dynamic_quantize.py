"""DynamicQuantizeLinear: float32 numbers to uint8 codes whose scale and zero point they make themselves.

``scale = f32((max - min) / 255)`` with 0 among the numbers; the zero point is ``rint(0 - min / scale)``
within 0 .. 255; codes are ``rint(f32(x / scale)) + zero point``. All-zero numbers have the scale 1.

Two passes: for the extremes, and for the codes. A device whose vector unit notes the extremes of what it
writes needs the second one only. One that has no float32 leaves all to the host.
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops.add import elementwise_nest
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Vector
from simulator.program.nest import untiled
from simulator.tensor import TensorSpec

SUMMARY = "float32 numbers to uint8 codes, their scale and their zero point"
COMMAND = (
    "vector extremes or seen_extremes, three of dynamic_quantize; without float32 three of the host"
)
PROFILES = {"onnxruntime": RUN}


def numbers_to_codes(graph: Graph, node: Node) -> bool:
    """the input is float32; the outputs are uint8 codes, a float32 scale and a uint8 zero point"""
    kinds = [graph.spec(n).dtype for n in (node.inputs[0], *node.outputs)]
    return kinds == ["f32", "u8", "f32", "u8"] and all(node.outputs)


RULES = (common.takes(1, 1), numbers_to_codes)


def infer(graph: Graph, node: Node) -> list[tuple[int, ...]]:
    return [graph.spec(node.inputs[0]).shape, (), ()]


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    values = list(inputs[0].reshape(-1))
    low = min(np.float32(0), *values)
    high = max(np.float32(0), *values)
    scale = (high - low) / np.float32(255) if high != low else np.float32(1)
    zero = min(max(int(np.rint(np.float32(0) - low / scale)), 0), 255)
    codes = [min(max(int(np.rint(v / scale)) + zero, 0), 255) for v in values]
    shaped = np.array(codes, np.int64).reshape(inputs[0].shape)
    return [shaped, np.array(scale, np.float32), np.array(zero, np.int64)]


# A quotient and a sum, and rounding, for a code; as float_codes counts them.
_CODE = LaneWork(cycles=2, multiplies=1, adds=1)
_SCALAR = LaneWork(cycles=1, multiplies=1, adds=1)
# Operators that a unit with float32 computes and writes itself, of numbers.
_WRITTEN = ("add", "sub", "mul", "div", "prelu", "cast", "mean", "dequantize")


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    codes, scale, zero = node.outputs
    numbers = node.inputs[0]
    if not device.vector.float32:
        # Of the host: extremes of all elements for the scale, then a quotient and a sum per element.
        every = LaneWork(cycles=2 * graph.spec(numbers).elements, multiplies=0, adds=0)
        plan = {scale: ((numbers,), every), zero: ((numbers, scale), _SCALAR)}
        return common.Lowered(
            _commands(graph, node, {**plan, codes: ((numbers, scale, zero), _CODE)})
        )
    extremes = f"{node.name}/extremes"
    first = _extremes(graph, node, extremes, device)
    rows = first.nest.out_w
    over = LaneWork(cycles=2 * rows, multiplies=1, adds=2 * rows)
    plan = {
        scale: ((extremes,), over), zero: ((extremes, scale), _SCALAR),
        codes: ((numbers, scale, zero), _CODE),
    }  # fmt: skip
    commands = (first, *_commands(graph, node, plan))
    return common.Lowered(commands, tensors={extremes: TensorSpec((rows, 2), "f32")})


def _commands(
    graph: Graph, node: Node, plan: dict[str, tuple[tuple[str, ...], LaneWork]]
) -> tuple[Vector, ...]:
    """A command for each output, of these inputs and this work per element."""
    return tuple(
        Vector(
            name=name, operator=node.operator, function="dynamic_quantize", inputs=inputs, ofmap=name,
            nest=elementwise_nest(graph.spec(name).shape), parameters=(), lane=lane,
        )
        for name, (inputs, lane) in plan.items()
    )  # fmt: skip


def _extremes(graph: Graph, node: Node, made: str, device: Device) -> Vector:
    """The least and the largest number of each row: in a pass over them, or of all together as the unit has
    noted them while it wrote."""
    name = node.inputs[0]
    if device.vector.range_reducer and _written_by_the_unit(graph, name):
        nest, function = untiled(out=(1, 1), n=2, ifmap=(1, 1)), "seen_extremes"
        lane = LaneWork(cycles=1, multiplies=0, adds=0)
    else:
        shape = [d for d in graph.spec(name).shape if d > 1] or [1]
        rows = shape[0] if len(shape) > 1 else 1
        row = graph.spec(name).elements // rows
        nest, function = untiled(out=(1, rows), n=2, k=row, ifmap=(1, rows)), "extremes"
        lane = LaneWork(cycles=row, multiplies=0, adds=row)
    return Vector(
        name=made, operator=node.operator, function=function, inputs=(name,), ofmap=made, nest=nest,
        parameters=(), lane=lane,
    )  # fmt: skip


def _written_by_the_unit(graph: Graph, name: str) -> bool:
    made_by = {n.outputs[0]: n for n in graph.nodes}
    while name in made_by and made_by[name].operator == "reshape":
        name = made_by[name].inputs[0]
    return name in made_by and made_by[name].operator in _WRITTEN
