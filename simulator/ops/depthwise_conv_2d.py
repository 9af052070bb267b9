"""DEPTHWISE_CONV_2D: one group per input channel, ``multiplier`` outputs each; weights 1HW(C*multiplier).

On the array several channels share a fold block-diagonally: their reductions are stacked over the rows
and their outputs lie side by side, off-diagonal PEs hold zeros (``dataflows.packed_groups``).
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops.conv_2d import image_size, window_nest
from simulator.program.nest import Nest

SUMMARY = "depthwise convolution with channel multiplier"
COMMAND = "matmul"


def whole_multiplier(graph: Graph, node: Node) -> bool:
    """weights have shape 1 x H x W x (input channels * multiplier)"""
    shape = graph.spec(node.inputs[1]).shape
    return len(shape) == 4 and shape[0] == 1 and shape[3] % graph.spec(node.inputs[0]).shape[3] == 0


RULES = (
    common.takes(2, 3), common.constant_weights, common.image_input, common.eight_bit,
    common.per_tensor_activations, common.known_activation, common.known_weight_type,
    common.scales_along(3), common.bias_type, whole_multiplier,
)  # fmt: skip
DEVICE_RULES = (common.operands_fit_pes, common.no_weight_offset_if_folded)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    batch, height, width, _ = graph.spec(node.inputs[0]).shape
    _, kernel_h, kernel_w, channels = graph.spec(node.inputs[1]).shape
    return (batch, *image_size(node, height, width, kernel_h, kernel_w), channels)


def _nest_and_weights(graph: Graph, node: Node) -> tuple[Nest, np.ndarray]:
    groups = graph.spec(node.inputs[0]).shape[3]
    weights = graph.constants[node.inputs[1]]
    _, kernel_h, kernel_w, channels = weights.shape
    multiplier = channels // groups
    nest = window_nest(graph, node, groups, multiplier, 1)
    grouped = weights.reshape(kernel_h, kernel_w, groups, 1, multiplier)
    return nest, grouped.transpose(2, 0, 1, 3, 4)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    nest, weights = _nest_and_weights(graph, node)
    return common.naive_product(graph, node, inputs[0], weights, nest, "double_rounding")


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    nest, weights = _nest_and_weights(graph, node)
    return common.lower_product(graph, node, device, nest, weights, "double_rounding")
