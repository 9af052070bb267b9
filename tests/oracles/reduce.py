"""MEAN, SUM and ARG_MAX over the last axis of [outputs, n] codes."""

from __future__ import annotations

from oracles.elementwise import Q
from oracles.fixed import clamp, double_rounding, f32, quantize_multiplier, round_away, wrap


def mean(codes: list[int], x: Q, out: Q) -> int:
    """MEAN: the division by n is folded into the multiplier, cut."""
    multiplier, exponent = quantize_multiplier(x.scale / out.scale)
    n = len(codes)
    shift = min(n.bit_length() - 1, 32, 31 + exponent)
    multiplier = (multiplier << shift) // n
    total = sum(codes) - n * x.zero_point
    return out.fit(double_rounding(total, multiplier, exponent - shift) + out.zero_point)


def sum_unsigned(codes: list[int], x: Q, out: Q) -> int:
    """SUM as the reference kernels run it: right for uint8 only.

    They read the bytes of any 8-bit type as unsigned: for int8 the sum of ``code % 256``, clamped to 0 ..
    255 and written back as those bits.
    """
    total = sum(code % 256 for code in codes) - len(codes) * x.zero_point
    scaling = quantize_multiplier(x.scale / out.scale)
    value = clamp(double_rounding(total, *scaling) + out.zero_point, 0, 255)
    return wrap(value, 8) if out.signed else value


def sum_float(codes: list[int], x: Q, out: Q) -> int:
    """SUM as the optimised kernels run it on signed codes of 8 and 16 bits: float32 in this order."""
    scale = f32(f32(x.scale) / f32(out.scale))
    bias = f32(f32(f32(-x.zero_point) * scale) * f32(len(codes)))
    return out.fit(round_away(f32(f32(f32(sum(codes)) * scale) + bias)) + out.zero_point)


def arg_max(codes: list[int]) -> int:
    """The first of the largest."""
    return codes.index(max(codes))
