"""What RELU, RELU6 and RELU_N1_TO_1 share: the scale ratio is divided in float32, as the reference does."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _rescale

RULES = (common.takes(1, 1), common.eight_bit, common.per_tensor_activations)
DEVICE_RULES = (common.needs_function("rescale"),)
infer = _rescale.infer


def _arguments(graph: Graph, node: Node) -> tuple[float, int, int]:
    params = graph.quantization(node.outputs[0])
    ratio = np.float32(graph.quantization(node.inputs[0]).scale) / np.float32(params.scale)
    low, high = common.activation_range(graph.spec(node.outputs[0]), params, node.operator.upper())
    return float(ratio), low, high


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _rescale.reference(graph, node, inputs[0], *_arguments(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _rescale.lower(graph, node, *_arguments(graph, node))
