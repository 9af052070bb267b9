"""More of float32 arithmetic in integers: quotients, and products that are rounded only after a sum."""

from __future__ import annotations

from simulator.fixedpoint.float32 import bit_length, nearest
from simulator.fixedpoint.width import Integer
from simulator.jit import jit

_DIGITS = 24
_SPARE = 28  # places below a product of 8 by 24 bits


@jit
def multiply_add(
    factor: Integer, m1: Integer, e1: Integer, m2: Integer, e2: Integer
) -> tuple[Integer, Integer]:
    """``factor * x1 + x2`` rounded once, as a fused multiply-add; |factor| < 2**8.

    ``m1`` has all its 24 bits in use, or is 0.
    """
    product = factor * m1  # < 2**32
    if product == 0:
        return m2, e2
    if m2 == 0:
        return nearest(product, e1)
    spare = _DIGITS - bit_length(abs(m2))
    if spare > 0:
        m2, e2 = m2 << spare, e2 - spare
    m, e = product, e1
    if e < e2:
        m, e, m2, e2 = m2, e2, m, e
    distance = e - e2
    up = min(distance, _SPARE)
    down = min(distance - up, 40)
    # |m << up| < 2**60. What is lost below the last bit sets that bit: far below where the sum is rounded.
    kept = m2 >> down
    if (kept << down) != m2:
        kept |= 1
    return nearest((m << up) + kept, e - up)


@jit
def divide(m1: Integer, e1: Integer, m2: Integer, e2: Integer) -> tuple[Integer, Integer]:
    """Quotient of two float32 numbers, the second not 0."""
    if m1 == 0:
        return m1, e1
    size, by = abs(m1), abs(m2)
    left = 61 - bit_length(size)
    # The quotient has at least 61 - 24 bits; what is left over sets its last bit.
    shifted = size << left
    quotient = shifted // by
    if quotient * by != shifted:
        quotient |= 1
    if (m1 < 0) != (m2 < 0):
        quotient = -quotient
    return nearest(quotient, e1 - left - e2)
