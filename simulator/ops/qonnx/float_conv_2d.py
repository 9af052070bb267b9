"""A convolution of float32 numbers, on the host: QONNX networks whose input no quantizer has seen.

Sums run over input channels, then kernel rows and columns, one fused multiply-add each, starting at 0:
so ONNX Runtime's convolution sums on x86 (1.31.1, proved by run); the bias comes after, by an ADD.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops.conv_2d import image_size
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Vector
from simulator.program.nest import untiled

SUMMARY = "2-D convolution of float32 numbers by constant float32 weights"
COMMAND = "host float_conv_2d"
PROFILES = {"qonnx": RUN}


def float_images(graph: Graph, node: Node) -> bool:
    """input, constant weights (O x H x W x I) and output are float32 of four dimensions"""
    names = (*node.inputs, node.outputs[0])
    real = all(graph.spec(n).real and len(graph.spec(n).shape) == 4 for n in names)
    return real and graph.constant(node.inputs[1])


def one_group(graph: Graph, node: Node) -> bool:
    """it has one group, no dilation and no activation"""
    plain = node.integer("dilation_h") == node.integer("dilation_w") == 1
    channels = graph.spec(node.inputs[0]).shape[3] == graph.spec(node.inputs[1]).shape[3]
    return plain and channels and node.text("activation") == "NONE"


RULES = (common.takes(2, 2), float_images, one_group)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    batch, height, width, _ = graph.spec(node.inputs[0]).shape
    out_c, kernel_h, kernel_w, _ = graph.spec(node.inputs[1]).shape
    return (batch, *image_size(node, height, width, kernel_h, kernel_w), out_c)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    x, weights = inputs[0], graph.constants[node.inputs[1]]
    _, kernel_h, kernel_w, channels = weights.shape
    result = np.zeros(infer(graph, node), np.float32)
    for b, oy, ox, o in np.ndindex(*result.shape):
        total = np.float32(0)
        for c, ky, kx in np.ndindex(channels, kernel_h, kernel_w):
            iy = oy * node.integer("stride_h") + ky - node.integer("pad_top")
            ix = ox * node.integer("stride_w") + kx - node.integer("pad_left")
            if 0 <= iy < x.shape[1] and 0 <= ix < x.shape[2]:
                product = Fraction(float(x[b, iy, ix, c])) * Fraction(float(weights[o, ky, kx, c]))
                total = _nearest(Fraction(float(total)) + product)
        result[b, oy, ox, o] = total
    return result


def _nearest(exact: Fraction) -> np.float32:
    """The float32 nearest to ``exact``, ties to even; found among the neighbours of a first guess."""
    guess = np.float32(float(exact))
    near = [
        np.nextafter(guess, np.float32(-np.inf)),
        guess,
        np.nextafter(guess, np.float32(np.inf)),
    ]
    return min(near, key=lambda v: (abs(Fraction(float(v)) - exact), int(v.view(np.int32)) & 1))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    batch, height, width, channels = graph.spec(node.inputs[0]).shape
    out_c, kernel_h, kernel_w, _ = graph.spec(node.inputs[1]).shape
    _, out_h, out_w, _ = infer(graph, node)
    nest = untiled(
        batch=batch, out=(out_h, out_w), n=out_c, k=channels, kernel=(kernel_h, kernel_w),
        stride=(node.integer("stride_h"), node.integer("stride_w")),
        pad=(node.integer("pad_top"), node.integer("pad_left")), ifmap=(height, width),
    )  # fmt: skip
    taps = kernel_h * kernel_w * channels
    command = Vector(
        name=node.name, operator=node.operator, function="float_conv_2d", inputs=node.inputs,
        ofmap=node.outputs[0], nest=nest, parameters=(),
        lane=LaneWork(cycles=2 * taps, multiplies=taps, adds=taps),
    )  # fmt: skip
    return common.Lowered((command,))
