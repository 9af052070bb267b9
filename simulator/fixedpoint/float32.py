"""float32 arithmetic in integers: what kernels need that must equal a runtime's floating point.

A number is a pair (mantissa, exponent) that stands for ``mantissa * 2**exponent``; a float32 has
``|mantissa| <= 2**24`` and ``exponent >= -149``. Every function rounds its exact result once, to nearest,
ties to even, as IEEE 754 does. Infinities and NaNs do not occur: callers keep values below 2**127.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.width import Integer
from simulator.jit import jit

_DIGITS = 24  # significant bits of a float32
_SMALLEST = -149  # exponent of the smallest number above 0


def pair_of(value: np.float32 | float) -> tuple[int, int]:
    """The pair of a float32."""
    mantissa, exponent = pair_of_bits(int(np.float32(value).view(np.uint32)))
    return int(mantissa), int(exponent)


def bits_of(values: np.ndarray) -> np.ndarray:
    """float32 values as int32 words, the form in which tables hold them."""
    return np.ascontiguousarray(values, np.float32).view(np.int32)


def float_of_bits(word: int) -> float:
    """The float32 of a 32-bit word."""
    return float(np.array([word], np.int64).astype(np.int32).view(np.float32)[0])


@jit
def pair_of_bits(word: Integer) -> tuple[Integer, Integer]:
    """The pair of a float32 given as its 32-bit word."""
    biased = (word >> 23) & 255
    mantissa = word & ((1 << 23) - 1)
    if biased > 0:
        mantissa += 1 << 23
    else:
        biased = 1
    return (-mantissa if (word >> 31) & 1 else mantissa), biased - 150


@jit
def bit_length(value: Integer) -> Integer:
    length = 0
    while value > 0:
        value >>= 1
        length += 1
    return length


@jit
def nearest(mantissa: Integer, exponent: Integer) -> tuple[Integer, Integer]:
    """The float32 nearest to mantissa * 2**exponent; |mantissa| < 2**62."""
    size = abs(mantissa)
    drop = max(bit_length(size) - _DIGITS, _SMALLEST - exponent)
    if drop <= 0:
        return mantissa, exponent
    if drop > 62:
        return mantissa * 0, exponent * 0
    kept = size >> drop
    rest = size - (kept << drop)
    half = 1 << (drop - 1)
    if rest > half or (rest == half and kept & 1 == 1):
        kept += 1
    return (-kept if mantissa < 0 else kept), exponent + drop


@jit
def multiply(m1: Integer, e1: Integer, m2: Integer, e2: Integer) -> tuple[Integer, Integer]:
    """Product of two float32 numbers."""
    return nearest(m1 * m2, e1 + e2)  # |m1 * m2| <= 2**48


@jit
def add(m1: Integer, e1: Integer, m2: Integer, e2: Integer) -> tuple[Integer, Integer]:
    """Sum of two float32 numbers."""
    if m1 == 0:
        return m2, e2
    if m2 == 0:
        return m1, e1
    if e1 < e2:
        m1, e1, m2, e2 = m2, e2, m1, e1
    distance = e1 - e2
    up = min(distance, 36)
    down = min(distance - up, 40)
    # |m1 << up| <= 2**60. What the other loses below its last bit sets that bit: it lies far below the
    # place where the sum is rounded, so it only tells a tie from what is beside one.
    kept = m2 >> down
    if (kept << down) != m2:
        kept |= 1
    return nearest((m1 << up) + kept, e1 - up)


@jit
def reciprocal(mantissa: Integer, exponent: Integer) -> tuple[Integer, Integer]:
    """1 / x of a float32 x above 0."""
    spare = _DIGITS - bit_length(mantissa)
    if spare > 0:
        mantissa, exponent = mantissa << spare, exponent - spare
    quotient = (1 << 50) // mantissa  # 26 or 27 bits
    if quotient * mantissa != 1 << 50:
        quotient = 2 * quotient + 1  # a remainder: not a tie
    else:
        quotient *= 2
    return nearest(quotient, -51 - exponent)


@jit
def round_away(mantissa: Integer, exponent: Integer) -> Integer:
    """The nearest integer, ties away from 0; saturates at 2**40."""
    size = abs(mantissa)
    if exponent >= 0:
        size = size << exponent if exponent <= 16 else min(size, 1) << 40
    else:
        down = min(-exponent, 40)
        size = (size + (1 << (down - 1))) >> down
    return -size if mantissa < 0 else size


@jit
def round_even(mantissa: Integer, exponent: Integer) -> Integer:
    """The nearest integer, ties to even; saturates at 2**40."""
    if exponent >= 0:
        return round_away(mantissa, exponent)
    down = min(-exponent, 40)
    kept = mantissa >> down
    rest = mantissa - (kept << down)
    half = 1 << (down - 1)
    if rest > half or (rest == half and kept & 1 == 1):
        kept += 1
    return kept


@jit
def truncate(mantissa: Integer, exponent: Integer) -> Integer:
    """The integer part; saturates at 2**40."""
    if exponent >= 0:
        return round_away(mantissa, exponent)
    size = abs(mantissa) >> min(-exponent, 40)
    return -size if mantissa < 0 else size
