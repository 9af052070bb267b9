"""Narrowing against plain Python integers."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.fixedpoint.width import ceil_div, fits, highest, lowest, saturate, wrap

WIDE = [1, 2, 3, 7, 8, 15, 16, 24, 31, 32, 33, 48, 60, 61]


def values_around(bits: int) -> list[int]:
    """Values at every edge of ``bits``, and random ones."""
    edges = [k * 2 ** (bits - 1) + d for k in range(-5, 6) for d in (-2, -1, 0, 1, 2)]
    spread = np.random.default_rng(bits).integers(-(2**61), 2**61, 2000).tolist()
    return [v for v in [*edges, *spread] if abs(v) < 2**62]


@pytest.mark.parametrize("bits", WIDE)
def test_narrowing(bits: int) -> None:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    assert (lowest(bits), highest(bits)) == (low, high)
    for value in values_around(bits):
        narrow = wrap(value, bits)
        assert low <= narrow <= high
        assert (narrow - value) % 2**bits == 0
        assert saturate(value, bits) == sorted((low, value, high))[1]
        assert fits(value, bits) == (low <= value <= high)


@pytest.mark.parametrize("bits", [62, 63, 64])
def test_widths_beyond_every_sum_change_nothing(bits: int) -> None:
    for value in values_around(61):
        assert wrap(value, bits) == saturate(value, bits) == value
        assert fits(value, bits)


@pytest.mark.golden
def test_narrowing_worked() -> None:
    assert [wrap(v, 8) for v in (127, 128, 255, 256, -129, 383)] == [127, -128, -1, 0, 127, 127]
    assert [saturate(v, 8) for v in (127, 128, -128, -129)] == [127, 127, -128, -128]
    assert [fits(v, 8) for v in (127, 128, -128, -129)] == [True, False, True, False]


def test_ceil_div() -> None:
    for numerator in range(100):
        for denominator in range(1, 20):
            assert ceil_div(numerator, denominator) == -(-numerator // denominator)
