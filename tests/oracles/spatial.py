"""Pooling, resizing, transposed convolution and batched products of codes, as numpy loops of integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oracles.elementwise import Q
from oracles.fixed import double_rounding, f32, quantize_multiplier, round_away, trunc_div


def average(codes: Sequence[int], low: int, high: int) -> int:
    """AVERAGE_POOL_2D of the valid taps, any width; ties away from zero, zero points never enter."""
    total, n = sum(codes), len(codes)
    value = trunc_div(total + n // 2, n) if total > 0 else trunc_div(total - n // 2, n)
    return min(max(value, low), high)


def _grid(size_in: int, size_out: int, align_corners: bool, half_pixel: bool) -> list[tuple]:
    """(position in 1/1024, lower and upper index) of each output index."""
    scale = ((1 << 10) * size_in + size_out // 2) // size_out
    if align_corners and size_out > 1:
        scale = ((1 << 10) * (size_in - 1) + (size_out - 1) // 2) // (size_out - 1)
    rows = []
    for i in range(size_out):
        at = i * scale + (scale // 2 - (1 << 9) if half_pixel else 0)
        lower = max(trunc_div(at, 1 << 10), 0)
        upper = min(trunc_div(at + (1 << 10) - 1, 1 << 10), size_in - 1)
        rows.append((at, lower, upper))
    return rows


def resize_bilinear(x: np.ndarray, size: tuple[int, int], align: bool, half: bool) -> np.ndarray:
    """RESIZE_BILINEAR of signed codes [height, width, channels]; weights in Q10, ties away from zero.

    A position left of the first centre (half pixels) gives weights beyond 1 and below 0 on one and the
    same pixel.
    """
    out = np.zeros((*size, x.shape[2]), np.int64)
    for i, (y, y0, y1) in enumerate(_grid(x.shape[0], size[0], align, half)):
        for j, (z, x0, x1) in enumerate(_grid(x.shape[1], size[1], align, half)):
            down, right = y - (y0 << 10), z - (x0 << 10)
            for c in range(x.shape[2]):
                total = (
                    int(x[y0, x0, c]) * (1024 - down) * (1024 - right)
                    + int(x[y1, x0, c]) * down * (1024 - right)
                    + int(x[y0, x1, c]) * (1024 - down) * right
                    + int(x[y1, x1, c]) * down * right
                )
                half_step = 1 << 19
                out[i, j, c] = trunc_div(total + (half_step if total > 0 else -half_step), 1 << 20)
    return out


def _float_grid(size_in: int, size_out: int, align: bool, half: bool) -> list[tuple]:
    scale = f32(size_in) / f32(size_out)
    if align and size_out > 1:
        scale = f32(size_in - 1) / f32(size_out - 1)
    rows = []
    for i in range(size_out):
        at = f32(f32(i) * scale)
        if half:
            at = f32(f32(f32(f32(i) + f32(0.5)) * scale) - f32(0.5))
        lower, upper = max(int(np.floor(at)), 0), min(int(np.ceil(at)), size_in - 1)
        rows.append((f32(at - f32(lower)), lower, upper))
    return rows


def resize_bilinear_unsigned(
    x: np.ndarray, size: tuple[int, int], align: bool, half: bool
) -> np.ndarray:
    """RESIZE_BILINEAR of uint8 codes: float32, every product and sum rounded, in this order."""
    one, out = f32(1), np.zeros((*size, x.shape[2]), np.int64)
    for i, (down, y0, y1) in enumerate(_float_grid(x.shape[0], size[0], align, half)):
        for j, (right, x0, x1) in enumerate(_float_grid(x.shape[1], size[1], align, half)):
            up, left = f32(one - down), f32(one - right)
            for c in range(x.shape[2]):
                total = f32(f32(f32(x[y0, x0, c]) * up) * left)
                total = f32(total + f32(f32(f32(x[y1, x0, c]) * down) * left))
                total = f32(total + f32(f32(f32(x[y0, x1, c]) * up) * right))
                total = f32(total + f32(f32(f32(x[y1, x1, c]) * down) * right))
                out[i, j, c] = int(f32(total + f32(0.5)))
    return out


def nearest(size_in: int, size_out: int, align: bool, half: bool) -> list[int]:
    """RESIZE_NEAREST_NEIGHBOR: the input index of each output index; float32 throughout."""
    scale = f32(size_in) / f32(size_out)
    if align and size_out > 1:
        scale = f32(size_in - 1) / f32(size_out - 1)
    indices = []
    for i in range(size_out):
        at = f32(f32(f32(i) + f32(0.5 if half else 0.0)) * scale)
        index = min(round_away(at) if align else int(np.floor(at)), size_in - 1)
        indices.append(max(0, index) if half else index)
    return indices


def transpose_conv(
    x: np.ndarray, weights: np.ndarray, bias: np.ndarray | None, shape: Sequence[int], stride: int
) -> np.ndarray:
    """Accumulators of TRANSPOSE_CONV: x [H, W, C] less its zero point, weights OHWI, ``shape`` [H, W].

    SAME or VALID padding both cut the scattered product evenly, the smaller half first.
    """
    _, kernel_h, kernel_w, _ = weights.shape
    top = max((x.shape[0] - 1) * stride + kernel_h - shape[0], 0) // 2
    left = max((x.shape[1] - 1) * stride + kernel_w - shape[1], 0) // 2
    acc = np.zeros((*shape, weights.shape[0]), np.int64)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            for u in range(kernel_h):
                for v in range(kernel_w):
                    y, z = i * stride + u - top, j * stride + v - left
                    if 0 <= y < shape[0] and 0 <= z < shape[1]:
                        acc[y, z] += weights[:, u, v, :].astype(np.int64) @ x[i, j].astype(np.int64)
    return acc if bias is None else acc + bias


def product_multiplier(qa: Q, qb: Q, out: Q) -> tuple[int, int]:
    """BATCH_MATMUL's scaling: the scales' product is rounded to float32, the quotient is not."""
    return quantize_multiplier(float(f32(f32(qa.scale) * f32(qb.scale))) / out.scale)


def scale_int64(acc: int, multiplier: int, shift: int) -> int:
    """The runtime's scaling of a 64-bit accumulator: a multiplier of 15 bits, ties to +inf."""
    short = 32767 if multiplier >= 0x7FFF0000 else (multiplier + (1 << 15)) >> 16
    return (acc * short + (1 << (14 - shift))) >> (15 - shift)


def batch_matmul(a: np.ndarray, b: np.ndarray, qa: Q, qb: Q, out: Q) -> np.ndarray:
    """BATCH_MATMUL of [m, k] and [k, n] codes; 16-bit codes go through :func:`scale_int64`."""
    acc = (a.astype(np.int64) - qa.zero_point) @ (b.astype(np.int64) - qb.zero_point)
    scaling = product_multiplier(qa, qb, out)
    scaled = scale_int64 if out.bits == 16 else double_rounding
    codes = [out.fit(scaled(int(v), *scaling) + out.zero_point) for v in acc.ravel()]
    return np.array(codes).reshape(acc.shape)
