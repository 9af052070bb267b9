"""What several operators share: rules, activation ranges, and the lowering of products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from simulator.fixedpoint.requantize import float64_mantissa, quantize_multiplier
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.program.commands import Command, LaneWork, Matmul, Requantize
from simulator.program.nest import Nest
from simulator.tensor import QuantParams, TensorSpec

Rule = Callable[[Graph, Node], bool]
DeviceRule = Callable[[Graph, Node, Device], bool]

# What an output channel brings along besides its weights: a 32-bit bias, a 32-bit multiplier and a
# 6-bit shift, as microNPUs encode them (Ethos-U: 32-bit scale and 6-bit shift).
CHANNEL_BITS = 32 + 32 + 6
# One requantization is one pass through a lane: multiply, round, shift, clamp.
REQUANTIZE_LANE = LaneWork(cycles=1, multiplies=1, adds=1)


@dataclass(frozen=True)
class Lowered:
    """A command with its constants, or (``command`` is None) ``alias_of``: the same bytes."""

    command: Command | None
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    alias_of: str = ""


def takes(fewest: int, most: int) -> Rule:
    """The rule that the operator has so many inputs, the first of them an activation."""

    def rule(graph: Graph, node: Node) -> bool:
        first = node.inputs[0]
        return fewest <= len(node.inputs) <= most and bool(first) and first not in graph.constants

    span = str(fewest) if fewest == most else f"{fewest} to {most}"
    rule.__doc__ = f"it has {span} inputs, and the first is not a constant"
    return rule


def eight_bit(graph: Graph, node: Node) -> bool:
    """activations in and out are int8 or uint8, of the same type"""
    types = {graph.spec(n).dtype for n in (*activations(graph, node), node.outputs[0])}
    return types in ({"i8"}, {"u8"})


def per_tensor_activations(graph: Graph, node: Node) -> bool:
    """activations have one scale and one zero point"""
    names = (*activations(graph, node), *node.outputs)
    found = [graph.tensors[n].quantization for n in names]
    return all(q is not None and not q.per_channel for q in found)


def known_activation(graph: Graph, node: Node) -> bool:
    """the fused activation is NONE, RELU, RELU6 or RELU_N1_TO_1"""
    return node.attr("activation") in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def image_input(graph: Graph, node: Node) -> bool:
    """the input has four dimensions, NHWC"""
    return len(graph.spec(node.inputs[0]).shape) == 4


def constant_weights(graph: Graph, node: Node) -> bool:
    """weights, and a bias if there is one, are constants"""
    return all(n in graph.constants for n in node.inputs[1:] if n)


def known_weight_type(graph: Graph, node: Node) -> bool:
    """weights are int8 with zero points 0 (int8 inputs), or uint8 of one scale (uint8 inputs)"""
    spec, weights = graph.spec(node.inputs[0]), graph.spec(node.inputs[1])
    params = graph.tensors[node.inputs[1]].quantization
    if params is None or weights.dtype != spec.dtype:
        return False
    if spec.dtype == "u8":
        return not params.per_channel
    return all(z == 0 for z in params.zero_points)


def bias_type(graph: Graph, node: Node) -> bool:
    """the bias is int32, one number per output channel"""
    if len(node.inputs) < 3 or not node.inputs[2]:
        return True
    spec = graph.spec(node.inputs[2])
    return spec.dtype == "i32" and spec.elements == graph.spec(node.outputs[0]).shape[-1]


def scales_along(axis: int) -> Rule:
    """The rule that weights with several scales have them along ``axis``, the output channels'."""

    def rule(graph: Graph, node: Node) -> bool:
        params = graph.quantization(node.inputs[1])
        return not params.per_channel or params.axis == axis

    rule.__doc__ = f"weights with a scale per output channel have them along axis {axis}"
    return rule


