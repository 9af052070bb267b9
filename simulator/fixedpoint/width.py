"""Narrowing to a number of bits, by wrapping or by saturating."""

from __future__ import annotations

import numpy as np

from simulator.jit import jit

Integer = int | np.int64
"""A kernel's integer: an int64 when compiled, either of the two when interpreted."""

# Sums of products of 16-bit operands stay below 2**62 for every reduction shorter than 2**30, so an
# accumulator of this width or more cannot overflow and int64 holds the exact sum.
EXACT_BITS = 62


@jit
def lowest(bits: int) -> int:
    """Smallest value of a signed ``bits``-bit integer (at most 63 bits)."""
    return -(1 << (bits - 1))


@jit
def highest(bits: int) -> int:
    """Largest value of a signed ``bits``-bit integer (at most 63 bits)."""
    return (1 << (bits - 1)) - 1


@jit
def wrap(value: Integer, bits: int) -> Integer:
    """``value`` modulo 2**bits as a signed integer (two's complement); |value| < 2**62."""
    if bits >= EXACT_BITS:
        return value
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half


@jit
def saturate(value: Integer, bits: int) -> Integer:
    """``value`` clamped to a signed ``bits``-bit integer; |value| < 2**62."""
    if bits >= EXACT_BITS:
        return value
    return min(max(value, lowest(bits)), highest(bits))


@jit
def fits(value: Integer, bits: int) -> bool:
    """Whether ``value`` is a signed ``bits``-bit integer."""
    if bits >= EXACT_BITS:
        return True
    return bool(lowest(bits) <= value <= highest(bits))


@jit
def ceil_div(numerator: int, denominator: int) -> int:
    """Quotient rounded up, for numerator >= 0 and denominator > 0."""
    return (numerator + denominator - 1) // denominator
