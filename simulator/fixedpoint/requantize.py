"""Requantization: from an accumulator to an output code, in integers only.

Names and definitions follow the reference kernels of TensorFlow Lite (``quantization_util.cc``,
``common.h``) and gemmlowp (``fixedpoint.h``); facts restated from the project's semantics notes:

* ``DOUBLE_ROUNDING`` (DR): high half of the doubled product rounded ties to +inf, then a right shift
  rounded ties away from zero.
* ``FLOAT64_AWAY`` (FA): ``round(double(acc) * M)`` with ``M`` a double, as LiteRT's reference
  FULLY_CONNECTED computes it; done here with a 53-bit mantissa and two limbs.
"""

from __future__ import annotations

import math

from simulator.errors import ModelError
from simulator.fixedpoint.width import Integer
from simulator.jit import jit

DOUBLE_ROUNDING = 0
FLOAT64_AWAY = 1
KINDS = {"double_rounding": DOUBLE_ROUNDING, "float64_away": FLOAT64_AWAY}

_LIMB_BITS = 26


def quantize_multiplier(real: float) -> tuple[int, int]:
    """``real`` = multiplier * 2**(shift - 31): a 31-bit multiplier and a shift (positive: left).

    TensorFlow Lite's ``QuantizeMultiplier``: rounds half away from zero, flushes below 2**-32 to 0.
    """
    if not (math.isfinite(real) and real >= 0):
        raise ModelError("requantization", f"multiplier {real}", "finite and not negative")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2.0**31 + 0.5)
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        raise ModelError("requantization", f"multiplier {real}", "below 2**30 (int32 accumulators)")
    return multiplier, shift


def float64_mantissa(real: float) -> tuple[int, int]:
    """``real`` = mantissa * 2**exponent exactly, with a mantissa below 2**53."""
    if not (math.isfinite(real) and real >= 0):
        raise ModelError("requantization", f"multiplier {real}", "finite and not negative")
    fraction, exponent = math.frexp(real)
    return int(fraction * 2.0**53), exponent - 53


@jit
def doubling_high_mul(a: Integer, b: Integer) -> Integer:
    """High 32 bits of 2*a*b, rounded, ties to +inf; a, b int32, not both -2**31."""
    return (a * b + (1 << 30)) >> 31  # |a*b| <= 2**62


@jit
def rounding_divide_by_pot(value: Integer, exponent: int) -> Integer:
    """value / 2**exponent, ties away from zero; |value| < 2**62, 0 <= exponent <= 62."""
    if exponent == 0:
        return value
    magnitude = (abs(value) + (1 << (exponent - 1))) >> exponent
    return -magnitude if value < 0 else magnitude


@jit
def double_rounding(accumulator: Integer, multiplier: int, shift: int) -> Integer:
    """DR: ``accumulator`` (int32) times multiplier * 2**(shift - 31); result fits in int32."""
    left = shift if shift > 0 else 0
    right = -shift if shift < 0 else 0
    # The reference shifts in 32 bits; |accumulator << left| < 2**62 before the wrap.
    shifted = ((accumulator << left) + (1 << 31) & ((1 << 32) - 1)) - (1 << 31)
    return rounding_divide_by_pot(doubling_high_mul(shifted, multiplier), right)


@jit
def _bit_length(value: Integer) -> int:
    length = 0
    while value > 0:
        value >>= 1
        length += 1
    return length


@jit
def float64_away(accumulator: Integer, mantissa: int, exponent: int) -> Integer:
    """FA: round-half-away(double(accumulator) * mantissa * 2**exponent), in integers.

    ``accumulator`` is int32, ``mantissa`` below 2**53, so the product has at most 85 bits: it is held
    as ``high * 2**26 + low``, rounded to 53 significant bits half to even (what the double product
    does), then to an integer half away from zero (what ``std::round`` does). Saturates at int32.
    """
    magnitude = abs(accumulator)
    mask = (1 << _LIMB_BITS) - 1
    low = magnitude * (mantissa & mask)  # < 2**58
    high = magnitude * (mantissa >> _LIMB_BITS) + (low >> _LIMB_BITS)  # < 2**59 + 2**32
    low &= mask
    # Normalise to a 53-bit significand, half to even: product = significand * 2**drop.
    length = _bit_length(high) + _LIMB_BITS if high > 0 else _bit_length(low)
    drop = length - 53
    if drop <= 0:
        significand = (high << _LIMB_BITS) + low  # < 2**53: the product is exact
        drop = 0
    elif drop <= _LIMB_BITS:
        significand = (high << (_LIMB_BITS - drop)) + (low >> drop)
        rest = low & ((1 << drop) - 1)
        half = 1 << (drop - 1)
        if rest > half or (rest == half and significand & 1 == 1):
            significand += 1
    else:
        beyond = drop - _LIMB_BITS
        significand = high >> beyond
        rest = high & ((1 << beyond) - 1)
        half = 1 << (beyond - 1)
        if rest > half or (rest == half and (low > 0 or significand & 1 == 1)):
            significand += 1
    scale = exponent + drop
    if scale >= 0:
        # significand >= 1 here only for very large multipliers; saturate before shifting too far.
        result = significand << scale if scale < 10 and significand < (1 << 52) else 1 << 62
        if significand == 0:
            result = 0
    elif scale < -55:
        result = 0  # significand <= 2**53, so the value is at most a quarter
    else:
        result = (significand + (1 << (-scale - 1))) >> -scale
    result = min(result, (1 << 31) - 1)
    return -result if accumulator < 0 else result


@jit
def requantize(kind: int, accumulator: Integer, multiplier: int, shift: int) -> Integer:
    """One accumulator through requantizer ``kind`` (see :data:`KINDS`)."""
    if kind == DOUBLE_ROUNDING:
        return double_rounding(accumulator, multiplier, shift)
    return float64_away(accumulator, multiplier, shift)
