"""Random single-operator models, one maker per operator: shapes, paddings, types, scales, activations.

``LAYERS`` must have an entry for every operator of the package; the conformance suite checks it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite
from tflite_builder import Op, Tensor, build_model

from simulator.tensor import TensorSpec

SAMPLES = 2
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
_UNIFORM_STD = 74.0  # of codes drawn evenly from 256 values
Rng = np.random.Generator


@dataclass(frozen=True)
class Layer:
    """A model file and inputs for it; every array has samples as its first axis."""

    content: bytes
    inputs: dict[str, np.ndarray]


def codes(rng: Rng, dtype: str, *shape: int) -> np.ndarray:
    """Codes over the whole range of ``dtype``; one time in eight only its two ends."""
    spec = TensorSpec((), dtype)
    if rng.integers(8) == 0:
        return rng.choice([spec.minimum, spec.maximum], shape).astype(spec.container)
    return rng.integers(spec.minimum, spec.maximum + 1, shape).astype(spec.container)


def zero_point(rng: Rng, dtype: str) -> int:
    """Either end of the range, the middle, or any code."""
    spec = TensorSpec((), dtype)
    middle = (spec.minimum + spec.maximum + 1) // 2
    anything = int(rng.integers(spec.minimum, spec.maximum + 1))
    return (spec.minimum, spec.maximum, middle, anything)[rng.integers(4)]


def scale(rng: Rng, low: float = 1e-3, high: float = 1.0) -> np.float32:
    return np.float32(np.exp(rng.uniform(np.log(low), np.log(high))))


def activation(rng: Rng) -> int:
    name = ACTIVATIONS[rng.integers(4)] if rng.integers(2) else "NONE"
    return getattr(tflite.ActivationFunctionType, name)


def dtype(rng: Rng) -> str:
    return ("i8", "u8")[rng.integers(2)]


def image(rng: Rng, channels: int) -> tuple[int, int, int, int]:
    return (int(rng.integers(1, 3)), int(rng.integers(1, 10)), int(rng.integers(1, 10)), channels)


def one_input(tensors: list[Tensor], op: Op, x: np.ndarray) -> Layer:
    """A layer whose first tensor is its only input."""
    content = build_model(tensors, [op], [tensors[0].name], [op.output])
    return Layer(content, {tensors[0].name: x})


@dataclass(frozen=True)
class Window:
    """Output sizes of a sliding window and the options that say so."""

    out: tuple[int, int]
    kernel: tuple[int, int]
    options: dict[str, Any]


def window(rng: Rng, sizes: tuple[int, int], dilated: bool) -> Window:
    """A kernel, stride, dilation and padding that leave at least one output."""
    while True:
        kernel = [int(k) for k in rng.integers(1, 5, 2)]
        stride = [int(s) for s in rng.integers(1, 4, 2)]
        dilation = [int(d) for d in rng.integers(1, 4, 2)] if dilated else [1, 1]
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        same = bool(rng.integers(2))
        if same:
            out = [-(-size // s) for size, s in zip(sizes, stride, strict=True)]
        else:
            out = [(z - r) // s + 1 for z, r, s in zip(sizes, reach, stride, strict=True)]
        if min(out) >= 1:
            break
    options = {"Padding": int(not same), "StrideH": stride[0], "StrideW": stride[1]}
    if dilated:
        options |= {"DilationHFactor": dilation[0], "DilationWFactor": dilation[1]}
    return Window((out[0], out[1]), (kernel[0], kernel[1]), options)


@dataclass(frozen=True)
class Product:
    """Tensors of a layer with weights, its operator's inputs, and the data for it."""

    tensors: list[Tensor]
    inputs: list[str]
    x: np.ndarray


