"""Requantizers by definition, in exact arithmetic, and the kernels over whole arrays.

The definitions share nothing with the kernels: they are written with fractions. ``of_*`` take what a
kernel takes; ``float_*`` take the real scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from simulator.fixedpoint.requantize import KINDS, requantize
from simulator.jit import jit

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def power(exponent: int) -> Fraction:
    return Fraction(2) ** exponent


def away(value: Fraction) -> int:
    """Nearest integer, ties away from zero."""
    magnitude = math.floor(abs(value) + Fraction(1, 2))
    return magnitude if value > 0 else -magnitude


def up(value: Fraction) -> int:
    """Nearest integer, ties towards plus infinity."""
    return math.floor(value + Fraction(1, 2))


def even(value: Fraction) -> int:
    """Nearest integer, ties to the even one."""
    return round(value)


def to_significand(value: Fraction, bits: int) -> Fraction:
    """The nearest number of ``bits`` significant bits, ties to even; any exponent."""
    if value == 0:
        return value
    exponent = value.numerator.bit_length() - value.denominator.bit_length() - bits  # or one more
    if abs(value) >= power(exponent + bits):
        exponent += 1
    assert power(exponent + bits - 1) <= abs(value) < power(exponent + bits)
    return even(value / power(exponent)) * power(exponent)


def wrapped(value: int, bits: int = 32) -> int:
    half = 2 ** (bits - 1)
    return (value + half) % (2 * half) - half


def saturated(value: int) -> int:
    return min(max(value, INT32_MIN), INT32_MAX)


def _high(accumulator: int, multiplier: int, shift: int) -> int:
    return up(Fraction(wrapped(accumulator << max(shift, 0)) * multiplier, 2**31))


def of_double_rounding(accumulator: int, multiplier: int, shift: int) -> int:
    return away(Fraction(_high(accumulator, multiplier, shift), 2 ** max(-shift, 0)))


def of_double_rounding_up(accumulator: int, multiplier: int, shift: int) -> int:
    return up(Fraction(_high(accumulator, multiplier, shift), 2 ** max(-shift, 0)))


def of_single_rounding(accumulator: int, multiplier: int, shift: int) -> int:
    return up(wrapped(accumulator) * multiplier * power(shift - 31))


def of_reduced_multiplier(accumulator: int, multiplier: int, shift: int) -> int:
    return up(wrapped(accumulator, 48) * multiplier * power(shift - 15))


def of_dyadic_even(accumulator: int, multiplier: int, shift: int) -> int:
    return even(wrapped(accumulator) * multiplier * power(shift - 31))


def of_truncate(accumulator: int, multiplier: int, shift: int) -> int:
    return math.trunc(wrapped(accumulator) * multiplier * power(shift - 31))


def of_power_of_two(accumulator: int, multiplier: int, shift: int) -> int:
    return up(accumulator * power(shift))


def of_float32_even(accumulator: int, mantissa: int, exponent: int) -> int:
    scale = mantissa * power(exponent)
    product = to_significand(to_significand(Fraction(accumulator), 24) * scale, 24)
    return saturated(even(product))


def of_float64_away(accumulator: int, mantissa: int, exponent: int) -> int:
    scale = mantissa * power(exponent)
    product = to_significand(to_significand(Fraction(accumulator), 53) * scale, 53)
    return saturated(away(product))


DEFINITIONS: dict[str, Callable[[int, int, int], int]] = {
    "double_rounding": of_double_rounding,
    "double_rounding_up": of_double_rounding_up,
    "single_rounding": of_single_rounding,
    "float32_even": of_float32_even,
    "float64_away": of_float64_away,
    "reduced_multiplier": of_reduced_multiplier,
    "dyadic_even": of_dyadic_even,
    "power_of_two": of_power_of_two,
    "truncate": of_truncate,
    "natural": of_single_rounding,
}


def python_float64_away(accumulator: int, real: float) -> int:
    """``round(double(acc) * M)``: Python's conversion and product are the IEEE ones."""
    product = float(accumulator) * real
    if math.isinf(product):
        return INT32_MAX if product > 0 else INT32_MIN
    return saturated(away(Fraction(product)))


def numpy_float32_even(accumulators: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """``rint(float32(acc) * scale)`` by numpy, clamped to int32; ``scales`` float32, result int64."""
    with np.errstate(over="ignore", under="ignore"):
        product = accumulators.astype(np.float32) * scales
    assert product.dtype == np.float32
    return np.clip(np.rint(product).astype(np.float64), INT32_MIN, INT32_MAX).astype(np.int64)


def numpy_float64_away(accumulators: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """``round(double(acc) * M)`` by numpy, clamped to int32; ``scales`` float64, result int64."""
    with np.errstate(over="ignore", under="ignore"):
        product = accumulators.astype(np.float64) * scales
    product = np.clip(product, INT32_MIN, INT32_MAX)
    whole = np.trunc(product)  # and what is cut off is exact, too
    whole += np.where(np.abs(product - whole) >= 0.5, np.sign(product), 0)
    return np.clip(whole, INT32_MIN, INT32_MAX).astype(np.int64)


@jit
def _fill(kind, accumulators, multipliers, shifts, out):
    for i in range(accumulators.size):
        out[i] = requantize(kind, accumulators[i], multipliers[i], shifts[i])


def requantized(
    kind: str, accumulators: np.ndarray, multipliers: np.ndarray, shifts: np.ndarray
) -> np.ndarray:
    """The kernel over flat arrays of one length; int64."""
    a, m, s = (np.ascontiguousarray(v, np.int64) for v in (accumulators, multipliers, shifts))
    out = np.empty(a.shape, np.int64)
    _fill(KINDS[kind], a, m, s, out)
    return out


def mantissas(scales: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """(mantissa, exponent) of an array of floats, exactly, int64."""
    fractions, exponents = np.frexp(scales.astype(np.float64))
    return np.ldexp(fractions, bits).astype(np.int64), exponents.astype(np.int64) - bits
