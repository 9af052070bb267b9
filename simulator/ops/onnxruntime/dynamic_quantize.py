"""DynamicQuantizeLinear: float32 numbers to uint8 codes whose scale and zero point they make themselves.

``scale = f32((max - min) / 255)`` with 0 among the numbers; the zero point is ``rint(0 - min / scale)``
within 0 .. 255; codes are ``rint(f32(x / scale)) + zero point``. Three commands of the host, one per
output. All-zero numbers have the scale 1.
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops.add import elementwise_nest
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Vector

SUMMARY = "float32 numbers to uint8 codes, their scale and their zero point"
COMMAND = "three of host dynamic_quantize"
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


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    codes, scale, zero = node.outputs
    sources = {scale: node.inputs, zero: (*node.inputs, scale), codes: (*node.inputs, scale, zero)}
    # Extremes of all elements; one quotient; a quotient and a sum per element.
    work = {scale: 2 * graph.spec(node.inputs[0]).elements, zero: 1, codes: 2}
    commands = tuple(
        Vector(
            name=name, operator=node.operator, function="dynamic_quantize", inputs=inputs,
            ofmap=name, nest=elementwise_nest(graph.spec(name).shape), parameters=(),
            lane=LaneWork(cycles=work[name], multiplies=0, adds=0),
        )
        for name, inputs in sources.items()
    )  # fmt: skip
    return common.Lowered(commands)
