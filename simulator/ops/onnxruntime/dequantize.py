"""DEQUANTIZE as DequantizeLinear: f32(code - zero point) * scale, rounded to float32.

int32 sums of a product are turned to float32 first; their scales may be one per channel.
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops.onnxruntime import _functions
from simulator.profiles import RUN

SUMMARY = "codes or sums to float32 numbers"
COMMAND = "host float_dequantize"
PROFILES = {"onnxruntime": RUN}
_CODES = ("i4", "u4", *_functions.CODES, "i32")


def codes_to_numbers(graph: Graph, node: Node) -> bool:
    """the input is codes of 4, 8, 16 or 32 bits with one scale and zero point, or some along an axis; the
    output is float32"""
    source = graph.tensors[node.inputs[0]]
    known = source.spec.dtype in _CODES and source.quantization is not None
    return known and graph.spec(node.outputs[0]).real


RULES = (common.takes(1, 1), codes_to_numbers)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    params, (x,) = graph.quantization(node.inputs[0]), inputs
    result = np.zeros(x.shape, np.float32)
    for i in np.ndindex(*x.shape):
        place = i[params.axis] if params.per_channel else 0
        code = np.float32(int(x[i]) - params.zero_points[place])
        result[i] = code * np.float32(params.scales[place])
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    names = node.name, node.inputs[0], node.outputs[0]
    return _functions.dequantize(graph, *names, node.operator)
