"""The output stage of products under each numeric profile: requantizer, real scales, clamp.

``x``, ``w`` and ``y`` are the float32 scales of input, weights and output. Three orders of forming the
real scale occur, which differ in the last bit and so, now and then, in a code:

* double: ``x * w / y``, every step in float64;
* float32 product: ``f32(x * w)``, then a float64 quotient;
* float32: ``f32(f32(x * w) / y)``.

What each runtime does was found by running it (LiteRT 2.3.0 and ONNX Runtime 1.31.1 on x86) on sums and
scales where the last bit decides; ``tests/ops/test_adversarial_products.py`` repeats it.

* ``tflite``: double rounding of the double scale (uint8 and BATCH_MATMUL: float32 product); 64-bit sums
  by the 15-bit multiplier; FULLY_CONNECTED multiplies in double and rounds away.
* ``tflite_micro``: FULLY_CONNECTED by the integer kernels, too (float32 product, per channel double).
* ``ruy``: both roundings up; DEPTHWISE_CONV_2D and TRANSPOSE_CONV take eight channels at once (uint8
  TRANSPOSE_CONV sixteen outputs, wherever they lie), the rest by double rounding. Grouped CONV_2D, uint8
  DEPTHWISE_CONV_2D, 64-bit sums and BATCH_MATMUL as in ``tflite``.
* ``xnnpack``: float32, for nodes that XNNPACK takes (:func:`taken_by_xnnpack`); others as in ``ruy``.
* ``onnxruntime``: float32 (see :func:`runtime_in_float`). ``qonnx``: thresholds, no scale.
  ``power_of_two``: the nearest power of two. ``dyadic``: HAWQ-V3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.errors import ModelError
from simulator.fixedpoint.requantize_scales import (
    float32_product_scale,
    float32_scale,
    nearest_power_of_two,
)
from simulator.fixedpoint.thresholds import NAME
from simulator.graph import Graph, Node
from simulator.ops._common import activation_range

Order = Callable[[float, float, float], float]

# Outputs that the vector loops of DEPTHWISE_CONV_2D and TRANSPOSE_CONV take at once.
_CHANNELS_AT_ONCE, _BYTES_AT_ONCE = 8, 16
_SMALLEST_NORMAL = 2.0**-126
_XNNPACK_LIMIT = 256.0
_XNNPACK_DIMENSIONS = 6
_LARGEST_INT4_SUM = 1 << 27


@dataclass(frozen=True)
class Stage:
    """How accumulators become codes. ``scales`` has the real scale of each output channel, as the kind's
    converter takes it; the last ``tail_channels`` go through ``tail_kind``."""

    kind: str
    scales: tuple[float, ...]
    zero_point: int
    low: int
    high: int
    tail_kind: str = ""
    tail_channels: int = 0

    def kind_of(self, channel: int) -> str:
        in_tail = channel >= len(self.scales) - self.tail_channels
        return self.tail_kind if in_tail else self.kind


class Operands(NamedTuple):
    """Names of a product's inputs; '' for no bias."""

    x: str
    weights: str
    bias: str


class _Recipe(NamedTuple):
    """``tail``: the last channels, which go through double rounding instead."""

    kind: str
    order: Order
    tail: int = 0


def operands(node: Node) -> Operands:
    """The inputs of a product; TRANSPOSE_CONV has its output's shape first and its image third."""
    inputs = node.inputs
    if node.operator == "transpose_conv":
        inputs = (inputs[2], inputs[1], *inputs[3:])
    return Operands(inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else "")


def sums_only(graph: Graph, node: Node) -> bool:
    """Whether the output is the accumulators themselves."""
    made = graph.tensors[node.outputs[0]]
    plain = made.quantization is None or graph.profile in ("onnxruntime", "qonnx")
    return made.spec.dtype == "i32" and plain


def runtime_in_float(node: Node) -> bool:
    """Whether the profile's runtime computes this product of codes in float32, whose sums round on the way.

    We sum integers and round once, as it does with the products that it joins to their quantizers.
    """
    return dict(node.attrs).get("arithmetic") == "float"


