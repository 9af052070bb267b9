"""Cases of operators with weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from simulator.errors import ModelError
from simulator.graph.ir import Attribute
from simulator.tensor import TensorSpec
from simulator.vectors.build import (
    ACTIVATIONS,
    EMPTY,
    INTEGERS,
    Case,
    Operand,
    Result,
    Rng,
    any_scale,
    any_zero_point,
    codes,
    next_scale,
    one_node,
    real,
)

_EDGES = 256  # output channels of a case for ties, each with a sum of its own
_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Window:
    """A sliding window that leaves at least one output."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: str


def image_and_window(
    rng: Rng, kind: str, channels: int, dilated: bool = False
) -> tuple[tuple[int, int, int, int], Window]:
    """An NHWC shape and a window on it; for cases of kind ``ones`` most sizes are 1."""
    most = 2 if kind == "ones" else 8
    batch, height, width = (int(n) for n in rng.integers(1, [3, most, most]))
    batch = 0 if kind == EMPTY else batch
    while True:
        kernel, stride = rng.integers(1, 5, 2), rng.integers(1, 4, 2)
        dilation = rng.integers(1, 3, 2) if dilated else np.ones(2, int)
        padding = str(rng.choice(["SAME", "VALID"]))
        reach = (kernel - 1) * dilation + 1
        if padding == "SAME" or (reach <= (height, width)).all():
            break
    pairs = [(int(pair[0]), int(pair[1])) for pair in (kernel, stride, dilation)]
    return (batch, height, width, channels), Window(pairs[0], pairs[1], pairs[2], padding)


class Types(NamedTuple):
    """Of input and output, weights, and bias ('' for none)."""

    x: str
    weights: str
    bias: str = "i32"


_EIGHT = (Types("i8", "i8"), Types("u8", "u8"))
_CONVOLUTION = (
    *_EIGHT, Types("i8", "i4"), Types("i16", "i8", "i64"), Types("i16", "i8"), Types("i16", "i4", "i64")
)  # fmt: skip
_DEPTHWISE = (*_EIGHT, Types("i8", "i4"), Types("i16", "i8", "i64"))
_DENSE = (*_CONVOLUTION, Types("i8", "i8", ""), Types("u8", "u8", ""), Types("i8", "i4", ""))
_TRANSPOSED = (*_EIGHT, Types("i16", "i8", "i64"), Types("i16", "i8"))
_ONNX = (*_EIGHT, Types("u8", "i8"))


@dataclass(frozen=True)
class _Product:
    """Operands and output of a product, before its biases are chosen.

    ``terms``: products per output; ``channels``: outputs along ``axis`` of the weights; ``spread``: the
    size of a product of codes.
    """

    operator: str
    x: np.ndarray
    operands: tuple[Operand, Operand]
    result: Result
    attrs: dict[str, Attribute]
    terms: int
    channels: int
    spread: float
    bias: str


def _size(dtype: str) -> float:
    """Standard deviation of codes drawn evenly from a type."""
    return 2 ** TensorSpec((), dtype).bits / np.sqrt(12)


def _parts(
    rng: Rng, kind: str, named: tuple[str, Sequence[Types], str], x_shape: tuple[int, ...],
    weights: tuple[tuple[int, ...], int], attrs: dict[str, Attribute],
) -> _Product:  # fmt: skip
    """Scales such that outputs spread over the codes. ``named``: operator, types, profile; ``weights``:
    their shape, and the axis of the outputs."""
    (operator, known, profile), (w_shape, axis) = named, weights
    known = _ONNX if profile == "onnxruntime" else known
    types = known[int(rng.integers(len(known)))]
    channels = w_shape[axis]
    terms = int(np.prod(w_shape)) // channels
    per_channel = types.weights != "u8" and bool(rng.integers(2)) and channels > 1
    s_in = any_scale(rng)
    s_w = tuple(any_scale(rng) for _ in range(channels if per_channel else 1))
    spread = _size(types.x) * _size(types.weights)
    most = 60_000 if types.x == "i16" else 2000
    sums = s_in * max(s_w) * np.sqrt(terms) * spread
    s_out = real(sums / np.exp(rng.uniform(np.log(10), np.log(most))))
    if kind in ("ties", "one_ulp"):  # finer accumulators than codes, so that there are ties to meet
        low, high = (2, 10) if types.x == "i16" else (9, 20)
        s_out = real(s_in * max(s_w) * 2.0 ** rng.uniform(low, high))
    z_w = any_zero_point(rng, types.weights, kind) if types.weights == "u8" else 0
    x = Operand("x", x_shape, types.x, (s_in,), any_zero_point(rng, types.x, kind))
    values = codes(rng, types.weights, w_shape, kind)
    w = Operand("w", w_shape, types.weights, s_w, z_w, values, axis if per_channel else 0)
    attrs = {"activation": str(rng.choice(ACTIVATIONS)), **attrs}
    if kind in ("ties", "one_ulp"):
        attrs["activation"] = "NONE"
    if types.x == "i16" and types.bias == "i32":
        attrs["bias_type"] = "INT32"
    result = Result(types.x, s_out, any_zero_point(rng, types.x, kind))
    x_codes = codes(rng, types.x, x_shape, kind)
    return _Product(operator, x_codes, (x, w), result, attrs, terms, channels, spread, types.bias)


