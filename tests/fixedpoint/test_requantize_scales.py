"""From real scales to multipliers and shifts: definitions, ends, orders of multiplication, refusals."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from requantizing import power, to_significand, up

from simulator.errors import ModelError
from simulator.fixedpoint.requantize_scales import (
    dyadic_multiplier,
    float32_mantissa,
    float32_product_scale,
    float32_scale,
    float64_mantissa,
    nearest_power_of_two,
    ofm_multiplier,
    power_of_two_shift,
    quantize_multiplier,
    reduced_multiplier_of,
)

ALL: list[Callable[[float], tuple[int, int]]] = [
    quantize_multiplier, reduced_multiplier_of, dyadic_multiplier, ofm_multiplier, float32_mantissa,
    float64_mantissa, power_of_two_shift,
]  # fmt: skip


@pytest.mark.golden
@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.5, (2**30, 0)), (0.25, (2**30, -1)), (1.0, (2**30, 1)), (1 / 3, (1431655765, -1)),
        (0.0003, (1319413953, -11)), (1 - 2**-40, (2**30, 1)), (1.7, (1825361101, 1)), (0.0, (0, 0)),
        (float(np.float32(0.1)) * 2**26, (1717986944, 23)),
    ],
)  # fmt: skip
def test_quantize_multiplier_worked(real: float, expected: tuple[int, int]) -> None:
    """V1 of the semantics notes and V6's softmax scale, as LiteRT computes them."""
    assert quantize_multiplier(real) == expected
    # In the same range all 31-bit multipliers are the same.
    assert dyadic_multiplier(real) == ofm_multiplier(real) == expected


def scales_around(rng: np.random.Generator) -> list[float]:
    scales = np.exp2(rng.uniform(-31.5, 29.9, 20000)).tolist()
    # Mantissas half-way between two multipliers: the tie goes away from zero.
    return scales + [(2**30 + int(j) + 0.5) * 2.0**-31 for j in rng.integers(0, 2**30, 5000)]


def test_quantize_multiplier_is_the_nearest_31_bit_mantissa() -> None:
    for real in scales_around(np.random.default_rng(1)):
        multiplier, shift = quantize_multiplier(real)
        exact = Fraction(real) * power(31 - shift)
        assert 2**30 <= multiplier < 2**31
        assert multiplier == up(exact) or (multiplier == 2**30 and up(2 * exact) == 2**31)


def test_quantize_multiplier_at_its_ends() -> None:
    assert quantize_multiplier(2.0**-32) == (2**30, -31)
    assert quantize_multiplier(np.nextafter(2.0**-32, 0)) == (2**30, -31)  # rounds up to it
    assert quantize_multiplier(2.0**-32 * (1 - 2.0**-30)) == (0, 0)
    assert quantize_multiplier(2.0**30 - 1) == (2**31 - 2, 30)


def test_dyadic_multiplier_is_hawq_s() -> None:
    """Decimal arithmetic as in HAWQ: the fraction times 2**31, half up."""
    for real in [*scales_around(np.random.default_rng(2)), 2.0**-40, 3e-12, 0.9999999999]:
        fraction, exponent = math.frexp(real)
        scaled = decimal.Decimal(fraction * 2**31)
        m = int(scaled.quantize(decimal.Decimal(1), rounding=decimal.ROUND_HALF_UP))
        multiplier, shift = dyadic_multiplier(real)
        assert multiplier < 2**31
        assert multiplier * power(shift - 31) == m * power(exponent - 31)
    assert dyadic_multiplier(2.0**-100) == (2**30, -99)  # never flushed


@pytest.mark.golden
def test_ofm_multiplier_ends() -> None:
    """Six bits of right shift, 0 to 63: beyond them Vela's scale is 0."""
    assert ofm_multiplier(2.0**-33) == (2**30, -32)  # right shift 63
    assert ofm_multiplier(2.0**-34) == (0, 0)
    assert ofm_multiplier(2.0**30) == (2**30, 31)  # right shift 0
    assert ofm_multiplier(0.0) == (0, 0)


@pytest.mark.golden
def test_reduced_multiplier_ends() -> None:
    """16 bits fewer, rounded half up; 0x7FFF8000 and more would round to 2**15."""
    assert reduced_multiplier_of(0.5) == (2**14, 0)
    assert reduced_multiplier_of(0x7FFEFFFF / 2**31) == (32767, 0)
    for multiplier in (0x7FFF0000, 0x7FFF7FFF, 0x7FFF8000, 0x7FFFFFFE, 0x7FFFFFFF):
        assert reduced_multiplier_of(multiplier / 2**31) == (32767, 0)
    assert reduced_multiplier_of((2**30 + 2**15) / 2**31) == (2**14 + 1, 0)
    assert reduced_multiplier_of((2**30 + 2**15 - 1) / 2**31) == (2**14, 0)
    assert reduced_multiplier_of(127.0)[1] == 7
    assert reduced_multiplier_of(2.0**-33) == (0, 0)