def product(
    rng: Rng, kind: str, in_shape: tuple[int, ...], w_shape: tuple[int, ...],
    out_shape: tuple[int, ...], axis: int, needs_bias: bool = False,
) -> Product:  # fmt: skip
    """Scales such that outputs spread over the codes, and biases of the size of the sums."""
    channels, s_in = w_shape[axis], scale(rng)
    per_channel = kind == "i8" and bool(rng.integers(2))
    s_w = np.array([scale(rng) for _ in range(channels if per_channel else 1)], np.float32)
    terms = int(np.prod(w_shape)) // channels
    spread = np.sqrt(terms) * _UNIFORM_STD**2
    s_out = np.float32(s_in * s_w.max() * spread / np.exp(rng.uniform(np.log(10), np.log(2000))))
    z_in = zero_point(rng, kind)
    bias = (rng.normal(0, spread, channels)).astype(np.int32)
    tensors = [
        Tensor("x", in_shape, kind, s_in, z_in),
        Tensor(
            "w", w_shape, kind, s_w, zero_point(rng, kind) if kind == "u8" else 0,
            codes(rng, kind, *w_shape), axis if per_channel else 0,
        ),
        Tensor("y", out_shape, kind, s_out, zero_point(rng, kind)),
    ]  # fmt: skip
    inputs = ["x", "w"]
    if needs_bias or rng.integers(4):
        tensors.append(Tensor("b", (channels,), "i32", s_in * s_w, 0, bias))
        inputs.append("b")
    return Product(tensors, inputs, codes(rng, kind, SAMPLES, *in_shape))


def conv_2d(rng: Rng) -> Layer:
    groups = int(rng.integers(1, 4)) if rng.integers(3) == 0 else 1
    k, n = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    in_shape = image(rng, groups * k)
    w = window(rng, in_shape[1:3], dilated=True)
    kind = dtype(rng)
    # LiteRT refuses a CONV_2D of 8-bit codes without a bias.
    p = product(
        rng, kind, in_shape, (groups * n, *w.kernel, k), (in_shape[0], *w.out, groups * n), 0, True
    )
    options = {**w.options, "FusedActivationFunction": activation(rng)}
    return one_input(p.tensors, Op("CONV_2D", p.inputs, "y", options), p.x)


def depthwise_conv_2d(rng: Rng) -> Layer:
    channels, multiplier = int(rng.integers(1, 18)), int(rng.choice([1, 1, 2, 3]))
    in_shape = image(rng, channels)
    w = window(rng, in_shape[1:3], dilated=True)
    wide = channels * multiplier
    p = product(rng, dtype(rng), in_shape, (1, *w.kernel, wide), (in_shape[0], *w.out, wide), 3)
    options = {
        **w.options, "DepthMultiplier": multiplier, "FusedActivationFunction": activation(rng)
    }  # fmt: skip
    return one_input(p.tensors, Op("DEPTHWISE_CONV_2D", p.inputs, "y", options), p.x)


def fully_connected(rng: Rng) -> Layer:
    k, n = int(rng.integers(1, 80)), int(rng.integers(1, 30))
    rows = tuple(int(r) for r in rng.integers(1, 5, rng.integers(1, 4)))
    keep = bool(rng.integers(2))
    out = (*rows, n) if keep else (int(np.prod(rows)), n)
    p = product(rng, dtype(rng), (*rows, k), (n, k), out, 0)
    options = {"FusedActivationFunction": activation(rng), "KeepNumDims": keep}
    return one_input(p.tensors, Op("FULLY_CONNECTED", p.inputs, "y", options), p.x)


def any_shape(rng: Rng) -> tuple[int, ...]:
    return tuple(int(s) for s in rng.integers(1, 8, rng.integers(1, 5)))


def add(rng: Rng) -> Layer:
    shape, kind = any_shape(rng), dtype(rng)
    s1, s2 = scale(rng, 1e-2), scale(rng, 1e-2)
    s_out = np.float32(max(s1, s2) * rng.uniform(0.3, 3))
    tensors = [
        Tensor("x", shape, kind, s1, zero_point(rng, kind)),
        Tensor("z", shape, kind, s2, zero_point(rng, kind)),
        Tensor("y", shape, kind, s_out, zero_point(rng, kind)),
    ]
    options = {"FusedActivationFunction": activation(rng)}
    twice = rng.integers(8) == 0  # x + x
    names = ["x", "x"] if twice else ["x", "z"]
    if twice:
        del tensors[1]
    content = build_model(tensors, [Op("ADD", names, "y", options)], sorted(set(names)), ["y"])
    return Layer(content, {name: codes(rng, kind, SAMPLES, *shape) for name in sorted(set(names))})


