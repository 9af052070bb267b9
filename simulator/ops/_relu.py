"""What RELU, RELU6 and RELU_N1_TO_1 share.

The scale ratio is divided in float32 by LiteRT, in double by TensorFlow Lite Micro
(``activations_common.cc``). XNNPACK takes no quantized one.
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _elementwise, _rescale
from simulator.ops._scaling import double_ratio, float32_ratio, hardware_scaling, scaling
from simulator.profiles import CHOSEN, RUN, SOURCE

RULES = (
    common.takes(1, 1), _elementwise.one_type("i8", "u8"), _elementwise.quantized_codes
)  # fmt: skip
RULES_WITH_INT16 = (
    common.takes(1, 1), _elementwise.one_type(*_elementwise.CODES), _elementwise.quantized_codes
)  # fmt: skip
PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "power_of_two": CHOSEN,
    "dyadic": CHOSEN,
}  # fmt: skip
infer = _rescale.infer


def _how(graph: Graph, node: Node) -> _rescale.Rescale:
    params = graph.quantization(node.outputs[0])
    s_in = graph.quantization(node.inputs[0]).scale
    ratio = double_ratio if graph.profile == "tflite_micro" else float32_ratio
    by = hardware_scaling(graph.profile, [s_in], params.scale) or scaling(
        "double_rounding", ratio([s_in], params.scale)
    )
    low, high = common.activation_range(graph.spec(node.outputs[0]), params, node.operator.upper())
    return _rescale.Rescale(by, low, high)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _rescale.reference(graph, node, inputs[0], _how(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _rescale.lower(graph, node, _how(graph, node))
