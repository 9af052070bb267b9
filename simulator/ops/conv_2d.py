"""CONV_2D, grouped convolutions included: input NHWC, weights OHWI."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.program.nest import Nest, untiled

SUMMARY = "2-D convolution with optional bias, groups and fused activation"
COMMAND = "matmul"


def whole_groups(graph: Graph, node: Node) -> bool:
    """weights are O x H x W x I, input channels a multiple of I, and O one of the groups"""
    if len(graph.spec(node.inputs[1]).shape) != 4:
        return False
    channels, filters = graph.spec(node.inputs[0]).shape[3], graph.spec(node.inputs[1]).shape
    return channels % filters[3] == 0 and filters[0] % (channels // filters[3]) == 0


RULES = (
    common.takes(2, 3), common.constant_weights, common.image_input, common.eight_bit,
    common.per_tensor_activations, common.known_activation, common.known_weight_type,
    common.scales_along(0), common.bias_type, whole_groups,
)  # fmt: skip
DEVICE_RULES = (common.operands_fit_pes, common.no_weight_offset_if_folded)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    batch, height, width, _ = graph.spec(node.inputs[0]).shape
    out_c, kernel_h, kernel_w, _ = graph.spec(node.inputs[1]).shape
    return (batch, *image_size(node, height, width, kernel_h, kernel_w), out_c)


def image_size(
    node: Node, height: int, width: int, kernel_h: int, kernel_w: int
) -> tuple[int, int]:
    """Output height and width of a window operator with explicit padding."""
    return (
        common.convolved_size(
            height, kernel_h, node.integer("stride_h"), node.integer("dilation_h"),
            node.integer("pad_top"), node.integer("pad_bottom"),
        ),
        common.convolved_size(
            width, kernel_w, node.integer("stride_w"), node.integer("dilation_w"),
            node.integer("pad_left"), node.integer("pad_right"),
        ),
    )  # fmt: skip


def window_nest(graph: Graph, node: Node, groups: int, n: int, k: int) -> Nest:
    """The nest of a convolution with this node's window."""
    batch, height, width, _ = graph.spec(node.inputs[0]).shape
    kernel = graph.spec(node.inputs[1]).shape[1:3]
    return untiled(
        batch=batch, out=image_size(node, height, width, *kernel), groups=groups, n=n, k=k,
        kernel=(kernel[0], kernel[1]), ifmap=(height, width),
        stride=(node.integer("stride_h"), node.integer("stride_w")),
        dilation=(node.integer("dilation_h"), node.integer("dilation_w")),
        pad=(node.integer("pad_top"), node.integer("pad_left")),
    )  # fmt: skip


def _nest_and_weights(graph: Graph, node: Node) -> tuple[Nest, np.ndarray]:
    channels = graph.spec(node.inputs[0]).shape[3]
    weights = graph.constants[node.inputs[1]]
    out_c, kernel_h, kernel_w, k = weights.shape
    groups = channels // k
    n = out_c // groups
    nest = window_nest(graph, node, groups, n, k)
    return nest, weights.reshape(groups, n, kernel_h, kernel_w, k).transpose(0, 2, 3, 4, 1)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    nest, weights = _nest_and_weights(graph, node)
    return common.naive_product(graph, node, inputs[0], weights, nest, "double_rounding")


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    nest, weights = _nest_and_weights(graph, node)
    return common.lower_product(graph, node, device, nest, weights, "double_rounding")
