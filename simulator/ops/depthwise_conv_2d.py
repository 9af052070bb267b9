"""DEPTHWISE_CONV_2D: one group per input channel, ``multiplier`` outputs each; weights 1HW(C*multiplier).

On the array several channels share a fold block-diagonally: their reductions are stacked over the rows
and their outputs lie side by side, off-diagonal PEs hold zeros (``dataflows.packed_groups``).
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _product
from simulator.ops._stage import operands
from simulator.ops.conv_2d import image_size, window_nest
from simulator.profiles import CHOSEN, RUN, SOURCE
from simulator.program.nest import Nest

SUMMARY = "depthwise convolution with channel multiplier"
COMMAND = "matmul"
PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "onnxruntime": RUN,
    "qonnx": RUN,     "power_of_two": CHOSEN, "dyadic": SOURCE,
}  # fmt: skip


def whole_multiplier(graph: Graph, node: Node) -> bool:
    """weights have shape 1 x H x W x (input channels * multiplier)"""
    shape = graph.spec(node.inputs[1]).shape
    return len(shape) == 4 and shape[0] == 1 and shape[3] % graph.spec(node.inputs[0]).shape[3] == 0


def no_narrow_bias(graph: Graph, node: Node) -> bool:
    """the bias of int16 inputs is int64"""
    names = operands(node)
    wide = graph.spec(names.x).dtype == "i16"
    return not (wide and names.bias) or graph.spec(names.bias).dtype == "i64"


WEIGHT_TYPES = _product.weight_types(("i8", "i8"), ("i16", "i8"), ("i8", "i4"), ("u8", "u8"))
RULES = (
    common.takes(2, 5), _product.constant_weights, common.image_input, _product.same_type,
    common.known_activation, WEIGHT_TYPES, _product.symmetric_weights,
    _product.symmetric_sixteen_bits, _product.scales_along(3), _product.bias_type,
    no_narrow_bias, whole_multiplier,
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    batch, height, width, _ = graph.spec(node.inputs[0]).shape
    _, kernel_h, kernel_w, channels = graph.spec(node.inputs[1]).shape
    return (batch, *image_size(node, height, width, kernel_h, kernel_w), channels)


def nest_and_weights(graph: Graph, node: Node) -> tuple[Nest, np.ndarray]:
    groups = graph.spec(node.inputs[0]).shape[3]
    weights = graph.constants[node.inputs[1]]
    _, kernel_h, kernel_w, channels = weights.shape
    multiplier = channels // groups
    nest = window_nest(graph, node, groups, multiplier, 1)
    grouped = weights.reshape(kernel_h, kernel_w, groups, 1, multiplier)
    return nest, grouped.transpose(2, 0, 1, 3, 4)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    nest, weights = nest_and_weights(graph, node)
    return _product.naive_product(graph, node, inputs[0], weights, nest)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    nest, weights = nest_and_weights(graph, node)
    product = _product.Product(nest, weights, node.inputs[0], node.outputs[0])
    return _product.lower_product(graph, node, device, product)
