"""Random layers with weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import tflite
from layer_parts import (
    SAMPLES,
    Layer,
    Rng,
    activation,
    codes,
    image,
    one_input,
    scale,
    window,
    zero_point,
)  # fmt: skip
from tflite_builder import Op, Tensor

from simulator.tensor import TensorSpec


class Types(NamedTuple):
    """Of input, weights and bias ('' for none)."""

    x: str
    weights: str
    bias: str


# LiteRT refuses a CONV_2D without a bias, and a DEPTHWISE_CONV_2D of int16 with a bias of int32.
CONVOLUTION = (
    Types("i8", "i8", "i32"), Types("u8", "u8", "i32"), Types("i16", "i8", "i64"),
    Types("i16", "i8", "i32"), Types("i8", "i4", "i32"), Types("i16", "i4", "i64"),
)  # fmt: skip
DEPTHWISE = (
    Types("i8", "i8", "i32"), Types("i8", "i8", ""), Types("u8", "u8", "i32"), Types("u8", "u8", ""),
    Types("i16", "i8", "i64"), Types("i16", "i8", ""), Types("i8", "i4", "i32"),
)  # fmt: skip
DENSE = (
    Types("i8", "i8", "i32"), Types("i8", "i8", ""), Types("u8", "u8", "i32"), Types("u8", "u8", ""),
    Types("i16", "i8", "i64"), Types("i16", "i8", "i32"), Types("i16", "i8", ""),
    Types("i8", "i4", "i32"), Types("i8", "i4", ""), Types("i16", "i4", "i64"),
)  # fmt: skip
TRANSPOSED = (
    Types("i8", "i8", "i32"), Types("i8", "i8", ""), Types("u8", "u8", "i32"), Types("u8", "u8", ""),
    Types("i16", "i8", "i64"), Types("i16", "i8", "i32"), Types("i16", "i8", ""),
)  # fmt: skip


class Shapes(NamedTuple):
    """Of input, weights and output; ``axis`` of the weights has the output channels."""

    x: tuple[int, ...]
    weights: tuple[int, ...]
    y: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True)
class Product:
    """Tensors of a layer with weights, the names of x, w and perhaps b, options, and the data for it."""

    tensors: list[Tensor]
    inputs: list[str]
    options: dict[str, int]
    x: np.ndarray


def spread_of(dtype: str) -> float:
    """Standard deviation of codes drawn evenly from a type."""
    return 2 ** TensorSpec((), dtype).bits / np.sqrt(12)


def output_scale(rng: Rng, dtype: str, sums: float) -> np.float32:
    """A scale that brings sums of this size to between a few codes and many times too many."""
    most = 2000 if dtype != "i16" else 60_000
    return np.float32(sums / np.exp(rng.uniform(np.log(10), np.log(most))))


def product(rng: Rng, types: Types, shapes: Shapes, free: bool = False) -> Product:
    """Scales such that outputs spread over the codes, and biases of the size of the sums.

    ``free``: int8 weights of one scale may have any zero point.
    """
    channels, s_in = shapes.weights[shapes.axis], scale(rng)
    per_channel = types.weights != "u8" and bool(rng.integers(2))
    s_w = np.array([scale(rng) for _ in range(channels if per_channel else 1)], np.float32)
    terms = int(np.prod(shapes.weights)) // channels
    sums = np.sqrt(terms) * spread_of(types.x) * spread_of(types.weights)
    s_out = output_scale(rng, types.x, float(s_in * s_w.max() * sums))
    z_in, z_out = (0 if types.x == "i16" else zero_point(rng, types.x) for _ in range(2))
    z_w = zero_point(rng, "u8") if types.weights == "u8" else 0
    if free and types.weights == "i8" and types.x == "i8" and not per_channel:
        z_w = zero_point(rng, "i8")
    w = codes(rng, types.weights, *shapes.weights)
    tensors = [
        Tensor("x", shapes.x, types.x, s_in, z_in),
        Tensor("w", shapes.weights, types.weights, s_w, z_w, w, shapes.axis if per_channel else 0),
        Tensor("y", shapes.y, types.x, s_out, z_out),
    ]
    inputs, options = ["x", "w"], {"FusedActivationFunction": activation(rng)}
    if types.bias:
        container = TensorSpec((), types.bias).container
        bias = rng.normal(0, sums, channels).astype(container)
        tensors.append(Tensor("b", (channels,), types.bias, s_in * s_w, 0, bias))
        inputs.append("b")
    if types.x == "i16" and types.bias == "i32":
        options["QuantizedBiasType"] = tflite.TensorType.INT32
    return Product(tensors, inputs, options, codes(rng, types.x, SAMPLES, *shapes.x))


def chosen(rng: Rng, types: tuple[Types, ...]) -> Types:
    return types[rng.integers(len(types))]


def conv_2d(rng: Rng) -> Layer:
    groups = int(rng.integers(1, 4)) if rng.integers(3) == 0 else 1
    k, n = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    x = image(rng, groups * k)
    w = window(rng, x[1:3], dilated=True)
    shapes = Shapes(x, (groups * n, *w.kernel, k), (x[0], *w.out, groups * n))
    p = product(rng, chosen(rng, CONVOLUTION), shapes)
    return one_input(p.tensors, Op("CONV_2D", p.inputs, "y", {**w.options, **p.options}), p.x)


def depthwise_conv_2d(rng: Rng) -> Layer:
    channels, multiplier = int(rng.integers(1, 18)), int(rng.choice([1, 1, 2, 3]))
    x = image(rng, channels)
    w = window(rng, x[1:3], dilated=True)
    wide = channels * multiplier
    p = product(
        rng, chosen(rng, DEPTHWISE), Shapes(x, (1, *w.kernel, wide), (x[0], *w.out, wide), 3)
    )
    options = {**w.options, **p.options, "DepthMultiplier": multiplier}
    return one_input(p.tensors, Op("DEPTHWISE_CONV_2D", p.inputs, "y", options), p.x)


def fully_connected(rng: Rng) -> Layer:
    k, n = int(rng.integers(1, 80)), int(rng.integers(1, 30))
    rows = tuple(int(r) for r in rng.integers(1, 5, rng.integers(1, 4)))
    keep = bool(rng.integers(2))
    out = (*rows, n) if keep else (int(np.prod(rows)), n)
    types = chosen(rng, DENSE)
    p = product(rng, types, Shapes((*rows, k), (n, k), out), free=bool(rng.integers(2)))
    op = Op("FULLY_CONNECTED", p.inputs, "y", {**p.options, "KeepNumDims": keep})
    if types.weights == "i4" or rng.integers(5):
        return one_input(p.tensors, op, p.x)
    tensors = [replace(t, data=None) if t.name == "w" else t for t in p.tensors]
    w = codes(rng, types.weights, SAMPLES, n, k)
    return Layer(tensors, [op], {"x": p.x, "w": w}, ["y"])


def transpose_conv(rng: Rng) -> Layer:
    k, n = int(rng.integers(1, 7)), int(rng.integers(1, 18))
    x = (int(rng.integers(1, 3)), int(rng.integers(1, 6)), int(rng.integers(1, 6)), k)
    same = bool(rng.integers(2))
    kernel, stride = rng.integers(1, 5, 2), rng.integers(1, 4, 2)
    smallest = (np.array(x[1:3]) - 1) * stride + (1 if same else kernel)
    out = tuple(int(s) for s in smallest + rng.integers(0, stride))
    y = (x[0], *out, n)
    w = (n, int(kernel[0]), int(kernel[1]), k)
    p = product(rng, chosen(rng, TRANSPOSED), Shapes(x, w, y))
    options = {
        **p.options, "Padding": int(not same), "StrideH": int(stride[0]), "StrideW": int(stride[1])
    }  # fmt: skip
    tensors = [*p.tensors, Tensor("s", (4,), "i32", data=np.array(y, np.int32))]
    return one_input(
        tensors, Op("TRANSPOSE_CONV", ["s", "w", "x", *p.inputs[2:]], "y", options), p.x
    )


def _leading(rng: Rng) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Leading dimensions that broadcast."""
    common = rng.integers(1, 4, rng.integers(0, 4))
    first, second = (
        tuple(
            int(s) if rng.integers(4) else 1 for s in common[rng.integers(2) * (common.size > 0) :]
        )
        for _ in range(2)
    )
    return first, second


