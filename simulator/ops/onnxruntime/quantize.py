"""QUANTIZE as QuantizeLinear: f32(x / scale), ties to even, then the zero point.

Of 8-bit codes it is what DequantizeLinear and QuantizeLinear make of them one after the other (as in
QLinearConcat): a table.
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops.onnxruntime import _functions
from simulator.profiles import RUN

SUMMARY = "float32 numbers to codes, or codes to another scale, zero point or type"
COMMAND = "vector lookup; host float_quantize for numbers and 16-bit codes"
PROFILES = {"onnxruntime": RUN}


def known_types(graph: Graph, node: Node) -> bool:
    """it turns float32 or codes of 8 or 16 bits to codes of 8 or 16 bits, of one scale each"""
    names = [n for n in (node.inputs[0], node.outputs[0]) if not graph.spec(n).real]
    return node.outputs[0] in names and all(_functions.are_codes(graph, n) for n in names)


RULES = (common.takes(1, 1), known_types)
infer = _functions.infer


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    if not graph.spec(node.inputs[0]).real:
        return _functions.codes_of(graph, node, inputs[0])
    spec, params = graph.spec(node.outputs[0]), graph.quantization(node.outputs[0])
    codes = []
    for value in inputs[0].reshape(-1):
        with np.errstate(all="ignore"):
            quotient = float(value / np.float32(params.scale))
        if quotient != quotient:
            codes.append(spec.minimum)
            continue
        limited = min(max(quotient, -(2.0**31)), 2.0**31)
        codes.append(min(max(round(limited) + params.zero_point, spec.minimum), spec.maximum))
    return np.array(codes, np.int64).reshape(inputs[0].shape)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    if not graph.spec(node.inputs[0]).real:
        return _functions.lower(graph, node, device)
    names = node.name, node.inputs[0], node.outputs[0]
    return common.Lowered((_functions.quantize(graph, *names, node.operator),))
