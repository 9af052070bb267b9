"""PRELU: a code at or above its zero point is rescaled, one below is multiplied by alpha's code.

Ratios are formed in float32 in LiteRT, in double in TensorFlow Lite Micro (``prelu_common.cc``). XNNPACK
takes no quantized PRELU.
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _elementwise, _slopes
from simulator.ops._scaling import (
    Scaling,
    double_ratio,
    float32_ratio,
    hardware_scaling,
    naive_scaled,
    scaling,
)
from simulator.profiles import CHOSEN, RUN, SOURCE

SUMMARY = "RELU whose negative side has a slope per element of a second operand that broadcasts"
COMMAND = "vector prelu"
PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "power_of_two": CHOSEN,
    "dyadic": CHOSEN,
}  # fmt: skip


def keeps_shape(graph: Graph, node: Node) -> bool:
    """alpha broadcasts to the input's shape"""
    if not _elementwise.broadcasts(graph, node):
        return False
    return _elementwise.binary_shape(graph, node) == graph.spec(node.inputs[0]).shape


RULES = (
    common.takes(2, 2), _elementwise.one_type("i8", "u8"), _elementwise.quantized_codes, keeps_shape,
)  # fmt: skip
infer = _elementwise.first_shape


def _pair(graph: Graph, node: Node) -> tuple[Scaling, Scaling]:
    (s_in, s_alpha), s_out = (
        _elementwise.scales(graph, node),
        graph.quantization(node.outputs[0]).scale,
    )

    def one(*numerators: float) -> Scaling:
        chosen = hardware_scaling(graph.profile, numerators, s_out)
        if chosen:
            return chosen
        ratio = double_ratio if graph.profile == "tflite_micro" else float32_ratio
        return scaling("double_rounding", ratio(numerators, s_out))

    return one(s_in), one(s_in, s_alpha)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    positive, negative = _pair(graph, node)
    z_in, z_alpha = (graph.quantization(n).zero_point for n in node.inputs)
    spec, z_out = graph.spec(node.outputs[0]), graph.quantization(node.outputs[0]).zero_point
    x, alpha = _elementwise.operands(graph, node, inputs)
    result = np.zeros(x.shape, np.int64)
    for i in np.ndindex(*x.shape):
        value = int(x[i]) - z_in
        if value >= 0:
            value = naive_scaled(positive, value)
        else:
            value = naive_scaled(negative, value * (int(alpha[i]) - z_alpha))
        result[i] = min(max(value + z_out, spec.minimum), spec.maximum)
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _slopes.lower(graph, node, *_pair(graph, node))
