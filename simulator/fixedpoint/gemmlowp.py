"""gemmlowp's fixed-point exponential, logistic function and hyperbolic tangent, of 16 or 32 bits.

``Qm.n`` is a number with m integer and n fraction bits beside its sign; "Q m" of ``bits`` bits has
``bits - 1 - m`` fraction bits. gemmlowp gives constants in 32 bits and rounds them to the narrower
type, ties away from zero; the integer constants here are those, with the real number beside them.
Source: gemmlowp ``fixedpoint/fixedpoint.h``.
"""

from __future__ import annotations

from simulator.fixedpoint.requantize import rounding_divide_by_pot
from simulator.fixedpoint.width import Integer, saturate, wrap
from simulator.jit import jit


@jit
def high_mul(a: Integer, b: Integer, bits: int) -> Integer:
    """High half of 2*a*b, rounded, ties to +inf; a, b of ``bits`` bits, not both the lowest."""
    return (a * b + (1 << (bits - 2))) >> (bits - 1)  # |a*b| <= 2**62


@jit
def _constant(value: Integer, bits: int) -> Integer:
    return rounding_divide_by_pot(value, 32 - bits)


@jit
def _exp_quarter_interval(a: Integer, bits: int) -> Integer:
    """exp(a) for a in [-1/4, 0), Q0 to Q0: a 4-term Taylor series around -1/8."""
    x = a + (1 << (bits - 4))  # + 1/8
    x2 = high_mul(x, x, bits)
    x3 = high_mul(x2, x, bits)
    x4 = high_mul(x2, x2, bits)
    third = _constant(715827883, bits)  # 1/3
    tail = rounding_divide_by_pot(
        high_mul(rounding_divide_by_pot(x4, 2) + x3, third, bits) + x2,
        1,
    )
    factor = _constant(1895147668, bits)  # exp(-1/8)
    return factor + high_mul(factor, x + tail, bits)  # below 1: nothing to saturate


@jit
def exp_on_negative(a: Integer, integer_bits: int, bits: int) -> Integer:
    """exp(a) for a <= 0: from Q ``integer_bits`` (at most 7) to Q0; 1 is the largest value."""
    if a == 0:
        return (1 << (bits - 1)) - 1
    fraction_bits = bits - 1 - integer_bits
    if integer_bits > 5 and a < -(32 << fraction_bits):
        return 0
    quarter = 1 << (fraction_bits - 2)
    fraction = (a & (quarter - 1)) - quarter
    result = _exp_quarter_interval(saturate(fraction << integer_bits, bits), bits)
    # One factor exp(-2**k), k = -2 .. 4, for each set bit of the remainder that the format has.
    remainder = (fraction - a) >> (fraction_bits - 2)
    if remainder & 1:
        result = high_mul(result, _constant(1672461947, bits), bits)
    if remainder & 2:
        result = high_mul(result, _constant(1302514674, bits), bits)
    if remainder & 4:
        result = high_mul(result, _constant(790015084, bits), bits)
    if remainder & 8:
        result = high_mul(result, _constant(290630308, bits), bits)
    if remainder & 16:
        result = high_mul(result, _constant(39332535, bits), bits)
    if remainder & 32:
        result = high_mul(result, _constant(720401, bits), bits)
    if remainder & 64:
        result = high_mul(result, _constant(242, bits), bits)
    return result


@jit
def _two_over_one_plus(a: Integer, bits: int) -> Integer:
    """2 / (1 + a) for a in [0, 1]: Q0 to Q2, by three Newton steps."""
    total = a + (1 << (bits - 1)) - 1
    half_denominator = (total + 1) >> 1  # rounding half sum of a and one; both are >= 0
    slope = _constant(-1010580540, bits)  # -32/17 in Q2
    x = _constant(1515870810, bits) + high_mul(half_denominator, slope, bits)  # 48/17 in Q2
    for _ in range(3):
        rest = (1 << (bits - 3)) - high_mul(half_denominator, x, bits)
        x = wrap(x + saturate(high_mul(x, rest, bits) << 2, bits), bits)
    return x


@jit
def one_over_one_plus(a: Integer, bits: int) -> Integer:
    """1 / (1 + a) for a in [0, 1]: Q0 to Q0."""
    return saturate(_two_over_one_plus(a, bits) << 1, bits)


@jit
def logistic(a: Integer, integer_bits: int, bits: int) -> Integer:
    """1 / (1 + exp(-a)): from Q ``integer_bits`` to Q0."""
    if a == 0:
        return 1 << (bits - 2)
    positive = one_over_one_plus(exp_on_negative(-abs(a), integer_bits, bits), bits)
    return positive if a > 0 else (1 << (bits - 1)) - 1 - positive


@jit
def tanh(a: Integer, integer_bits: int, bits: int) -> Integer:
    """tanh(a) = (1 - exp(-2a)) / (1 + exp(-2a)): from Q ``integer_bits`` (at most 6) to Q0."""
    if a == 0:
        return 0
    # Reading the same integer with one integer bit more doubles the number.
    x = _two_over_one_plus(exp_on_negative(-abs(a), integer_bits + 1, bits), bits)
    positive = saturate((x - (1 << (bits - 3))) << 2, bits)
    return positive if a > 0 else -positive
