"""Requantizers of runtimes that compute in floating point, done in integers.

``(accumulator, mantissa, exponent) -> code``; the real scale is ``mantissa * 2**exponent``. What a
floating-point unit does is spelled out: the accumulator is rounded to the significand's width and
multiplied, the product is rounded to that width again, each half to even, and the result is rounded to
an integer. Every |accumulator| < 2**62 is converted as an int64 would be. No exponent range is modelled
below: a product below the normal numbers is far below one half and becomes 0 either way. Results
saturate at int32, products beyond the format's range included: the runtimes clamp to codes before they
convert, and no code lies outside int32.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.requantize_integer import shift_right_even
from simulator.fixedpoint.width import Integer
from simulator.jit import jit

_FLOAT32_BITS = 24
_FLOAT64_BITS = 53
_LIMB_BITS = 27


@jit
def bit_length(value: Integer) -> Integer:
    """Bits of a value in [0, 2**63), 0 for 0; without a loop, since it is met at every output."""
    length = 0
    if value >> 32 > 0:
        value >>= 32
        length += 32
    if value >> 16 > 0:
        value >>= 16
        length += 16
    if value >> 8 > 0:
        value >>= 8
        length += 8
    if value >> 4 > 0:
        value >>= 4
        length += 4
    if value >> 2 > 0:
        value >>= 2
        length += 2
    if value >> 1 > 0:
        value >>= 1
        length += 1
    return length + value  # what is left is 0 or 1


@jit
def _excess_bits(value: Integer, bits: int) -> Integer:
    """Bits of ``value`` beyond ``bits``; most accumulators have none, so that is asked first."""
    return bit_length(value) - bits if value >> bits > 0 else 0


@jit
def _signed_int32(magnitude: Integer, negative: bool | np.bool_) -> Integer:
    if negative:
        return -min(magnitude, 1 << 31)
    return min(magnitude, (1 << 31) - 1)


@jit
def _shift_left_past_int32(magnitude: Integer, exponent: Integer) -> Integer:
    """magnitude << exponent, or something beyond int32 where that is beyond int32."""
    return min(magnitude, 1 << 31) << min(exponent, 31)  # <= 2**62


@jit
def float32_even(accumulator: Integer, mantissa: Integer, exponent: Integer) -> Integer:
    """FE: rint(float32(accumulator) * scale), the product a float32, mantissa below 2**24.

    XNNPACK, ONNX Runtime, fbgemm and QNNPACK.
    """
    magnitude = abs(accumulator)
    cut = _excess_bits(magnitude, _FLOAT32_BITS)
    product = shift_right_even(magnitude, cut) * mantissa  # <= 2**24 * (2**24 - 1)
    drop = _excess_bits(product, _FLOAT32_BITS)
    significand = shift_right_even(product, drop)  # <= 2**24
    exponent += cut + drop
    if exponent >= 0:
        magnitude = _shift_left_past_int32(significand, exponent)
    else:
        magnitude = shift_right_even(significand, min(-exponent, 62))  # 0 from 25 on
    return _signed_int32(magnitude, accumulator < 0)


@jit
def _product53(a: Integer, b: Integer) -> tuple[Integer, Integer]:
    """(significand, drop): a * b rounded to 53 bits, times 2**drop.

    a <= 2**53, b < 2**53: the product, below 2**106, is held as high * 2**54 + low.
    """
    mask = (1 << _LIMB_BITS) - 1
    a_high = a >> _LIMB_BITS  # <= 2**26
    b_high = b >> _LIMB_BITS
    cross = a_high * (b & mask) + (a & mask) * b_high  # < 2**54
    low = (a & mask) * (b & mask) + ((cross & mask) << _LIMB_BITS)  # < 2**55
    high = a_high * b_high + (cross >> _LIMB_BITS) + (low >> 2 * _LIMB_BITS)  # < 2**52
    low &= (1 << 2 * _LIMB_BITS) - 1
    length = bit_length(high) + 2 * _LIMB_BITS if high > 0 else bit_length(low)
    drop = length - _FLOAT64_BITS  # <= 53
    if drop <= 0:
        return low, 0
    # The double product rounds ties to even, this rounds them up; the code is the same. Within int32 a
    # point half-way between codes has an even significand, so a tie just below it goes up to it in
    # either case, and a tie just above it stays above.
    rounded = (low + (1 << (drop - 1))) >> drop
    return (high << (2 * _LIMB_BITS - drop)) + rounded, drop  # <= 2**53


@jit
def float64_away(accumulator: Integer, mantissa: Integer, exponent: Integer) -> Integer:
    """FA: std::round(double(accumulator) * scale), ties away, mantissa below 2**53.

    LiteRT's reference FULLY_CONNECTED, with int32 and int64 accumulators.
    """
    magnitude = abs(accumulator)
    cut = _excess_bits(magnitude, _FLOAT64_BITS)
    significand, drop = _product53(shift_right_even(magnitude, cut), mantissa)
    exponent += cut + drop
    if exponent >= 0:
        magnitude = _shift_left_past_int32(significand, exponent)
    else:
        right = min(-exponent, 62)  # significand <= 2**53: 0 from 55 on
        magnitude = (significand + (1 << (right - 1))) >> right
    return _signed_int32(magnitude, accumulator < 0)