def operands_fit_pes(graph: Graph, node: Node, device: Device) -> bool:
    """the PEs multiply operands of these widths"""
    ifmap, weights = graph.spec(node.inputs[0]), graph.spec(node.inputs[1])
    return ifmap.bits <= device.array.ifmap_bits and weights.bits <= device.array.weight_bits


def no_weight_offset_if_folded(graph: Graph, node: Node, device: Device) -> bool:
    """weights have no zero point, unless the PEs subtract it (array.zero_point = "subtract")"""
    points = graph.quantization(node.inputs[1]).zero_points
    return device.array.zero_point == "subtract" or all(z == 0 for z in points)


def needs_function(name: str) -> DeviceRule:
    """The rule that the vector unit has function ``name``."""

    def rule(graph: Graph, node: Node, device: Device) -> bool:
        return name in device.vector.functions

    rule.__doc__ = f"the vector unit has the function {name!r} (vector.functions)"
    return rule


def activations(graph: Graph, node: Node) -> list[str]:
    """Inputs that are not constants."""
    return [n for n in node.inputs if n and n not in graph.constants]


def convolved_size(
    size: int, kernel: int, stride: int, dilation: int, before: int, after: int
) -> int:
    """Output positions along one axis."""
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


def round_half_away(value: float) -> int:
    """Nearest integer, ties away from zero, as C's ``round``."""
    magnitude = int(np.floor(abs(value)))
    if abs(value) - magnitude >= 0.5:
        magnitude += 1
    return -magnitude if value < 0 else magnitude


def activation_range(spec: TensorSpec, params: QuantParams, activation: str) -> tuple[int, int]:
    """Clamp of a fused activation in output codes; bounds divide in float32, as the reference does."""

    def code(real: float) -> int:
        return params.zero_point + round_half_away(
            float(np.float32(real) / np.float32(params.scale))
        )

    low, high = spec.minimum, spec.maximum
    if activation in ("RELU", "RELU6"):
        low = max(low, code(0.0))
    if activation == "RELU6":
        high = min(high, code(6.0))
    if activation == "RELU_N1_TO_1":
        low, high = max(low, code(-1.0)), min(high, code(1.0))
    return low, high


def channel_scales(graph: Graph, node: Node, channels: int, kind: str) -> list[float]:
    """Real multiplier of each output channel, in the order in which the reference multiplies.

    int8 convolutions and LiteRT's reference FULLY_CONNECTED (``float64_away``, int8 and uint8): all in
    double. uint8 convolutions: the product of the two input scales is rounded to float32 first.
    """
    s_in = graph.quantization(node.inputs[0]).scale
    s_out = graph.quantization(node.outputs[0]).scale
    weights = graph.quantization(node.inputs[1])
    scales = weights.scales if weights.per_channel else weights.scales * channels
    if kind == "double_rounding" and graph.spec(node.inputs[0]).dtype == "u8":
        return [float(np.float32(s_in) * np.float32(s)) / s_out for s in scales]
    return [s_in * s / s_out for s in scales]


def channel_bias(graph: Graph, node: Node, channels: int) -> np.ndarray:
    """The bias as int64, zeros where there is none."""
    if len(node.inputs) < 3 or not node.inputs[2]:
        return np.zeros(channels, np.int64)
    return graph.constants[node.inputs[2]].astype(np.int64).reshape(channels)