def _pool(rng: Rng, kind: str) -> Layer:
    in_shape, code = image(rng, int(rng.integers(1, 18))), dtype(rng)
    w = window(rng, in_shape[1:3], dilated=False)
    s, z = scale(rng, 1e-2), zero_point(rng, code)
    tensors = [
        Tensor("x", in_shape, code, s, z),
        Tensor("y", (in_shape[0], *w.out, in_shape[3]), code, s, z),
    ]
    options = {
        **w.options, "FilterHeight": w.kernel[0], "FilterWidth": w.kernel[1],
        "FusedActivationFunction": activation(rng),
    }  # fmt: skip
    return one_input(tensors, Op(kind, ["x"], "y", options), codes(rng, code, SAMPLES, *in_shape))


def average_pool_2d(rng: Rng) -> Layer:
    return _pool(rng, "AVERAGE_POOL_2D")


def max_pool_2d(rng: Rng) -> Layer:
    return _pool(rng, "MAX_POOL_2D")


def _elementwise(rng: Rng, kind: str, code: str, out_code: str, s_out: np.float32) -> Layer:
    shape = any_shape(rng)
    s_in = np.float32(s_out * np.exp(rng.uniform(-2, 2))) if rng.integers(6) else s_out
    tensors = [
        Tensor("x", shape, code, s_in, zero_point(rng, code)),
        Tensor("y", shape, out_code, s_out, zero_point(rng, out_code)),
    ]
    return one_input(tensors, Op(kind, ["x"], "y"), codes(rng, code, SAMPLES, *shape))


def quantize(rng: Rng) -> Layer:
    return _elementwise(rng, "QUANTIZE", dtype(rng), dtype(rng), scale(rng))


def relu(rng: Rng) -> Layer:
    code = dtype(rng)
    return _elementwise(rng, "RELU", code, code, scale(rng))


def relu6(rng: Rng) -> Layer:
    code = dtype(rng)
    return _elementwise(rng, "RELU6", code, code, scale(rng, 5e-3, 0.2))


def relu_n1_to_1(rng: Rng) -> Layer:
    code = dtype(rng)
    return _elementwise(rng, "RELU_N1_TO_1", code, code, scale(rng, 2e-3, 0.05))


def pad(rng: Rng) -> Layer:
    shape, code = any_shape(rng), dtype(rng)
    amounts = rng.integers(0, 4, (len(shape), 2)).astype(rng.choice(["int32", "int64"]))
    out = tuple(int(s + a.sum()) for s, a in zip(shape, amounts, strict=True))
    s, z = scale(rng), zero_point(rng, code)
    width = f"i{amounts.dtype.itemsize * 8}"
    tensors = [
        Tensor("x", shape, code, s, z),
        Tensor("amounts", amounts.shape, width, data=amounts),
        Tensor("y", out, code, s, z),
    ]
    return one_input(tensors, Op("PAD", ["x", "amounts"], "y"), codes(rng, code, SAMPLES, *shape))


def reshape(rng: Rng) -> Layer:
    shape, code = any_shape(rng), dtype(rng)
    out = tuple(int(s) for s in rng.permutation([*shape, 1]))
    s, z = scale(rng), zero_point(rng, code)
    tensors = [
        Tensor("x", shape, code, s, z),
        Tensor("shape", (len(out),), "i32", data=np.array(out, np.int32)),
        Tensor("y", out, code, s, z),
    ]
    op = Op("RESHAPE", ["x", "shape"], "y", {"NewShape": list(out)})
    return one_input(tensors, op, codes(rng, code, SAMPLES, *shape))


def softmax(rng: Rng) -> Layer:
    shape, code = any_shape(rng), dtype(rng)
    beta = float(np.float32(rng.choice([1.0, 0.3, 2.5])))
    tensors = [
        Tensor("x", shape, code, scale(rng, 1e-3, 2.0), zero_point(rng, code)),
        Tensor("y", shape, code, np.float32(1 / 256), -128 if code == "i8" else 0),
    ]
    op = Op("SOFTMAX", ["x"], "y", {"Beta": beta})
    return one_input(tensors, op, codes(rng, code, SAMPLES, *shape))


LAYERS: dict[str, Callable[[Rng], Layer]] = {
    "add": add, "average_pool_2d": average_pool_2d, "conv_2d": conv_2d,
    "depthwise_conv_2d": depthwise_conv_2d, "fully_connected": fully_connected,
    "max_pool_2d": max_pool_2d, "pad": pad, "quantize": quantize, "relu": relu, "relu6": relu6,
    "relu_n1_to_1": relu_n1_to_1, "reshape": reshape, "softmax": softmax,
}  # fmt: skip