def _finish(rng: Rng, kind: str, profile: str, p: _Product) -> Case:
    """Add the biases: of the size of the sums, at the ends of int32, or such that sums meet ties."""
    x, w = p.operands
    values, limit = p.x, _INT32
    bias = np.clip(rng.normal(0, np.sqrt(p.terms) * p.spread, p.channels), -limit, limit)
    if kind == "corners" and rng.integers(2) and x.dtype in INTEGERS:
        # Neither a sum nor its product with the scale may leave int32, where references differ.
        scales = x.scales[0] * np.array(w.scales) / p.result.scale
        largest = np.minimum(_INT32 - p.terms * 256 * 256, 2**30 / scales)
        bias = rng.choice([-1, 1], p.channels) * largest
    if kind in ("ties", "one_ulp"):
        # All inputs at the zero point: every accumulator is its channel's bias, next to an edge
        # (code + 1/2) / scale between two codes.
        values = np.full(p.x.shape, x.zero_point, p.x.dtype)
        bias = _edges(rng, p)
    if kind == "one_ulp":
        x = replace(x, scales=(next_scale(x.scales[0], int(rng.choice([-1, 1]))),))
    operands = [x, w]
    if p.bias:
        scales = tuple(real(x.scales[0] * s) for s in w.scales)
        container = TensorSpec((), p.bias).container
        operands.append(Operand("b", (p.channels,), p.bias, scales, 0, bias.astype(container)))
    elif kind in ("ties", "one_ulp"):
        raise ModelError("vectors", "ties are made with biases")
    if p.operator == "transpose_conv":
        shape = [int(n) for n in str(p.attrs.pop("output")).split()]
        size = Operand("s", (4,), "i32", values=np.array(shape, np.int32))
        operands = [size, w, x, *operands[2:]]
    return Case(kind, one_node(p.operator, operands, p.result, profile, p.attrs), {"x": values})


def _edges(rng: Rng, p: _Product) -> np.ndarray:
    x, w = p.operands
    spec = TensorSpec((), p.result.dtype)
    low, high = spec.minimum - p.result.zero_point, spec.maximum - p.result.zero_point
    halves = rng.integers(low, high, p.channels, endpoint=True) + 0.5
    s_w = np.array(w.scales * (p.channels if len(w.scales) == 1 else 1))
    near = np.rint(halves * p.result.scale / (x.scales[0] * s_w))
    edges = near.astype(np.int64) + rng.integers(-2, 3, p.channels)
    return np.clip(edges, -_INT32, _INT32)


def conv_2d(rng: Rng, kind: str, profile: str) -> Case:
    """Grouped one time in three; for ties many output channels on one position."""
    groups = int(rng.integers(1, 4)) if rng.integers(3) == 0 else 1
    k, n = (1 if kind == "ones" else int(rng.integers(1, 9)) for _ in range(2))
    if kind in ("ties", "one_ulp"):
        groups, k, n = 1, 1, _EDGES
    shape, window = image_and_window(rng, kind, groups * k, dilated=True)
    named, weights = ("conv_2d", _CONVOLUTION, profile), ((groups * n, *window.kernel, k), 0)
    return _finish(
        rng, kind, profile, _parts(rng, kind, named, shape, weights, _window_attrs(window))
    )


def depthwise_conv_2d(rng: Rng, kind: str, profile: str) -> Case:
    """A depth multiplier of 1 to 3."""
    channels, multiplier = int(rng.integers(1, 18)), int(rng.choice([1, 1, 2, 3]))
    if kind in ("ties", "one_ulp"):
        channels = _EDGES
    if kind == "ones":
        channels = 1
    shape, window = image_and_window(rng, kind, channels, dilated=True)
    named = ("depthwise_conv_2d", _DEPTHWISE, profile)
    weights = ((1, *window.kernel, channels * multiplier), 3)
    return _finish(
        rng, kind, profile, _parts(rng, kind, named, shape, weights, _window_attrs(window))
    )