def test_float32_mantissa_is_the_nearest_float32() -> None:
    rng = np.random.default_rng(3)
    scales = np.exp2(rng.uniform(-126, 127.9, 20000)).tolist()
    scales += [
        math.ldexp(2**24 + 2 * int(j) + 1, -40) for j in rng.integers(0, 2**23, 2000)
    ]  # ties
    for real in scales:
        mantissa, exponent = float32_mantissa(real)
        assert 2**23 <= mantissa < 2**24
        assert mantissa * power(exponent) == to_significand(Fraction(real), 24)
    assert float32_mantissa(2.0**-149) == (2**23, -172)
    assert float32_mantissa(2.0**-151) == (0, -24)


def test_float64_mantissa_is_exact() -> None:
    for real in [5e-324, 2.5e-310, 1.7e308, *np.exp2(np.linspace(-1000, 1000, 999)).tolist()]:
        mantissa, exponent = float64_mantissa(real)
        assert 2**52 <= mantissa < 2**53
        assert mantissa * power(exponent) == Fraction(real)


@pytest.mark.golden
def test_powers_of_two() -> None:
    assert [power_of_two_shift(2.0**k) for k in (-1074, -5, 0, 30)] == [
        (1, -1074), (1, -5), (1, 0), (1, 30),
    ]  # fmt: skip
    worked = {1.0: 1.0, 1.41: 1.0, 1.42: 2.0, 3.0: 4.0, 0.3: 0.25, 0.36: 0.5, 0.35: 0.25}
    assert {real: nearest_power_of_two(real) for real in worked} == worked
    root = math.sqrt(2)  # rounded up: its square is above 2
    assert Fraction(root) ** 2 > 2
    assert nearest_power_of_two(root) == 2.0
    assert nearest_power_of_two(math.nextafter(root, 0)) == 1.0
    assert nearest_power_of_two(5e-324) == 5e-324


def test_nearest_power_of_two_by_ratio() -> None:
    for real in np.exp2(np.random.default_rng(4).uniform(-1000, 1000, 5000)).tolist():
        ratio = Fraction(real) / Fraction(nearest_power_of_two(real))
        assert Fraction(1, 2) < ratio**2 < 2


def test_orders_of_multiplication() -> None:
    """Each order against its definition in exact arithmetic; the others are often wrong."""
    rng = np.random.default_rng(5)
    wrong = np.zeros(3, int)
    for _ in range(5000):
        s_in, s_weight, s_out = (float(np.float32(s)) for s in np.exp2(rng.uniform(-12, 0, 3)))
        product = to_significand(Fraction(s_in) * Fraction(s_weight), 24)
        both = to_significand(product / Fraction(s_out), 24)
        first = to_significand(product / Fraction(s_out), 53)
        once = to_significand(Fraction(s_in) * Fraction(s_weight) / Fraction(s_out), 24)
        assert float32_scale(s_in, s_weight, s_out) == both
        assert float32_product_scale(s_in, s_weight, s_out) == first
        wrong += (both != once, both != first, first != s_in * s_weight / s_out)
    assert np.all(wrong > 500)


def test_hawq_takes_scales_in_double() -> None:
    """s_x and s_w as doubles, s_z as a float32: what HAWQ's tensors hold."""
    s_x, s_w, s_z = 0.1, 0.3, 0.7
    expected = float(np.float32(s_x * s_w)) / float(np.float32(s_z))
    assert float32_product_scale(s_x, s_w, s_z) == expected
    assert expected != float(np.float32(s_x) * np.float32(s_w)) / float(np.float32(s_z))


@pytest.mark.parametrize("convert", ALL)
@pytest.mark.parametrize("bad", [-1.0, -5e-324, math.inf, math.nan])
def test_no_scale_at_all(convert: Callable[[float], tuple[int, int]], bad: float) -> None:
    with pytest.raises(ModelError, match=r"requantization: multiplier .*finite and not negative"):
        convert(bad)


@pytest.mark.parametrize(
    ("convert", "bad", "allowed"),
    [
        (quantize_multiplier, 2.0**30, "below 2**30"),
        (dyadic_multiplier, 2.0**30, "below 2**30"),
        (reduced_multiplier_of, 128.0, "below 2**7"),
        (ofm_multiplier, 2.0**31, "below 2**31"),
        (float32_mantissa, 2.0**128, "within float32"),
        (float32_mantissa, 2.0**128 - 2.0**103, "within float32"),  # rounds up to it
        (power_of_two_shift, 0.3, "a power of two, at most 2**30"),
        (power_of_two_shift, 2.0**31, "a power of two, at most 2**30"),
        (power_of_two_shift, 0.0, "a power of two, at most 2**30"),
        (nearest_power_of_two, 0.0, "positive"),
        (nearest_power_of_two, 1.7e308, "below sqrt(2) * 2**1023"),
        (nearest_power_of_two, math.nan, "finite"),
    ],
)
def test_scales_out_of_range(convert: Callable[[float], object], bad: float, allowed: str) -> None:
    with pytest.raises(ModelError) as caught:
        convert(bad)
    assert f"multiplier {bad}" in str(caught.value)
    assert allowed in caught.value.allowed


@pytest.mark.parametrize("order", [float32_scale, float32_product_scale])
@pytest.mark.parametrize("scales", [(1e30, 1e30, 1.0), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0)])
def test_scales_without_a_quotient_are_named_by_the_converter(
    order: Callable[[float, float, float], float], scales: tuple[float, float, float]
) -> None:
    with pytest.raises(ModelError, match="finite"):
        quantize_multiplier(order(*scales))