def lower_product(
    graph: Graph, node: Node, device: Device, nest: Nest, weights: np.ndarray, kind: str
) -> Lowered:
    """A Matmul from a nest and weights of shape (groups, kernel_h, kernel_w, k, n)."""
    channels = nest.groups * nest.n
    ifmap_q, ofmap_q = graph.quantization(node.inputs[0]), graph.quantization(node.outputs[0])
    weight_offset = graph.quantization(node.inputs[1]).zero_point
    bias = channel_bias(graph, node, channels)
    offset = ifmap_q.zero_point
    # A device that folds never sees a weight offset: such a product goes to the host.
    if device.array.zero_point == "fold" and weight_offset == 0:
        # sum w * (x - z) = sum w * x - z * sum w, padding taps included since they hold z.
        bias = bias - offset * weights.astype(np.int64).sum(axis=(1, 2, 3)).reshape(channels)
        offset = 0
    convert = quantize_multiplier if kind == "double_rounding" else float64_mantissa
    pairs = [convert(s) for s in channel_scales(graph, node, channels, kind)]
    low, high = activation_range(graph.spec(node.outputs[0]), ofmap_q, node.text("activation"))
    base = node.name
    names = {p: f"{base}/{p}" for p in ("weights", "bias", "multiplier", "shift")}
    command = Matmul(
        name=base, operator=node.operator, ifmap=node.inputs[0], weights=names["weights"],
        bias=names["bias"], ofmap=node.outputs[0], nest=nest, dataflow=device.array.dataflow,
        ifmap_offset=offset, weight_offset=weight_offset, pad_code=ifmap_q.zero_point,
        weight_bits=graph.spec(node.inputs[1]).bits, channel_bits=CHANNEL_BITS,
        requantize=Requantize(
            kind, names["multiplier"], names["shift"], ofmap_q.zero_point, low, high
        ),
        lane=REQUANTIZE_LANE,
    )  # fmt: skip
    return Lowered(command, {
        names["weights"]: np.ascontiguousarray(weights),
        names["bias"]: bias,
        names["multiplier"]: np.array([p[0] for p in pairs], np.int64),
        names["shift"]: np.array([p[1] for p in pairs], np.int64),
    })  # fmt: skip


def naive_requantize(kind: str, accumulator: int, real: float) -> int:
    """The requantizers written as their real-number definitions, in exact Python arithmetic."""
    if kind == "float64_away":
        return round_half_away(float(accumulator) * real)
    multiplier, shift = quantize_multiplier(real)
    doubled = (accumulator * 2 ** max(shift, 0)) * multiplier
    high = (2 * doubled + 2**31) // 2**32  # nearest, ties up
    divisor = 2 ** max(-shift, 0)
    quotient, rest = divmod(abs(high), divisor)
    quotient += 1 if 2 * rest >= divisor and divisor > 1 else 0
    return -quotient if high < 0 else quotient


def naive_product(
    graph: Graph, node: Node, x: np.ndarray, weights: np.ndarray, nest: Nest, kind: str
) -> np.ndarray:
    """Sum over the window of (x - z_x)(w - z_w), requantized: one output at a time.

    ``x`` is (batch, in_h, in_w, groups * k), ``weights`` (groups, kernel_h, kernel_w, k, n); the result
    is (batch, out_h, out_w, groups * n) int64.
    """
    zx, zw = (
        graph.quantization(node.inputs[0]).zero_point,
        graph.quantization(node.inputs[1]).zero_point,
    )
    params = graph.quantization(node.outputs[0])
    channels = nest.groups * nest.n
    scales = channel_scales(graph, node, channels, kind)
    bias = channel_bias(graph, node, channels)
    low, high = activation_range(graph.spec(node.outputs[0]), params, node.text("activation"))
    xs, ws = x.astype(object) - zx, weights.astype(object) - zw
    out = np.zeros((nest.batch, nest.out_h, nest.out_w, channels), np.int64)
    for b, oy, ox, c in np.ndindex(*out.shape):
        g, n = divmod(c, nest.n)
        total = int(bias[c])
        for ky, kx in np.ndindex(nest.kernel_h, nest.kernel_w):
            iy = oy * nest.stride_h + ky * nest.dilation_h - nest.pad_top
            ix = ox * nest.stride_w + kx * nest.dilation_w - nest.pad_left
            if 0 <= iy < nest.in_h and 0 <= ix < nest.in_w:
                window = xs[b, iy, ix, g * nest.k : (g + 1) * nest.k]
                total += int((window * ws[g, ky, kx, :, n]).sum())
        code = naive_requantize(kind, total, scales[c]) + params.zero_point
        out[b, oy, ox, c] = min(max(code, low), high)
    return out