def _window_attrs(window: Window) -> dict[str, Attribute]:
    return {
        "padding": window.padding, "stride_h": window.stride[0], "stride_w": window.stride[1],
        "dilation_h": window.dilation[0], "dilation_w": window.dilation[1],
    }  # fmt: skip


def fully_connected(rng: Rng, kind: str, profile: str) -> Case:
    """Rows of up to 79 values."""
    rows, k, n = int(rng.integers(1, 5)), int(rng.integers(1, 80)), int(rng.integers(1, 30))
    if kind in ("ties", "one_ulp"):
        rows, k, n = 1, int(rng.integers(1, 3)), _EDGES
    if kind == "ones":
        rows, k, n = 1, int(rng.choice([1, k])), int(rng.choice([1, n]))
    if kind == EMPTY:
        rows = 0
    attrs: dict[str, Attribute] = {"keep_dims": 0, "weights_format": "DEFAULT"}
    named = ("fully_connected", _DENSE, profile)
    return _finish(rng, kind, profile, _parts(rng, kind, named, (rows, k), ((n, k), 0), attrs))


def transpose_conv(rng: Rng, kind: str, profile: str) -> Case:
    """Any output size that the window and stride give back the image's of."""
    most = 2 if kind == "ones" else 6
    k, n = (1, 1) if kind == "ones" else (int(rng.integers(1, 7)), int(rng.integers(1, 18)))
    if kind in ("ties", "one_ulp"):
        k, n = 1, _EDGES
    batch, height, width = (int(v) for v in rng.integers(1, [3, most, most]))
    batch = 0 if kind == EMPTY else batch
    kernel, stride, same = rng.integers(1, 5, 2), rng.integers(1, 4, 2), int(rng.integers(2))
    smallest = (np.array([height, width]) - 1) * stride + (1 if same else kernel)
    out = smallest + rng.integers(0, stride)
    attrs: dict[str, Attribute] = {
        "same": same, "stride_h": int(stride[0]), "stride_w": int(stride[1]),
        "output": f"{batch} {out[0]} {out[1]} {n}",
    }  # fmt: skip
    named, weights = ("transpose_conv", _TRANSPOSED, profile), ((n, *map(int, kernel), k), 0)
    p = _parts(rng, kind, named, (batch, height, width, k), weights, attrs)
    return _finish(rng, kind, profile, p)


_MATRICES = (Types("i8", "i8", ""), Types("i16", "i16", ""), Types("i16", "i8", ""))


def batch_matmul(rng: Rng, kind: str, profile: str) -> Case:
    """Matrices turned or not, leading dimensions broadcast; ties: sums of few small factors."""
    known = (Types("u8", "u8"), *_MATRICES[:1]) if profile == "onnxruntime" else _MATRICES
    types = known[int(rng.integers(len(known)))]
    ties = kind in ("ties", "one_ulp")
    m, k, n = (1, 1, 1) if kind == "ones" else (int(s) for s in rng.integers(1, 24, 3))
    if ties:
        m, k, n = 32, 1, 32
    if kind == EMPTY:
        m = 0
    turned = [int(v) for v in rng.integers(2, size=2)]
    lead = tuple(int(s) for s in rng.integers(1, 2 if kind == "ones" else 4, rng.integers(0, 3)))
    x_shape = (*lead, *((k, m) if turned[0] else (m, k)))
    w_shape = (*(tuple(1 if rng.integers(3) == 0 else s for s in lead)),
               *((n, k) if turned[1] else (k, n)))  # fmt: skip
    s_x, s_w = any_scale(rng), any_scale(rng)
    sums = s_x * s_w * np.sqrt(k) * _size(types.x) * _size(types.weights)
    s_out = real(sums / np.exp(rng.uniform(2, 10 if types.x == "i16" else 7)))
    if ties:
        s_out = real(s_x * s_w * 2 * int(rng.integers(1, 200)))
    if kind == "one_ulp":
        s_x = next_scale(s_x, int(rng.choice([-1, 1])))
    x = Operand("x", x_shape, types.x, (s_x,), any_zero_point(rng, types.x, kind))
    z_w = 0 if types.x == "i16" else any_zero_point(rng, types.weights, kind)
    w = Operand("w", w_shape, types.weights, (s_w,), z_w)
    result = Result(types.x, s_out, any_zero_point(rng, types.x, kind))
    attrs: dict[str, Attribute] = {"adj_x": turned[0], "adj_y": turned[1]}
    inputs = {o.name: codes(rng, o.dtype, o.shape, kind) for o in (x, w)}
    return Case(kind, one_node("batch_matmul", [x, w], result, profile, attrs), inputs)
