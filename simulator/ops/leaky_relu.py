"""LEAKY_RELU: one ratio at and above the zero point, alpha times it below; 8-bit codes by a table.

Ratios are float32: ``f32(s_in / s_out)`` and ``f32(f32(s_in * alpha) / s_out)``. XNNPACK rounds both to 8
fraction bits and takes 8-bit nodes whose ratios are 2**-8 to 2**7.
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _elementwise, _slopes, _table
from simulator.ops._scaling import (
    Scaling,
    eighths,
    float32_ratio,
    hardware_scaling,
    naive_scaled,
    scaling,
)
from simulator.profiles import CHOSEN, RUN, SOURCE

SUMMARY = "RELU whose negative side has a slope alpha"
COMMAND = "vector lookup; vector prelu for int16"
PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "power_of_two": CHOSEN,
    "dyadic": CHOSEN,
}  # fmt: skip


def alpha_not_negative(graph: Graph, node: Node) -> bool:
    """alpha is not negative"""
    return node.real("alpha") >= 0


RULES = (
    common.takes(1, 1), _elementwise.one_type(*_elementwise.CODES), _elementwise.quantized_codes,
    alpha_not_negative,
)  # fmt: skip
infer = _elementwise.first_shape


def _pair(graph: Graph, node: Node) -> tuple[Scaling, Scaling]:
    """The ways of codes above and below the zero point."""
    s_in, s_out = (graph.quantization(n).scale for n in (node.inputs[0], node.outputs[0]))
    slopes = (s_in,), (s_in, node.real("alpha"))
    positive, negative = (float32_ratio(slope, s_out) for slope in slopes)
    chosen = [hardware_scaling(graph.profile, slope, s_out) for slope in slopes]
    if chosen[0] and chosen[1]:
        return chosen[0], chosen[1]
    taken = all(2.0**-8 <= r <= 2.0**7 for r in (positive, negative))
    if graph.profile == "xnnpack" and taken and _elementwise.eight_bits(graph, node):
        return eighths(positive), eighths(negative)
    return scaling("double_rounding", positive), scaling("double_rounding", negative)


def _code(graph: Graph, node: Node) -> _table.Code:
    positive, negative = _pair(graph, node)
    z_in, z_out = (graph.quantization(n).zero_point for n in (node.inputs[0], node.outputs[0]))
    spec = graph.spec(node.outputs[0])

    def code(x: int) -> int:
        value = x - z_in
        scaled = naive_scaled(positive if value >= 0 else negative, value)
        return min(max(scaled + z_out, spec.minimum), spec.maximum)

    return code


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _table.reference(_code(graph, node), inputs[0])


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    if graph.spec(node.inputs[0]).dtype == "i16":
        return _slopes.lower(graph, node, *_pair(graph, node))
    return _table.lower(graph, node, _code(graph, node))
