"""Cases of operators with weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.graph.ir import Attribute
from simulator.tensor import TensorSpec
from simulator.vectors.build import (
    ACTIVATIONS,
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

_UNIFORM_STD = 74.0  # of codes drawn evenly from 256 values
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
    while True:
        kernel, stride = rng.integers(1, 5, 2), rng.integers(1, 4, 2)
        dilation = rng.integers(1, 3, 2) if dilated else np.ones(2, int)
        padding = str(rng.choice(["SAME", "VALID"]))
        reach = (kernel - 1) * dilation + 1
        if padding == "SAME" or (reach <= (height, width)).all():
            break
    pairs = [(int(pair[0]), int(pair[1])) for pair in (kernel, stride, dilation)]
    return (batch, height, width, channels), Window(pairs[0], pairs[1], pairs[2], padding)


@dataclass(frozen=True)
class _Product:
    """Operands and output of a product, before its biases are chosen.

    ``terms``: products per output; ``channels``: outputs along ``axis`` of the weights.
    """

    operator: str
    x: np.ndarray
    operands: tuple[Operand, Operand]
    result: Result
    attrs: dict[str, Attribute]
    terms: int
    channels: int


def _parts(
    rng: Rng, kind: str, operator: str, x_shape: tuple[int, ...], w_shape: tuple[int, ...],
    axis: int, attrs: dict[str, Attribute],
) -> _Product:  # fmt: skip
    """Scales such that outputs spread over the codes."""
    dtype = str(rng.choice(INTEGERS))
    channels = w_shape[axis]
    terms = int(np.prod(w_shape)) // channels
    per_channel = dtype == "i8" and bool(rng.integers(2)) and channels > 1
    s_in = any_scale(rng)
    s_w = tuple(any_scale(rng) for _ in range(channels if per_channel else 1))
    spread = np.sqrt(terms) * _UNIFORM_STD**2
    s_out = real(s_in * max(s_w) * spread / np.exp(rng.uniform(np.log(10), np.log(2000))))
    if kind in ("ties", "one_ulp"):  # finer accumulators than codes, so that there are ties to meet
        s_out = real(s_in * max(s_w) * 2.0 ** rng.uniform(9, 20))
    z_w = any_zero_point(rng, dtype, kind) if dtype == "u8" else 0
    x = Operand("x", x_shape, dtype, (s_in,), any_zero_point(rng, dtype, kind))
    weights = codes(rng, dtype, w_shape, kind)
    w = Operand("w", w_shape, dtype, s_w, z_w, weights, axis if per_channel else 0)
    attrs = {"activation": str(rng.choice(ACTIVATIONS)), **attrs}
    if kind in ("ties", "one_ulp"):
        attrs["activation"] = "NONE"
    result = Result(dtype, s_out, any_zero_point(rng, dtype, kind))
    return _Product(
        operator, codes(rng, dtype, x_shape, kind), (x, w), result, attrs, terms, channels
    )


def _finish(rng: Rng, kind: str, profile: str, p: _Product) -> Case:
    """Add the biases: of the size of the sums, at the ends of int32, or such that sums meet ties."""
    x, w = p.operands
    spread = np.sqrt(p.terms) * _UNIFORM_STD**2
    bias = np.clip(rng.normal(0, spread, p.channels), -_INT32, _INT32).astype(np.int32)
    values = p.x
    if kind == "corners" and rng.integers(2):
        # No sum may leave int32, where references differ.
        room = _INT32 - p.terms * 256 * 256
        bias = (rng.choice([-1, 1], p.channels) * room).astype(np.int32)
    if kind in ("ties", "one_ulp"):
        # All inputs at the zero point: every accumulator is its channel's bias, next to an edge
        # (code + 1/2) / scale between two codes.
        values = np.full(p.x.shape, x.zero_point, p.x.dtype)
        bias = _edges(rng, p)
    if kind == "one_ulp":
        step = int(rng.choice([-1, 1]))
        x = replace(x, scales=(next_scale(x.scales[0], step),))
    scales = tuple(real(x.scales[0] * s) for s in w.scales)
    b = Operand("b", (p.channels,), "i32", scales, 0, bias)
    return Case(kind, one_node(p.operator, [x, w, b], p.result, profile, p.attrs), {"x": values})


def _edges(rng: Rng, p: _Product) -> np.ndarray:
    x, w = p.operands
    spec = TensorSpec((), p.result.dtype)
    low, high = spec.minimum - p.result.zero_point, spec.maximum - p.result.zero_point
    halves = rng.integers(low, high, p.channels, endpoint=True) + 0.5
    s_w = np.array(w.scales * (p.channels if len(w.scales) == 1 else 1))
    near = np.rint(halves * p.result.scale / (x.scales[0] * s_w))
    edges = near.astype(np.int64) + rng.integers(-2, 3, p.channels)
    return np.clip(edges, -_INT32, _INT32).astype(np.int32)


def conv_2d(rng: Rng, kind: str, profile: str) -> Case:
    """Grouped one time in three; for ties many output channels on one position."""
    groups = int(rng.integers(1, 4)) if rng.integers(3) == 0 else 1
    k, n = (1 if kind == "ones" else int(rng.integers(1, 9)) for _ in range(2))
    if kind in ("ties", "one_ulp"):
        groups, k, n = 1, 1, 64
    shape, window = image_and_window(rng, kind, groups * k, dilated=True)
    p = _parts(
        rng, kind, "conv_2d", shape, (groups * n, *window.kernel, k), 0, _window_attrs(window)
    )
    return _finish(rng, kind, profile, p)


def depthwise_conv_2d(rng: Rng, kind: str, profile: str) -> Case:
    """A depth multiplier of 1 to 3."""
    channels, multiplier = int(rng.integers(1, 18)), int(rng.choice([1, 1, 2, 3]))
    if kind in ("ties", "one_ulp"):
        channels = 64
    if kind == "ones":
        channels = 1
    shape, window = image_and_window(rng, kind, channels, dilated=True)
    attrs = _window_attrs(window)
    w_shape = (1, *window.kernel, channels * multiplier)
    return _finish(
        rng, kind, profile, _parts(rng, kind, "depthwise_conv_2d", shape, w_shape, 3, attrs)
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
        rows, k, n = 1, 1, 64
    if kind == "ones":
        rows, k, n = 1, int(rng.choice([1, k])), int(rng.choice([1, n]))
    attrs: dict[str, Attribute] = {"keep_dims": 0, "weights_format": "DEFAULT"}
    p = _parts(rng, kind, "fully_connected", (rows, k), (n, k), 0, attrs)
    return _finish(rng, kind, profile, p)
