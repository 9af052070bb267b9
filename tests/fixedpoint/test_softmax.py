"""The pieces of the fixed-point softmax against worked vectors and against real arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.fixedpoint.softmax import (
    exp_on_negative,
    input_scaling,
    leading_zeros,
    one_over_one_plus,
)


@pytest.mark.golden
def test_exp_worked() -> None:
    assert exp_on_negative(-(2**26)) == 790015308  # exp(-1) as LiteRT's kernel computes it
    assert exp_on_negative(0) == 2**31 - 1


@pytest.mark.golden
def test_input_scaling_worked() -> None:
    multiplier, shift, smallest = input_scaling(1.0, float(np.float32(0.1)))
    assert (multiplier, shift) == (1717986944, 23)
    assert smallest == -math.floor(31 * 2**26 / 2**23)


def test_input_scaling_ends() -> None:
    # A step of 2**5 and more saturates; no code below the maximum can contribute then.
    assert input_scaling(1.0, 64.0) == (2**31 - 1, 31, 0)
    assert input_scaling(1.0, 16.0) == (2**30, 31, 0)
    assert input_scaling(0.5, 2.0) == input_scaling(1.0, 1.0) == (2**30, 27, -15)


def test_exp_is_close_to_exp() -> None:
    rng = np.random.default_rng(0)
    codes = [*rng.integers(-(2**31), 0, 5000).tolist(), -1, -(2**31)]
    codes += [-(k << 24) for k in range(1, 128)]
    for code in codes:
        # The series around -1/8 ends after x**4 / 24; the next term is up to (1/8)**5 / 120 = 2.5e-7.
        assert abs(exp_on_negative(code) / 2**31 - math.exp(code / 2**26)) < 3e-7


def test_reciprocal_is_close() -> None:
    for code in [0, 2**31 - 1, *np.random.default_rng(1).integers(0, 2**31, 5000).tolist()]:
        assert abs(one_over_one_plus(code) / 2**31 - 1 / (1 + code / 2**31)) < 1e-8


@pytest.mark.golden
def test_leading_zeros() -> None:
    for value in (1, 2, 3, 2**12, 2**19, 2**30, 2**31 - 1, 2**31, 2**32 - 1):
        assert leading_zeros(value) == 32 - value.bit_length()
