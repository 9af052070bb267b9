"""float32 arithmetic in integers equals the processor's, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from simulator.fixedpoint import float32
from simulator.jit import jit

F32 = np.float32
COUNT = 200_000


def numbers(rng: np.random.Generator, count: int) -> np.ndarray:
    """float32 values: any word, close sizes, small integers, subnormals."""
    kind = rng.integers(4, size=count)
    words = rng.integers(0, 1 << 32, count, np.uint64).astype(np.uint32)
    exponents = np.where(kind == 0, rng.integers(30, 200, count), rng.integers(110, 140, count))
    exponents = np.where(kind == 3, rng.integers(0, 3, count), exponents).astype(np.uint32)
    found = (words & 0x807FFFFF | exponents << 23).astype(np.uint32).view(F32)
    return np.where(kind == 2, rng.integers(-1000, 1000, count), found).astype(F32)


@jit
def _over(kind, a, b, out):
    for i in range(a.size):
        m1, e1 = float32.pair_of_bits(np.int64(a[i]))
        m2, e2 = float32.pair_of_bits(np.int64(b[i]))
        if kind == 0:
            m, e = float32.add(m1, e1, m2, e2)
        elif kind == 1:
            m, e = float32.multiply(m1, e1, m2, e2)
        elif kind == 2:
            m, e = float32.reciprocal(abs(m1), e1)
        elif kind == 3:
            m, e = float32.round_away(m1, e1), np.int64(0)
        elif kind == 4:
            m, e = float32.round_even(m1, e1), np.int64(0)
        else:
            m, e = float32.truncate(m1, e1), np.int64(0)
        out[i, 0], out[i, 1] = m, e


def by_kernel(kind: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.zeros((a.size, 2), np.int64)
    _over(kind, float32.bits_of(a), float32.bits_of(b), out)
    return np.ldexp(out[:, 0].astype(float), out[:, 1])


def away(values: np.ndarray) -> np.ndarray:
    return np.copysign(np.floor(np.abs(values.astype(float)) + 0.5), values)


EXPECTED: dict[str, tuple[int, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "add": (0, lambda a, b: a + b),
    "multiply": (1, lambda a, b: a * b),
    "reciprocal": (2, lambda a, b: (F32(1) / np.abs(a)).astype(F32)),
    "round_away": (3, lambda a, b: away(a)),
    "round_even": (4, lambda a, b: np.rint(a.astype(float))),
    "truncate": (5, lambda a, b: np.trunc(a.astype(float))),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_equals_the_processor(name: str) -> None:
    rng = np.random.default_rng(1)
    kind, formula = EXPECTED[name]
    a, b = numbers(rng, COUNT), numbers(rng, COUNT)
    if name == "add":  # neighbours, so that the sum cancels or is a tie
        b = np.where(rng.integers(2, size=COUNT) == 0, -a * F32(1 + 2.0**-20), b).astype(F32)
    if kind == 2:
        keep = (np.abs(a) > 1e-38) & (np.abs(a) < 1e38)
    elif kind in (0, 1):
        with np.errstate(over="ignore", under="ignore"):
            keep = np.abs(formula(a, b)) < 1e38
    else:
        keep = np.abs(a) < 2.0**39
        a = np.where(rng.integers(2, size=COUNT) == 0, np.rint(a * 2) / 2, a).astype(F32)
    got = by_kernel(kind, a[keep], b[keep])
    with np.errstate(under="ignore"):
        expected = formula(a[keep], b[keep]).astype(float)
    np.testing.assert_array_equal(got, expected)
    assert got.size > COUNT // 2


def test_what_the_rounding_is_for() -> None:
    """One more bit kept, and the results would differ: the cases above are not all exact."""
    rng = np.random.default_rng(2)
    a, b = numbers(rng, 10_000), numbers(rng, 10_000)
    exact = a.astype(float) + b.astype(float)
    assert (by_kernel(0, a, b) != exact).mean() > 0.2


def test_pairs_of_words() -> None:
    for value in (0.0, 1.0, -1.5, 2.0**-149, 3.4e38, -(2.0**-130), 1 / 3):
        mantissa, exponent = float32.pair_of(value)
        assert mantissa * 2.0**exponent == float(F32(value))
