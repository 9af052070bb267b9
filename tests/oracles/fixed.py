"""Fixed-point arithmetic of the reference runtime in plain Python integers.

Shares nothing with ``simulator.fixedpoint``; shaped like the definitions. Names: DR is the double
rounding requantizer, SRDHM the saturating rounding doubling high multiplication.
"""

from __future__ import annotations

import math

import numpy as np


def clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


def saturate(value: int, bits: int) -> int:
    return clamp(value, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def wrap(value: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (value + half) % (1 << bits) - half


def trunc_div(a: int, b: int) -> int:
    """C's integer division: toward zero."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def round_away(value: float | np.floating) -> int:
    """C's ``round`` of a double or a float32, exactly."""
    whole = math.floor(abs(float(value)))
    if abs(float(value)) - whole >= 0.5:
        whole += 1
    return -whole if value < 0 else whole


def divide_by_pot(value: int, exponent: int) -> int:
    """value / 2**exponent to nearest, ties away from zero."""
    if exponent == 0:
        return value
    magnitude = (abs(value) + (1 << (exponent - 1))) >> exponent
    return -magnitude if value < 0 else magnitude


def high_mul(a: int, b: int, bits: int = 32) -> int:
    """SRDHM on ``bits``-bit integers: ties to +inf."""
    lowest = -(1 << (bits - 1))
    if a == lowest and b == lowest:
        return -lowest - 1
    return (a * b + (1 << (bits - 2))) >> (bits - 1)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(31-bit multiplier, shift) of a double."""
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(float(real))
    multiplier = round_away(fraction * 2.0**31)
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


def double_rounding(value: int, multiplier: int, shift: int) -> int:
    """DR of an int32 ``value``."""
    shifted = wrap(value << max(shift, 0), 32)
    return divide_by_pot(high_mul(shifted, multiplier), max(-shift, 0))


def tie_up(value: int, multiplier: int, shift: int) -> int:
    """RX, the requantizer of the runtime's vector code: both roundings send ties to +inf."""
    shifted = wrap(value << max(shift, 0), 32)
    right = max(-shift, 0)
    return (high_mul(shifted, multiplier) + ((1 << right) >> 1)) >> right


def f32(value: float | np.floating) -> np.float32:
    return np.float32(value)
