"""LOGISTIC and TANH: tables for 8-bit codes, interpolation for int16."""

from __future__ import annotations

import math

import numpy as np

from simulator.fixedpoint.libm import nearest
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _elementwise, _sigmoid16, _table
from simulator.ops._gemmlowp import fixed_table
from simulator.profiles import RUN, SOURCE

PROFILES = {"tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN}


def unit_output(graph: Graph, node: Node) -> bool:
    """an 8-bit LOGISTIC has the output scale 1/256"""
    spec, params = graph.spec(node.outputs[0]), graph.quantization(node.outputs[0])
    return spec.dtype == "i16" or node.operator != "logistic" or params.scale == 1 / 256


RULES = (
    common.takes(1, 1), _elementwise.one_type(*_elementwise.CODES), _elementwise.quantized_codes,
    unit_output, _sigmoid16.output_is_q15,
)  # fmt: skip
infer = _elementwise.first_shape


def _logistic_float32(x: np.float32) -> np.float32:
    return np.float32(1) / (np.float32(1) + nearest(math.exp, -x))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def _code(graph: Graph, node: Node) -> _table.Code:
    if graph.profile == "tflite_micro" and graph.spec(node.inputs[0]).dtype == "i8":
        return fixed_table(graph, node)
    by_xnnpack = graph.profile == "xnnpack"
    if node.operator == "tanh":
        return _table.float_table(graph, node, lambda x: nearest(math.tanh, x), by_xnnpack)
    if by_xnnpack:  # in double, rounded once
        return _table.float_table(graph, node, lambda x: nearest(_logistic, x), by_xnnpack)
    return _table.float_table(graph, node, _logistic_float32)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    if graph.spec(node.inputs[0]).dtype == "i16":
        return _sigmoid16.reference(graph, node, inputs[0])
    return _table.reference(_code(graph, node), inputs[0])


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    if graph.spec(node.inputs[0]).dtype == "i16":
        return _sigmoid16.lower(graph, node)
    return _table.lower(graph, node, _code(graph, node))
