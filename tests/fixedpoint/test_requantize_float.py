"""The floating-point requantizers against NumPy's float32 and float64, where rounding is decided."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from requantizing import (
    INT32_MAX,
    INT32_MIN,
    away,
    even,
    mantissas,
    numpy_float32_even,
    numpy_float64_away,
    python_float64_away,
    requantized,
    saturated,
)

from simulator.fixedpoint.requantize import (
    double_rounding,
    float32_even,
    float32_mantissa,
    float64_away,
    float64_mantissa,
    quantize_multiplier,
)
from simulator.fixedpoint.requantize_float import bit_length

MILLION = 1_000_000


def spread(rng: np.random.Generator, count: int, bits: int) -> np.ndarray:
    """Signed integers of every length up to ``bits``; a third lies within 2 of a power of two."""
    lengths = rng.integers(0, bits + 1, count)
    values = rng.integers(0, 2**62, count) >> (62 - lengths)
    near = np.maximum((np.int64(1) << lengths) + rng.integers(-2, 3, count), 0)
    values = np.where(rng.random(count) < 1 / 3, np.minimum(near, 2**bits - 1), values)
    return np.where(rng.random(count) < 0.5, values, -values)


def against_numpy32(accumulators: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The codes, after comparing every one."""
    got = requantized("float32_even", accumulators, *mantissas(scales, 24))
    expected = numpy_float32_even(accumulators, scales)
    wrong = np.flatnonzero(got != expected)
    assert wrong.size == 0, (accumulators[wrong[:3]], scales[wrong[:3]], got[wrong[:3]])
    return got


def against_numpy64(accumulators: np.ndarray, scales: np.ndarray) -> np.ndarray:
    got = requantized("float64_away", accumulators, *mantissas(scales, 53))
    expected = numpy_float64_away(accumulators, scales)
    wrong = np.flatnonzero(got != expected)
    assert wrong.size == 0, (accumulators[wrong[:3]], scales[wrong[:3]], got[wrong[:3]])
    return got


@pytest.mark.golden
def test_bit_length() -> None:
    for value in {0, *(2**k + d for k in range(63) for d in (-1, 0, 1))} - {2**63}:
        assert bit_length(value) == bit_length(np.int64(value)) == value.bit_length()


@pytest.mark.golden
def test_float32_even_worked() -> None:
    """By hand: a float32 holds 24 bits."""
    assert float32_mantissa(1.0) == (2**23, -23)
    unit = float32_mantissa(1.0)
    assert [float32_even(2**24 + d, *unit) - 2**24 for d in range(5)] == [0, 0, 2, 4, 4]
    assert float32_even(INT32_MAX, *unit) == INT32_MAX  # 2**31 as a float32, clamped
    assert float32_even(INT32_MIN, *unit) == INT32_MIN
    assert float32_even(INT32_MIN, *float32_mantissa(2.0**127)) == INT32_MIN
    assert float32_even(1, *float32_mantissa(2.0**127)) == INT32_MAX
    assert float32_even(0, *float32_mantissa(2.0**127)) == 0
    assert float32_even(INT32_MIN, *float32_mantissa(2.0**-149)) == 0  # a subnormal scale
    half = float32_mantissa(0.5)
    assert [float32_even(a, *half) for a in range(-5, 6)] == [-2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2]
    # (2**24 - 1) * (1 + 2**-23) = 2**24 + 1 - 2**-23, rounded to 24 bits: 2**24, times 2**-25: a tie.
    assert float32_even(2**24 - 1, 2**23 + 1, -23 - 25) == 0
    assert even(Fraction(2**24 - 1) * (2**23 + 1) / 2**48) == 1  # rounded once, it is above a half


def test_float32_even_random() -> None:
    """int32 accumulators of every length by scales of every exponent and of those that matter."""
    rng = np.random.default_rng(21)
    for exponents in (rng.integers(-126, 128, 2 * MILLION), rng.integers(-30, 3, 2 * MILLION)):
        scales = np.ldexp(1 + rng.integers(0, 2**23, exponents.size) / 2**23, exponents)
        against_numpy32(spread(rng, exponents.size, 31), scales.astype(np.float32))
    against_numpy32(
        rng.integers(INT32_MIN, 2**31, MILLION),
        np.exp2(rng.uniform(-32, 1, MILLION)).astype(np.float32),
    )


