"""Requantizers with an integer multiplier: their steps, ties and ends."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from requantizing import (
    INT32_MIN,
    away,
    even,
    of_double_rounding,
    of_dyadic_even,
    requantized,
    up,
    wrapped,
)

from simulator.fixedpoint.requantize import (
    double_rounding,
    double_rounding_up,
    doubling_high_mul,
    dyadic_even,
    natural,
    power_of_two,
    reduced_multiplier,
    rounding_divide_by_pot,
    single_rounding,
    truncate,
)
from simulator.fixedpoint.requantize_integer import shift_right_even, shift_right_up


def test_doubling_high_mul_is_gemmlowp_s() -> None:
    """gemmlowp truncates (ab + nudge) / 2**31 towards zero, the nudge depending on the sign."""
    rng = np.random.default_rng(2)
    pairs = rng.integers(INT32_MIN + 1, 2**31, (30000, 2)).tolist()
    pairs += [
        [int(a) * 2**15, int(b) * 2**15 + 2**14] for a, b in rng.integers(-9999, 9999, (9999, 2))
    ]
    for a, b in pairs:
        nudged = a * b + (2**30 if a * b >= 0 else 1 - 2**30)
        truncated = abs(nudged) // 2**31 * (1 if nudged >= 0 else -1)
        assert doubling_high_mul(a, b) == truncated, (a, b)


def test_rounding_shifts() -> None:
    for exponent in range(12):
        for value in range(-(2**12), 2**12):
            exact = Fraction(value, 2**exponent)
            assert rounding_divide_by_pot(value, exponent) == away(exact)
            assert shift_right_up(value, exponent) == up(exact)
            assert shift_right_even(value, exponent) == even(exact)


@pytest.mark.golden
def test_rounding_shifts_at_the_ends_of_int64() -> None:
    for value in (2**62, 2**62 - 1, -(2**62), -(2**62) + 1, 2**61, -(2**61), 3 * 2**60):
        for exponent in (0, 1, 30, 60, 61, 62):
            exact = Fraction(value, 2**exponent)
            assert shift_right_up(np.int64(value), exponent) == up(exact)
            assert shift_right_even(np.int64(value), exponent) == even(exact)
            if abs(value) < 2**62:
                assert rounding_divide_by_pot(np.int64(value), exponent) == away(exact)


@pytest.mark.golden
def test_ends_worked() -> None:
    """The longest shifts and largest products of each kind, by hand."""
    assert natural(INT32_MIN, 2**31 - 1, -32) == 0  # just above -1/2
    assert truncate(INT32_MIN, 2**31 - 1, 31) == -(2**31) * (2**31 - 1)  # a shift of 0
    assert natural(INT32_MIN, 2**31 - 1, 31) == -(2**31) * (2**31 - 1)
    assert truncate(INT32_MIN, 2**31 - 1, -30) == -1  # -2 + 2**-30
    assert single_rounding(INT32_MIN, 2**30, -31) == 0  # -1/4
    assert single_rounding(INT32_MIN, 2**31 - 1, -31) == -1  # -1 + 2**-31
    assert dyadic_even(INT32_MIN, 2**31 - 1, -31) == -1
    assert dyadic_even(INT32_MIN, 2**30, -32) == dyadic_even(INT32_MIN, 2**31 - 1, -32) == 0
    assert dyadic_even(INT32_MIN, 2**31 - 1, -1000) == 0
    assert reduced_multiplier(-(2**47), 32767, -31) == -(2**47) * 32767 // 2**46  # -65534, exact
    assert reduced_multiplier(2**47 - 1, 32767, 7) == (2**47 - 1) * 32767 // 2**8
    assert power_of_two(-1, 1, -1) == 0  # -1/2 goes up
    assert power_of_two(1, 1, -1) == 1
    assert power_of_two(3, 1, 30) == 3 * 2**30
    assert power_of_two(2**62 - 1, 1, -62) == 1
    assert power_of_two(2**62 - 1, 1, -63) == power_of_two(-(2**62) + 1, 1, -1074) == 0
    assert power_of_two(-(2**61), 1, 30) < INT32_MIN  # clamped, not wrapped


@pytest.mark.golden
def test_int32_requantizers_take_the_low_half_of_wider_sums() -> None:
    wide = 2**32 + 1000001
    for function in (double_rounding, double_rounding_up, single_rounding, dyadic_even, natural):
        assert function(wide, 2**30, -1) == function(1000001, 2**30, -1)
    assert truncate(2**31, 2**30, -1) == -(2**29)  # 2**31 is -2**31 in 32 bits
    assert reduced_multiplier(2**47, 2**14, -1) == -(2**45)


def test_double_rounding_ties() -> None:
    """Both roundings meet ties: accumulator * multiplier is an odd multiple of 2**30, of 2**(30 - e)."""
    rng = np.random.default_rng(4)
    for _ in range(100_000):
        spare = int(rng.integers(0, 30))
        shift = -int(rng.integers(0, spare + 1))
        multiplier = (2 ** (30 - spare) + int(rng.integers(0, 2 ** (30 - spare)))) << spare
        odd = 2 * int(rng.integers(-(2**16), 2**16)) + 1
        accumulator = wrapped(odd << max(30 - spare - int(rng.integers(2)) * shift, 0))
        got = double_rounding(accumulator, multiplier, shift)
        assert got == of_double_rounding(accumulator, multiplier, shift), (accumulator, multiplier)


def test_rounding_up_twice_differs_at_negative_second_ties_alone() -> None:
    rng = np.random.default_rng(10)
    count = 1_000_000
    accumulators = rng.integers(-(2**20), 2**20, count)
    multipliers = rng.integers(2**30, 2**31, count)
    multipliers[::2] = 2**30 + (multipliers[::2] & 0b1111 << 26)  # short ones make ties frequent
    shifts = rng.integers(-12, 3, count)
    away_codes = requantized("double_rounding", accumulators, multipliers, shifts)
    up_codes = requantized("double_rounding_up", accumulators, multipliers, shifts)
    high = (accumulators << np.maximum(shifts, 0)) * multipliers + 2**30 >> 31
    right = np.maximum(-shifts, 0)
    tie = (right > 0) & (high & (1 << right) - 1 == 1 << np.maximum(right - 1, 0))
    assert np.array_equal(up_codes - away_codes, (tie & (high < 0)).astype(np.int64))
    assert np.count_nonzero(up_codes != away_codes) > 10_000


def hawq(accumulators: np.ndarray, multipliers: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """HAWQ-V3's own arithmetic: a double product, divided by a power of two, rounded half to even."""
    return np.rint(accumulators.astype(np.float64) * multipliers / np.exp2(31.0 - shifts))