def thresholds_of(node: Node) -> tuple[str, str] | None:
    """Constants (channels, levels) and (channels,) of a product whose sums are compared with them."""
    return (node.inputs[3], node.inputs[4]) if len(node.inputs) == 5 else None


def wide_sums(graph: Graph, node: Node) -> bool:
    """Whether the runtime sums in 64 bits: int16 inputs without a bias of int32."""
    names = operands(node)
    narrow = bool(names.bias) and graph.spec(names.bias).dtype == "i32"
    return graph.spec(names.x).dtype == "i16" and not narrow


def output_stage(graph: Graph, node: Node, channels: int) -> Stage:
    """The output stage of a product with so many output channels, under the graph's profile."""
    name = node.outputs[0]
    spec = graph.spec(name)
    if sums_only(graph, node):
        return Stage("none", (1.0,) * channels, 0, spec.minimum, spec.maximum)
    if thresholds_of(node):
        least = node.integer("least")
        return Stage(NAME, (1.0,) * channels, least, spec.minimum, spec.maximum)
    recipe = _RECIPES[graph.profile](graph, node)
    params, weights = graph.quantization(name), graph.quantization(operands(node).weights)
    s_in = graph.quantization(operands(node).x).scale
    each = weights.scales if weights.per_channel else weights.scales * channels
    scales = tuple(recipe.order(s_in, s, params.scale) for s in each)
    activation = str(dict(node.attrs).get("activation", "NONE"))
    by_xnnpack = graph.profile == "xnnpack" and recipe.kind == "float32_even"
    low, high = activation_range(spec, params, activation, even=by_xnnpack)
    if by_xnnpack and max(scales) >= _XNNPACK_LIMIT:
        raise ModelError(
            "requantization", f"scale {max(scales):.6g} in profile xnnpack",
            f"below {_XNNPACK_LIMIT:g} (XNNPACK takes no other)",
        )  # fmt: skip
    tail_kind = "double_rounding" if recipe.tail else ""
    return Stage(recipe.kind, scales, params.zero_point, low, high, tail_kind, recipe.tail)


def _double(x: float, w: float, y: float) -> float:
    return x * w / y


def _shift(x: float, w: float, y: float) -> float:
    return nearest_power_of_two(x * w / y)


def _gemm_order(graph: Graph, node: Node) -> Order:
    """Of FULLY_CONNECTED's integer kernels."""
    per_channel = graph.quantization(operands(node).weights).per_channel
    return _double if per_channel else float32_product_scale


def _reference(graph: Graph, node: Node) -> _Recipe:
    if node.operator == "fully_connected":
        return _Recipe("float64_away", _double)
    unsigned = graph.spec(operands(node).x).dtype == "u8"
    rounded = unsigned or node.operator == "batch_matmul"
    kind = "reduced_multiplier" if wide_sums(graph, node) else "double_rounding"
    return _Recipe(kind, float32_product_scale if rounded else _double)


def _micro(graph: Graph, node: Node) -> _Recipe:
    if node.operator != "fully_connected":
        return _reference(graph, node)
    kind = "reduced_multiplier" if wide_sums(graph, node) else "double_rounding"
    return _Recipe(kind, _gemm_order(graph, node))


def _ruy(graph: Graph, node: Node) -> _Recipe:
    reference, names = _reference(graph, node), operands(node)
    if node.operator == "fully_connected":
        if names.bias and graph.spec(names.bias).dtype == "i64":
            return reference
        return _Recipe("double_rounding_up", _gemm_order(graph, node))
    unsigned = graph.spec(names.x).dtype == "u8"
    depthwise, transposed = (
        node.operator == name for name in ("depthwise_conv_2d", "transpose_conv")
    )
    by_reference = node.operator == "batch_matmul" or (depthwise and unsigned)
    if wide_sums(graph, node) or by_reference or _grouped(graph, node):
        return reference
    tail = 0
    if transposed and unsigned:
        tail = _left_over(graph.spec(node.outputs[0]).shape)
    elif depthwise or transposed:
        tail = graph.spec(node.outputs[0]).shape[-1] % _CHANNELS_AT_ONCE
    return _Recipe("double_rounding_up", reference.order, tail)