def batch_matmul(rng: Rng) -> Layer:
    m, k, n = (int(s) for s in rng.integers(1, 24, 3))
    adj_x, adj_y = (bool(a) for a in rng.integers(2, size=2))
    first, second = _leading(rng)
    dtype, other = (("i8", "i8"), ("i8", "i8"), ("i16", "i16"), ("i16", "i8"))[rng.integers(4)]
    sums_out = dtype == "i8" and rng.integers(8) == 0
    x_shape = (*first, *((k, m) if adj_x else (m, k)))
    w_shape = (*second, *((n, k) if adj_y else (k, n)))
    s_x, s_w = scale(rng), scale(rng)
    sums = float(s_x * s_w * np.sqrt(k) * spread_of(dtype) * spread_of(other))
    z_x, z_w, z_y = (0 if dtype == "i16" or sums_out else zero_point(rng, dtype) for _ in range(3))
    y_shape = (*np.broadcast_shapes(first, second), m, n)
    y = Tensor("y", y_shape, dtype, output_scale(rng, dtype, sums), z_y)
    w, x = (codes(rng, t, SAMPLES, *s) for t, s in ((other, w_shape), (dtype, x_shape)))
    constant = rng.integers(3) == 0
    tensors = [
        Tensor("x", x_shape, dtype, s_x, z_x),
        Tensor("w", w_shape, other, s_w, z_w, w[0] if constant else None),
        Tensor("y", y_shape, "i32") if sums_out else y,
    ]
    op = Op("BATCH_MATMUL", ["x", "w"], "y", {"AdjX": adj_x, "AdjY": adj_y})
    inputs = {"x": x} if constant else {"x": x, "w": w}
    return Layer(tensors, [op], inputs, ["y"])


LAYERS: dict[str, Callable[[Rng], Layer]] = {
    "conv_2d": conv_2d,
    "depthwise_conv_2d": depthwise_conv_2d,
    "fully_connected": fully_connected,
    "transpose_conv": transpose_conv,
    "batch_matmul": batch_matmul,
}