def test_dyadic_is_hawq_while_the_product_fits_a_double() -> None:
    rng = np.random.default_rng(11)
    count = 1_000_000
    multipliers = rng.integers(2**30, 2**31, count)
    multipliers[::2] &= -(2**26)  # ties
    shifts = rng.integers(-20, 5, count)
    small = rng.integers(-(2**22) + 1, 2**22, count)
    got = requantized("dyadic_even", small, multipliers, shifts)
    assert np.array_equal(got, hawq(small, multipliers, shifts))
    ties_up = requantized("single_rounding", small, multipliers, shifts)
    assert np.count_nonzero(got != ties_up) > 10_000


def test_dyadic_rounds_the_exact_product_where_hawq_s_double_does_not() -> None:
    """Products of 62 bits one above a tie: 53 bits see the tie, and send half of them to the even side."""
    odd = range(2**30 + 1, 2**30 + 4001, 2)
    solved = [(a, (2**30 + 1) * pow(a, -1, 2**31) % 2**31) for a in odd]
    normal = [(a, m) for a, m in solved if m >= 2**30]
    assert all(a * m % 2**31 == 2**30 + 1 for a, m in normal)
    accumulators, multipliers = np.array(normal).T
    shifts = np.zeros(accumulators.size, np.int64)
    got = requantized("dyadic_even", accumulators, multipliers, shifts)
    assert got.tolist() == [of_dyadic_even(a, m, 0) for a, m in normal]
    wrong = np.count_nonzero(got != hawq(accumulators, multipliers, shifts))
    assert 300 < wrong < 700
