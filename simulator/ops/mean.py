"""MEAN over any axes: the sum of the codes, scaled and divided by their number in one multiplication.

How the division enters the multiplier is each runtime's own: LiteRT's reference, its optimised kernels
(``optimized/integer_ops/mean.h``) and XNNPACK round differently, TensorFlow Lite Micro truncates the mean
of raw codes where both quantizations are equal. Of this project's own: with powers of two the sum is
divided by the count as AVERAGE_POOL_2D divides, in one rounding with the shift.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.fixedpoint import reduction
from simulator.fixedpoint.requantize import REQUANTIZERS, quantize_multiplier
from simulator.fixedpoint.requantize_scales import nearest_power_of_two
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _reduction, _reduction_codes
from simulator.ops._reduction_codes import Quotient, Requantized, Way, xnnpack_line
from simulator.profiles import CHOSEN, RUN, SOURCE
from simulator.program.commands import LaneWork

SUMMARY = "mean over given axes, to another scale"
COMMAND = "vector reduce"
PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "power_of_two": CHOSEN,
    "dyadic": CHOSEN,
}  # fmt: skip
RULES = _reduction.RULES
infer = _reduction.infer
_CHANNELS_AT_ONCE = 16  # of the optimised kernel's vector loop


def _image_mean(graph: Graph, node: Node) -> bool:
    """What LiteRT's optimised kernel has a loop of its own for: height and width of 8-bit NHWC."""
    spec = graph.spec(node.inputs[0])
    height_and_width = len(spec.shape) == 4 and _reduction.axes(graph, node) == (1, 2)
    return height_and_width and bool(node.integer("keep_dims")) and spec.bits == 8


def _image_way(graph: Graph, node: Node) -> Requantized:
    """The optimised kernel's own loop: its scale is float32, zero points enter as a rounded bias.

    Channels in whole vectors are rounded as NEON rounds, those left over as the reference does.
    """
    source, target = graph.quantization(node.inputs[0]), graph.quantization(node.outputs[0])
    s_in, s_out = np.float32(source.scale), np.float32(target.scale)
    moved = np.float32(source.zero_point) * s_in / s_out
    moved = moved + np.float32(0.5) if moved > 0 else moved - np.float32(0.5)
    count = np.float32(_reduction.reduced_elements(graph, node))
    multiplier, shift = quantize_multiplier(float(s_in / (count * s_out)))
    channels = graph.spec(node.inputs[0]).shape[3]
    return Requantized(
        "double_rounding_up", multiplier, shift, 0, target.zero_point - int(moved),
        "double_rounding", channels // _CHANNELS_AT_ONCE * _CHANNELS_AT_ONCE,
    )  # fmt: skip


def _way(graph: Graph, node: Node) -> Way:
    source, target = graph.quantization(node.inputs[0]), graph.quantization(node.outputs[0])
    count = _reduction.reduced_elements(graph, node)
    offset, zero, ratio = count * source.zero_point, target.zero_point, source.scale / target.scale
    if graph.profile == "xnnpack" and graph.spec(node.inputs[0]).bits == 8:
        return xnnpack_line(graph, node, True)
    if graph.profile == "ruy" and _image_mean(graph, node):
        return _image_way(graph, node)
    if graph.profile == "tflite_micro" and source == target:
        return Quotient(0, count, reduction.TOWARDS_ZERO, 0, 0)
    if graph.profile == "power_of_two":
        exponent = math.frexp(nearest_power_of_two(ratio))[1] - 1
        return Quotient(exponent, count, reduction.AWAY_FROM_ZERO, offset, zero)
    if graph.profile == "dyadic":
        pair = REQUANTIZERS["dyadic_even"].convert(ratio / count)
        return Requantized("dyadic_even", *pair, offset, zero)
    # The reference divides its multiplier by the count, in integers, after gaining as many bits as the
    # count has; the shift stays at -31 or above.
    multiplier, shift = quantize_multiplier(ratio)
    gained = min(count.bit_length() - 1, 32, 31 + shift)
    return Requantized(
        "double_rounding", (multiplier << gained) // count, shift - gained, offset, zero
    )


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _reduction_codes.reference(graph, node, inputs[0], _way(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    numbers = _reduction_codes.parameters(_way(graph, node), graph.spec(node.outputs[0]))
    count = _reduction.reduced_elements(graph, node)
    lane = LaneWork(cycles=count + 1, multiplies=1, adds=count)
    return _reduction.lower(graph, node, "reduce", numbers, lane)
