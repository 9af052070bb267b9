"""What a requantizer is made of, so that its energy and area can be priced.

Every function takes the accumulator's width in bits. Not counted, since all kinds share them: adding the
zero point, clamping, and reading scales.

A rounding is one adder of the width of what is kept: half a unit added to a number about to be cut is a
carry into the lowest bit kept, decided by the highest bit cut off (and, for ties away or to even, by
whether any lower bit is set).
"""

from __future__ import annotations

from dataclasses import dataclass

_RESULT = 32  # bits kept by the last rounding; the clamp to codes comes after
_INT32 = 32


@dataclass(frozen=True)
class Hardware:
    """Parts that each result passes through once; widths in bits.

    ``multiplier_bits`` is (accumulator side, scale side), None without a multiplier. ``shifter_bits``
    are shifts by an amount that comes with the scale; ``normalizer_bits`` are shifts by a leading-zero
    count, which they include.
    """

    multiplier_bits: tuple[int, int] | None
    adder_bits: tuple[int, ...]
    shifter_bits: tuple[int, ...]
    normalizer_bits: tuple[int, ...] = ()


def double_rounding_hardware(accumulator_bits: int) -> Hardware:
    """32x32 multiplier between a left and a right shifter, a 32-bit rounding behind each product and shift.

    The left shift fills 32 bits however narrow the accumulator is. Where ties go costs no adder.
    """
    del accumulator_bits
    return Hardware((_INT32, 32), (_RESULT, _RESULT), (_INT32, _RESULT))


def single_rounding_hardware(accumulator_bits: int) -> Hardware:
    """Multiplier of the accumulator by 32 bits, one shifter as wide as the product, one rounding.

    Rounding up, to even and towards zero differ in the carry alone (towards zero: into negative results).
    """
    kept = min(accumulator_bits, _INT32)
    return Hardware((kept, 32), (_RESULT,), (kept + 32,))


def reduced_multiplier_hardware(accumulator_bits: int) -> Hardware:
    """As single rounding with a 16-bit multiplier: that is what the 48-bit accumulator buys back."""
    kept = min(accumulator_bits, 48)
    return Hardware((kept, 16), (_RESULT,), (kept + 16,))


def power_of_two_hardware(accumulator_bits: int) -> Hardware:
    """One shifter and one rounding, as wide as the accumulator."""
    return Hardware(None, (accumulator_bits,), (accumulator_bits,))


def _floating(accumulator_bits: int, significand_bits: int, exponent_bits: int) -> Hardware:
    entering = min(accumulator_bits, significand_bits)
    adders = [accumulator_bits]  # magnitude
    if accumulator_bits > significand_bits:
        adders.append(significand_bits)  # rounding the accumulator to a significand
    # Rounding the product, summing exponents, and the last rounding, which negates as well.
    adders += [significand_bits, exponent_bits, _RESULT]
    shifter = max(significand_bits, _RESULT)
    return Hardware((entering, significand_bits), tuple(adders), (shifter,), (accumulator_bits,))


def float32_even_hardware(accumulator_bits: int) -> Hardware:
    """24x24 multiplier behind a normalizer of the accumulator; the product then needs at most one shift."""
    return _floating(accumulator_bits, 24, 8)


def float64_away_hardware(accumulator_bits: int) -> Hardware:
    """Multiplier of 53 bits by the accumulator's, at most 53, behind a normalizer: most of a double's."""
    return _floating(accumulator_bits, 53, 11)


def no_hardware(accumulator_bits: int) -> Hardware:
    """Nothing: the accumulator is the result."""
    del accumulator_bits
    return Hardware(None, (), ())
