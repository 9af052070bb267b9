"""TRANSPOSE_CONV: every input pixel adds its product with the whole kernel to the output around it.

PEs gather, they do not scatter. So the DMA spreads the input out, ``stride - 1`` zero points between
neighbours (as Vela does for the Ethos-U), and a convolution of stride 1 with the kernel turned by half a
turn reads it. That takes ``stride_h * stride_w`` times the products that are not zero, and moves the
spread input once; both are counted. With strides of 1 there is no move and nothing is wasted.

Inputs: the output's shape (a constant), weights O x H x W x I, the image, and an optional bias.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.fixedpoint.width import ceil_div
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _product
from simulator.ops._movement import block, strides
from simulator.ops._stage import operands
from simulator.profiles import CHOSEN, RUN, SOURCE
from simulator.program.commands import Move
from simulator.program.nest import untiled
from simulator.tensor import TensorSpec

SUMMARY = "transposed convolution (an upsampling one) with optional bias and fused activation"
COMMAND = "move, matmul"
PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "onnxruntime": CHOSEN,
    "power_of_two": CHOSEN, "dyadic": CHOSEN,
}  # fmt: skip


def takes_image_third(graph: Graph, node: Node) -> bool:
    """it has 3 or 4 inputs: the output's shape (a constant of four int32), weights, an image that is not
    a constant, and perhaps a bias"""
    if len(node.inputs) not in (3, 4) or not graph.constant(node.inputs[0]):
        return False
    shape, image = graph.spec(node.inputs[0]), graph.spec(node.inputs[2])
    return (
        (shape.dtype, shape.shape) == ("i32", (4,))
        and len(image.shape) == 4
        and not graph.constant(node.inputs[2])
    )


def channels_match(graph: Graph, node: Node) -> bool:
    """weights are O x H x W x I with the image's I channels, and the output's shape has its batch and O"""
    weights = graph.spec(node.inputs[1]).shape
    image, out = graph.spec(node.inputs[2]).shape, infer(graph, node)
    return (
        len(weights) == 4 and weights[3] == image[3] and (out[0], out[3]) == (image[0], weights[0])
    )


def fitting_size(graph: Graph, node: Node) -> bool:
    """a convolution of this stride and padding over the output's shape gives the image's size"""
    image, out = graph.spec(node.inputs[2]).shape, infer(graph, node)
    kernel = graph.spec(node.inputs[1]).shape
    return all(
        _positions(node, out[axis], kernel[axis], stride) == image[axis]
        for axis, stride in ((1, node.integer("stride_h")), (2, node.integer("stride_w")))
    )


RULES = (
    takes_image_third, _product.constant_weights, _product.same_type, common.known_activation,
    _product.weight_types(("i8", "i8"), ("i16", "i8"), ("u8", "u8")), _product.symmetric_weights,
    _product.symmetric_sixteen_bits, _product.scales_along(0), _product.bias_type, channels_match,
    fitting_size,
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return tuple(int(size) for size in graph.constants[node.inputs[0]])


def _positions(node: Node, size: int, kernel: int, stride: int) -> int:
    """Positions of a convolution along an axis of the output."""
    return ceil_div(size if node.integer("same") else size - kernel + 1, stride)


def _pads(graph: Graph, node: Node) -> tuple[int, int]:
    """Rows and columns of the scattered products that fall off before the output's first."""
    out, kernel = infer(graph, node), graph.spec(node.inputs[1]).shape
    found = []
    for axis, stride in ((1, node.integer("stride_h")), (2, node.integer("stride_w"))):
        positions = _positions(node, out[axis], kernel[axis], stride)
        found.append(max((positions - 1) * stride + kernel[axis] - out[axis], 0) // 2)
    return found[0], found[1]


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    """Scattered, as the operator is defined."""
    names, out_shape = operands(node), infer(graph, node)
    zx, zw = (graph.quantization(n).zero_point for n in (names.x, names.weights))
    weights = graph.constants[names.weights].astype(object) - zw
    x, (top, left) = inputs[0].astype(object) - zx, _pads(graph, node)
    sums = np.zeros(out_shape, object)
    sums += [int(b) for b in _product.channel_bias(graph, node, out_shape[3])]
    for b, iy, ix in np.ndindex(*x.shape[:3]):
        for ky, kx in np.ndindex(*weights.shape[1:3]):
            oy = iy * node.integer("stride_h") - top + ky
            ox = ix * node.integer("stride_w") - left + kx
            if 0 <= oy < out_shape[1] and 0 <= ox < out_shape[2]:
                sums[b, oy, ox] += weights[:, ky, kx] @ x[b, iy, ix]
    return _product.naive_codes(graph, node, sums)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    names = operands(node)
    batch, height, width, k = graph.spec(names.x).shape
    stride_h, stride_w = node.integer("stride_h"), node.integer("stride_w")
    spread = (batch, (height - 1) * stride_h + 1, (width - 1) * stride_w + 1, k)
    weights, out = graph.constants[names.weights], infer(graph, node)
    n, kernel_h, kernel_w, _ = weights.shape
    top, left = _pads(graph, node)
    nest = untiled(
        batch=batch, out=(out[1], out[2]), n=n, k=k, kernel=(kernel_h, kernel_w),
        ifmap=(spread[1], spread[2]), pad=(kernel_h - 1 - top, kernel_w - 1 - left),
    )  # fmt: skip
    turned = weights[:, ::-1, ::-1].transpose(1, 2, 3, 0)[np.newaxis]
    if (stride_h, stride_w) == (1, 1):
        product = _product.Product(nest, turned, names.x, node.outputs[0])
        return _product.lower_product(graph, node, device, product)
    ifmap = f"{node.name}/spread"
    lowered = _product.lower_product(
        graph, node, device, _product.Product(nest, turned, ifmap, node.outputs[0])
    )
    rows = strides(spread)
    steps = (rows[0], rows[1] * stride_h, rows[2] * stride_w, rows[3])
    piece = block((batch, height, width, k), strides((batch, height, width, k)), steps)
    zero = graph.quantization(names.x).zero_point
    move = Move(ifmap, node.operator, (names.x,), ifmap, (piece,), zero)
    spec = TensorSpec(spread, graph.spec(names.x).dtype)
    return replace(lowered, commands=(move, *lowered.commands), tensors={ifmap: spec})