def _grouped(graph: Graph, node: Node) -> bool:
    names = operands(node)
    if node.operator != "conv_2d":
        return False
    return graph.spec(names.weights).shape[3] != graph.spec(names.x).shape[3]


def _left_over(shape: tuple[int, ...]) -> int:
    """Channels of an output that is taken sixteen elements at a time, over pixels and images."""
    pixels, channels = math.prod(shape[:-1]), shape[-1]
    rest = pixels * channels % _BYTES_AT_ONCE
    if pixels * channels < _BYTES_AT_ONCE:
        return channels
    if rest and pixels > 1:
        raise ModelError(
            "requantization", f"{pixels * channels} outputs of uint8 in profile ruy",
            f"a multiple of {_BYTES_AT_ONCE} (the runtime rounds the last {rest} differently)",
        )  # fmt: skip
    return rest


def _xnnpack(graph: Graph, node: Node) -> _Recipe:
    if not taken_by_xnnpack(graph, node):
        return _ruy(graph, node)
    names = operands(node)
    if graph.spec(names.weights).dtype == "i4":
        # Its kernels keep 16 times the sum in 32 bits; |x - z| <= 255, |w| <= 8.
        largest = int(np.abs(graph.constants[names.bias]).max()) if names.bias else 0
        largest += 255 * 8 * graph.spec(names.weights).shape[1]
        if largest >= _LARGEST_INT4_SUM:
            raise ModelError(
                "requantization", f"sums up to {largest} of int4 weights in profile xnnpack",
                f"below {_LARGEST_INT4_SUM} (XNNPACK's would wrap)",
            )  # fmt: skip
    return _Recipe("float32_even", float32_scale)


def taken_by_xnnpack(graph: Graph, node: Node) -> bool:
    """Whether LiteRT gives the node to XNNPACK; found by running LiteRT, reasons in its delegate's source.

    8-bit codes of one type, constant weights and bias; int4 weights only of FULLY_CONNECTED with an even
    reduction; convolutions with a bias; biases with a scale, none below 2**-126; TRANSPOSE_CONV with
    strides no longer than its SAME kernel; FULLY_CONNECTED and BATCH_MATMUL with a weight zero point of 0
    (int8).
    """
    names = operands(node)
    x, w = graph.spec(names.x), graph.spec(names.weights)
    params = graph.quantization(names.weights)
    made = node.operator == "batch_matmul"
    four = w.dtype == "i4" and node.operator == "fully_connected" and w.shape[1] % 2 == 0
    if x.dtype not in ("i8", "u8") or (w.dtype != x.dtype and not (four and x.dtype == "i8")):
        return False
    if len(x.shape) > _XNNPACK_DIMENSIONS or min(params.scales) < _SMALLEST_NORMAL:
        return False
    if w.dtype != "u8" and params.zero_point != 0:
        return False
    if not made and not graph.constant(names.weights):
        return False
    if sums_only(graph, node) or not _strides_within_kernel(graph, node):
        return False
    if not names.bias:
        return node.operator not in ("conv_2d", "depthwise_conv_2d")
    bias = graph.tensors[names.bias].quantization
    return bias is not None and min(bias.scales) >= _SMALLEST_NORMAL


def _strides_within_kernel(graph: Graph, node: Node) -> bool:
    if node.operator != "transpose_conv" or not node.integer("same"):
        return True
    kernel_h, kernel_w = graph.spec(operands(node).weights).shape[1:3]
    return node.integer("stride_h") <= kernel_h and node.integer("stride_w") <= kernel_w


_RECIPES: dict[str, Callable[[Graph, Node], _Recipe]] = {
    "tflite": _reference,
    "tflite_micro": _micro,
    "ruy": _ruy,
    "xnnpack": _xnnpack,
    "onnxruntime": lambda graph, node: _Recipe("float32_even", float32_scale),
    "power_of_two": lambda graph, node: _Recipe("power_of_two", _shift),
    "dyadic": lambda graph, node: _Recipe("dyadic_even", float32_product_scale),
}