def test_float32_even_of_wide_sums() -> None:
    """int64 accumulators, rounded to float32 at once as the conversion from int64 does."""
    rng = np.random.default_rng(22)
    against_numpy32(
        spread(rng, MILLION, 62).clip(-(2**62) + 1, 2**62 - 1),
        np.exp2(rng.uniform(-64, 1, MILLION)).astype(np.float32),
    )


def test_float32_even_at_extreme_scales() -> None:
    """Every exponent with one-bit, all-ones and sparse mantissas, subnormal scales included."""
    accumulators = np.array(sorted({
        INT32_MIN, INT32_MAX, 0, *(s * (2**k + d) for k in range(31) for d in (-1, 0, 1) for s in (-1, 1)),
        *(s * (2**24 + 2**k + d) for k in range(7) for d in (-1, 0, 1) for s in (-1, 1)),
    }))  # fmt: skip
    few = [1, 1 + 2.0**-23, 2 - 2.0**-23, 1.5, 1 + 2.0**-12, 1 + 2.0**-11, 2 - 2.0**-12]
    exponents = range(-149, 128)
    scales = np.array([math.ldexp(m, e) for m in few for e in exponents]).astype(np.float32)
    assert np.all(scales > 0)
    against_numpy32(np.tile(accumulators, scales.size), np.repeat(scales, accumulators.size))


def ulps(rng: np.random.Generator, scales: np.ndarray, most: int) -> np.ndarray:
    """Each scale moved by up to ``most`` units in its last place; positive floats."""
    bits = scales.view(np.int32 if scales.dtype == np.float32 else np.int64)
    moved = bits + rng.integers(-most, most + 1, bits.size).astype(bits.dtype)
    return moved.view(scales.dtype)


