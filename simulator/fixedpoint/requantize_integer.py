"""Requantizers that multiply by an integer, or only shift: ``(accumulator, multiplier, shift) -> code``.

The real scale is ``multiplier * 2**(shift - 31)``, multiplier in [0, 2**31), but where said otherwise.
Functions of the reference that take an int32 take the low 32 bits of a wider accumulator here. Results
are not saturated: scales are chosen so that they fit, and the clamp to codes follows.
"""

from __future__ import annotations

from simulator.fixedpoint.width import Integer, wrap
from simulator.jit import jit

_LONGEST = 62  # the longest right shift that the rounding constants leave room for in int64


@jit
def doubling_high_mul(a: Integer, b: Integer) -> Integer:
    """High 32 bits of 2*a*b, rounded, ties to +inf; a, b int32, not both -2**31."""
    return (a * b + (1 << 30)) >> 31  # |a*b| <= 2**62


@jit
def rounding_divide_by_pot(value: Integer, exponent: Integer) -> Integer:
    """value / 2**exponent, ties away from zero; |value| < 2**62, 0 <= exponent <= 62."""
    if exponent == 0:
        return value
    magnitude = (abs(value) + (1 << (exponent - 1))) >> exponent
    return -magnitude if value < 0 else magnitude


@jit
def shift_right_up(value: Integer, exponent: Integer) -> Integer:
    """value / 2**exponent, ties to +inf; |value| <= 2**62, 0 <= exponent <= 62."""
    if exponent == 0:
        return value
    return (value + (1 << (exponent - 1))) >> exponent


@jit
def shift_right_even(value: Integer, exponent: Integer) -> Integer:
    """value / 2**exponent, ties to even; |value| <= 2**62, 0 <= exponent <= 62."""
    if exponent == 0:
        return value
    # Just below half, and a half wherever the result would be odd.
    return (value + (1 << (exponent - 1)) - 1 + ((value >> exponent) & 1)) >> exponent


@jit
def _first_rounding(accumulator: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """High half of the doubled product, the accumulator first shifted left in 32 bits; 32 bits."""
    left = shift if shift > 0 else 0
    # The reference shifts in 32 bits; before the wrap |accumulator << left| <= 2**61.
    shifted = ((wrap(accumulator, 32) << left) + (1 << 31) & ((1 << 32) - 1)) - (1 << 31)
    return doubling_high_mul(shifted, multiplier)


@jit
def double_rounding(accumulator: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """DR: the product rounded ties up, then shifted right with ties away; shift -31 .. 30.

    ``MultiplyByQuantizedMultiplier`` of TensorFlow Lite's, gemmlowp's and CMSIS-NN's default builds.
    """
    right = -shift if shift < 0 else 0
    return rounding_divide_by_pot(_first_rounding(accumulator, multiplier, shift), right)


@jit
def double_rounding_up(accumulator: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """RX: as double rounding, but the second rounding's ties go up, too; shift -31 .. 30.

    ruy's AVX2 and AVX-512 kernels and the NEON loops of TensorFlow Lite's optimised kernels.
    """
    right = -shift if shift < 0 else 0
    return shift_right_up(_first_rounding(accumulator, multiplier, shift), right)


@jit
def single_rounding(accumulator: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """SR: the whole product rounded once, ties up; shift -31 .. 30.

    TensorFlow Lite and CMSIS-NN built for single rounding, ruy's portable C++.
    """
    return shift_right_up(wrap(accumulator, 32) * multiplier, 31 - shift)  # |product| < 2**62


@jit
def reduced_multiplier(accumulator: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """A 48-bit accumulator times a 15-bit multiplier * 2**(shift - 15), ties up; shift -31 .. 7.

    TensorFlow Lite's and CMSIS-NN's convolutions of int16 by int8 with an int64 bias.
    """
    return shift_right_up(wrap(accumulator, 48) * multiplier, 15 - shift)  # |product| < 2**62


@jit
def dyadic_even(accumulator: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """The exact product rounded once, half to even; any shift to 30. HAWQ-V3 on int32 hardware.

    HAWQ's own code multiplies in double: equal as long as |accumulator| < 2**22.
    """
    right = 31 - shift
    if right > _LONGEST:
        return 0  # |product| < 2**62 is less than half of 2**63
    return shift_right_even(wrap(accumulator, 32) * multiplier, right)


@jit
def natural(accumulator: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """The product rounded once, ties up; shift -32 .. 31. The Ethos-U's NATURAL.

    The integers of single rounding over a 6-bit right shift.
    """
    right = 31 - shift
    if right > _LONGEST:
        return 0
    return shift_right_up(wrap(accumulator, 32) * multiplier, right)


@jit
def truncate(accumulator: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """The product cut towards zero; shift -32 .. 31. The Ethos-U's TRUNCATE."""
    product = wrap(accumulator, 32) * multiplier  # |product| < 2**62
    right = 31 - shift
    if right > _LONGEST:
        return 0
    magnitude = abs(product) >> right
    return -magnitude if product < 0 else magnitude


@jit
def power_of_two(accumulator: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """accumulator * 2**shift, ties up, shift at most 30; the multiplier, 1, is not looked at.

    What hardware without a multiplier does: an arithmetic shift, and the last bit shifted out added as
    a carry. Shift 0 and left shifts clamp the accumulator to +-2**32: beyond every code either way.
    """
    if shift >= 0:
        limit = 1 << 32
        return min(max(accumulator, -limit), limit) << shift  # |result| <= 2**62
    if shift < -_LONGEST:
        return 0  # |accumulator| < 2**62 is less than half of 2**63
    return shift_right_up(accumulator, -shift)


@jit
def as_it_is(accumulator: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """The accumulator: products whose sums are the result, such as ONNX's MatMulInteger."""
    return accumulator
