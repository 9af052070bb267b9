"""CONV_2D, grouped convolutions included: input NHWC, weights OHWI."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _product
from simulator.profiles import CHOSEN, RUN, SOURCE
from simulator.program.nest import Nest, untiled

SUMMARY = "2-D convolution with optional bias, groups and fused activation"
COMMAND = "matmul"
PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "onnxruntime": RUN,
    "qonnx": RUN,     "power_of_two": CHOSEN, "dyadic": SOURCE,
}  # fmt: skip


def whole_groups(graph: Graph, node: Node) -> bool:
    """weights are O x H x W x I, input channels a multiple of I, and O one of the groups"""
    if len(graph.spec(node.inputs[1]).shape) != 4:
        return False
    channels, filters = graph.spec(node.inputs[0]).shape[3], graph.spec(node.inputs[1]).shape
    return channels % filters[3] == 0 and filters[0] % (channels // filters[3]) == 0


WEIGHT_TYPES = _product.weight_types(
    ("i8", "i8"), ("i16", "i8"), ("i8", "i4"), ("i16", "i4"), ("u8", "u8")
)
RULES = (
    common.takes(2, 5), _product.constant_weights, common.image_input, _product.same_type,
    common.known_activation, WEIGHT_TYPES, _product.symmetric_weights,
    _product.symmetric_sixteen_bits, _product.scales_along(0), _product.bias_type, whole_groups,
)  # fmt: skip


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


def nest_and_weights(graph: Graph, node: Node) -> tuple[Nest, np.ndarray]:
    channels = graph.spec(node.inputs[0]).shape[3]
    weights = graph.constants[node.inputs[1]]
    out_c, kernel_h, kernel_w, k = weights.shape
    groups = channels // k
    n = out_c // groups
    nest = window_nest(graph, node, groups, n, k)
    return nest, weights.reshape(groups, n, kernel_h, kernel_w, k).transpose(0, 2, 3, 4, 1)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    nest, weights = nest_and_weights(graph, node)
    return _product.naive_product(graph, node, inputs[0], weights, nest)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    nest, weights = nest_and_weights(graph, node)
    product = _product.Product(nest, weights, node.inputs[0], node.outputs[0])
    return _product.lower_product(graph, node, device, product)