def near_half(rng: np.random.Generator, count: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Accumulators of up to ``bits``, positive, and doubles that bring each to nearly a code and a half."""
    accumulators = (
        rng.integers(2**61, 2**62, count) >> (62 - rng.integers(2, bits + 1, count))
    ) + 1
    codes = rng.integers(0, 2**62, count) >> (62 - rng.integers(0, 17, count))
    return accumulators, (codes + 0.5) / accumulators


def test_float32_even_near_half_way_points() -> None:
    """One unit in the scale's last place flips codes, and no simpler arithmetic passes."""
    rng = np.random.default_rng(23)
    accumulators, exact = near_half(rng, MILLION, 30)
    accumulators *= rng.choice([-1, 1], MILLION)
    scales = ulps(rng, exact.astype(np.float32), 2)
    got = against_numpy32(accumulators, scales)
    products = accumulators * scales.astype(
        np.float64
    )  # 54 bits: all but the last of the exact product
    assert np.count_nonzero(got != np.rint(products)) > 10_000
    assert np.count_nonzero(got != against_numpy32(accumulators, ulps(rng, scales, 1))) > 10_000
    ties_away = np.sign(products) * np.floor(
        np.abs(accumulators.astype(np.float32) * scales).astype(np.float64) + 0.5
    )
    assert np.count_nonzero(got != ties_away) > 10_000


def test_float32_even_of_accumulators_that_are_ties_themselves() -> None:
    """25 to 31 bits, an odd multiple of half a unit of the 24 bits kept, and one beside it."""
    rng = np.random.default_rng(24)
    cut = rng.integers(1, 8, MILLION)
    kept = rng.integers(2**23, 2**24, MILLION)
    accumulators = (kept << cut) + (np.int64(1) << (cut - 1)) + rng.integers(-1, 2, MILLION)
    halves = (rng.integers(0, 128, MILLION) + 0.5) / accumulators
    scales = ulps(rng, halves.astype(np.float32), 1)
    got = against_numpy32(accumulators, scales)
    untouched = np.rint((accumulators * scales.astype(np.float64)).astype(np.float32))
    assert np.count_nonzero(got != untouched) > 1_000  # without rounding the accumulator first


def extreme_scales() -> np.ndarray:
    """All-ones, one-bit and sparse 53-bit mantissas over all exponents, subnormals included."""
    few = [1.0, 1 + 2.0**-52, 2 - 2.0**-52, 1.5, 1 + 2.0**-26, 1 + 2.0**-27, 2 - 2.0**-26]
    few += (1 + np.random.default_rng(5).random(20)).tolist()
    exponents = [*range(-66, 12), -1022, -1074, 40, 1000]
    return np.array([math.ldexp(m, e) for m in few for e in exponents] + [5e-324, 2.5e-310, 0.0])


def test_float64_away_at_extremes() -> None:
    rng = np.random.default_rng(5)
    scales = extreme_scales()
    powers = [s * (2**k + d) for k in range(62) for d in (-1, 0, 1) for s in (-1, 1)]
    halves = [
        s * ((2**k + 1) * 2 ** (61 - k) + d)
        for k in range(50, 56)
        for d in (-1, 0, 1)
        for s in (-1, 1)
    ]
    spread_out = rng.integers(INT32_MIN, 2**31, 60).tolist()
    accumulators = np.array(sorted({INT32_MIN, INT32_MAX, *powers, *halves, *spread_out}))
    assert np.abs(accumulators).max() < 2**62
    against_numpy64(np.tile(accumulators, scales.size), np.repeat(scales, accumulators.size))
    # NumPy's and Python's double products are the same.
    for real in scales[::40].tolist():
        for a in accumulators.tolist():
            assert float64_away(a, *float64_mantissa(real)) == python_float64_away(a, real), (
                a,
                real,
            )


@pytest.mark.golden
def test_float64_away_worked() -> None:
    """By hand: a double holds 53 bits; |acc| < 2**62."""
    down = float64_mantissa(2.0**-40)
    assert float64_away(2**61 + 2**39, *down) == 2**21 + 1  # 51 bits apart: exact, a tie away
    assert float64_away(2**61 + 2**39 - 1, *down) == 2**21 + 1  # rounds to the tie
    assert float64_away(2**61 + 2**39 - 2**9, *down) == 2**21
    assert float64_away(-(2**61) - 2**39 + 1, *down) == -(2**21) - 1
    unit = float64_mantissa(1.0)
    assert [float64_away(a, *unit) for a in (2**62 - 1, -(2**62) + 1)] == [INT32_MAX, INT32_MIN]
    assert [float64_away(a, *unit) for a in (INT32_MAX, INT32_MIN)] == [INT32_MAX, INT32_MIN]
    assert float64_away(1, *float64_mantissa(1e308)) == INT32_MAX
    assert float64_away(-1, *float64_mantissa(0.5)) == -1
    assert float64_away(-1, *float64_mantissa(math.nextafter(0.5, 0))) == 0


@pytest.mark.parametrize("bits", [31, 48, 61])
def test_float64_away_near_half_way_points(bits: int) -> None:
    rng = np.random.default_rng(bits)
    accumulators, scales = near_half(rng, MILLION, bits)
    accumulators *= rng.choice([-1, 1], MILLION)
    scales = ulps(rng, scales, 2)
    got = against_numpy64(accumulators, scales)
    assert np.count_nonzero(got != against_numpy64(accumulators, ulps(rng, scales, 1))) > 100_000
    against_numpy64(spread(rng, MILLION, bits), np.exp2(rng.uniform(-bits - 2, 1, MILLION)))


@pytest.mark.parametrize("bits", [31, 61])
def test_no_simpler_arithmetic_is_float64_away(bits: int) -> None:
    """Rounding the exact product only once, and double rounding, are wrong near half-way points."""
    rng = np.random.default_rng(6)
    accumulators, scales = near_half(rng, 20_000, bits)
    cases = list(zip(accumulators.tolist(), ulps(rng, scales, 1).tolist(), strict=True))

    def wrong(arithmetic: Callable[[int, float], int]) -> int:
        return sum(arithmetic(a, real) != python_float64_away(a, real) for a, real in cases)

    assert wrong(lambda a, real: int(float64_away(a, *float64_mantissa(real)))) == 0
    assert wrong(lambda a, real: saturated(away(Fraction(a) * Fraction(real)))) > 100
    if bits == 31:
        assert wrong(lambda a, real: int(double_rounding(a, *quantize_multiplier(real)))) > 100
