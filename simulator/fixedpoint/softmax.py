"""gemmlowp's fixed-point softmax, as TensorFlow Lite's reference SOFTMAX runs it on 8-bit codes.

``Qm.n`` is a fixed-point number with m integer and n fraction bits. Integer constants are the
mathematical constant named beside them in that format.
"""

from __future__ import annotations

import math

from simulator.fixedpoint.requantize import (
    doubling_high_mul,
    quantize_multiplier,
    rounding_divide_by_pot,
)
from simulator.fixedpoint.width import Integer
from simulator.jit import jit

_INPUT_INTEGER_BITS = 5  # the scaled difference to the maximum is Q5.26


def input_scaling(beta: float, scale: float) -> tuple[int, int, int]:
    """(multiplier, left shift, smallest difference) that bring code differences to Q5.26.

    Differences below the smallest contribute nothing: their exponential is below half an LSB.
    """
    real = min(beta * scale * 2.0 ** (31 - _INPUT_INTEGER_BITS), 2.0**31 - 1.0)
    # Halved, since quantize_multiplier ends at shift 30; that changes the shift alone.
    multiplier, shift = quantize_multiplier(real / 2)
    shift += 1
    radius = math.floor(31 * 2.0 ** (31 - _INPUT_INTEGER_BITS) / 2.0**shift)
    return multiplier, shift, -radius


@jit
def _saturating_shift_left(value: Integer, exponent: int) -> Integer:
    return min(max(value << exponent, -(1 << 31)), (1 << 31) - 1)  # |value| < 2**31


@jit
def _exp_quarter_interval(a: Integer) -> Integer:
    """exp(a) for a in [-1/4, 0), Q0.31 to Q0.31: a 4-term Taylor series around -1/8."""
    x = a + (1 << 28)  # + 1/8
    x2 = doubling_high_mul(x, x)
    x3 = doubling_high_mul(x2, x)
    x4 = doubling_high_mul(x2, x2)
    tail = rounding_divide_by_pot(
        doubling_high_mul(rounding_divide_by_pot(x4, 2) + x3, 715827883) + x2,  # 1/3
        1,
    )
    return 1895147668 + doubling_high_mul(1895147668, x + tail)  # exp(-1/8)


@jit
def exp_on_negative(a: Integer) -> Integer:
    """exp(a) for a <= 0: Q5.26 to Q0.31."""
    if a == 0:
        return (1 << 31) - 1
    quarter = 1 << 24
    fraction = (a & (quarter - 1)) - quarter
    result = _exp_quarter_interval(_saturating_shift_left(fraction, _INPUT_INTEGER_BITS))
    remainder = fraction - a
    # One factor exp(-2**k) for each set bit of the remainder, k = -2 .. 4.
    if remainder & (1 << 24):
        result = doubling_high_mul(result, 1672461947)
    if remainder & (1 << 25):
        result = doubling_high_mul(result, 1302514674)
    if remainder & (1 << 26):
        result = doubling_high_mul(result, 790015084)
    if remainder & (1 << 27):
        result = doubling_high_mul(result, 290630308)
    if remainder & (1 << 28):
        result = doubling_high_mul(result, 39332535)
    if remainder & (1 << 29):
        result = doubling_high_mul(result, 720401)
    if remainder & (1 << 30):
        result = doubling_high_mul(result, 242)
    return result


@jit
def one_over_one_plus(a: Integer) -> Integer:
    """1 / (1 + a) for a in [0, 1): Q0.31 to Q0.31, by three Newton steps."""
    total = a + (1 << 31) - 1
    half_denominator = (total + 1) >> 1  # rounding half sum of a and one; both are >= 0
    x = 1515870810 + doubling_high_mul(half_denominator, -1010580540)  # 48/17, -32/17 in Q2.29
    for _ in range(3):
        product = doubling_high_mul(half_denominator, x)
        rest = (1 << 29) - product
        x = x + _saturating_shift_left(doubling_high_mul(x, rest), 2)
    return _saturating_shift_left(x, 1)


@jit
def leading_zeros(value: Integer) -> int:
    """Leading zero bits of a positive 32-bit value."""
    count = 32
    while value > 0:
        value >>= 1
        count -= 1
    return count
