"""The naive element-wise operators against LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from oracles import elementwise as naive
from oracles.elementwise import Q
from oracles.fixed import double_rounding, quantize_multiplier
from oracles.models import (
    INT8,
    INT16,
    UINT8,
    all_codes,
    dtype_of,
    operator,
    random_codes,
    random_q,
    tensor,
)

CASES = 40


def power_of_two(q: Q, exponent: int) -> Q:
    return q._replace(scale=2.0**exponent)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (INT16, INT8),
        (INT16, (32, True)),
        (INT16, INT16),
        (INT8, INT16),
        (INT8, INT8),
        (INT8, UINT8),
        (UINT8, INT8),
    ],
)
def test_requantize(source: tuple[int, bool], target: tuple[int, bool]) -> None:
    rng = np.random.default_rng(0)
    for case in range(CASES):
        x, out = random_q(rng, source, 0.02), random_q(rng, target, 0.02)
        if case % 3 == 0:  # ties
            x, out = power_of_two(x, -7), power_of_two(out, int(rng.integers(-9, -4)))
        codes = random_codes(rng, x, 300)
        theirs = operator("QUANTIZE", [(codes, x)], (codes.shape, out))
        np.testing.assert_array_equal([naive.requantize(int(c), x, out) for c in codes], theirs)


def test_requantize_scale_is_a_double_quotient() -> None:
    """int16 codes far from zero tell the float64 quotient of the scales from the float32 one."""
    rng = np.random.default_rng(1)
    told_apart = 0
    for _ in range(CASES):
        x, out = random_q(rng, INT16, 0.02), random_q(rng, (32, True), 1e-8)
        codes = random_codes(rng, x, 300)
        theirs = operator("QUANTIZE", [(codes, x)], (codes.shape, out))
        np.testing.assert_array_equal([naive.requantize(int(c), x, out) for c in codes], theirs)
        other = quantize_multiplier(float(np.float32(x.scale) / np.float32(out.scale)))
        told_apart += int(np.sum([double_rounding(int(c), *other) for c in codes] != theirs))
    assert told_apart > 1000


@pytest.mark.parametrize("target", [INT8, UINT8, INT16])
def test_quantize_float(target: tuple[int, bool]) -> None:
    rng = np.random.default_rng(2)
    for case in range(CASES):
        out = random_q(rng, target, 0.02)
        if case % 3 == 0:
            out = power_of_two(out, -5)
        halves = rng.integers(*((-70000, 70000) if target == INT16 else (-600, 600)), 300)
        values = (halves * np.float32(out.scale) * np.float32(0.5)).astype(np.float32)
        theirs = operator("QUANTIZE", [(values, None)], (values.shape, out))
        np.testing.assert_array_equal([naive.quantize_float(v, out) for v in values], theirs)


@pytest.mark.parametrize(("kind", "sign"), [("ADD", 1), ("SUB", -1)])
@pytest.mark.parametrize("width", [INT16, UINT8, INT8])
def test_add_of_any_scales(kind: str, sign: int, width: tuple[int, bool]) -> None:
    rng = np.random.default_rng(3)
    for case in range(CASES):
        qa, qb, out = (random_q(rng, width, 0.02) for _ in range(3))
        if case % 3 == 0 and width != INT16:
            qa, qb, out = power_of_two(qa, -5), power_of_two(qb, -6), power_of_two(out, -4)
        a, b = random_codes(rng, qa, 300), random_codes(rng, qb, 300)
        theirs = operator(kind, [(a, qa), (b, qb)], (a.shape, out), {"PotScaleInt16": False})
        mine = [naive.add(int(u), int(v), qa, qb, out, sign) for u, v in zip(a, b, strict=True)]
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(("kind", "sign"), [("ADD", 1), ("SUB", -1)])
def test_add_of_powers_of_two(kind: str, sign: int) -> None:
    """The option (on by default in the schema) and the scales choose the path together."""
    rng = np.random.default_rng(4)
    told_apart = 0
    for _ in range(CASES):
        shift = -int(rng.integers(0, 6))
        shifts = (shift, 0) if rng.integers(2) else (0, shift)
        qa, qb = (Q(2.0 ** (s - 9), 0, *INT16) for s in shifts)
        out = Q(2.0**-9, 0, *INT16)
        a, b = random_codes(rng, qa, 300), random_codes(rng, qb, 300)
        pairs = [(int(u), int(v)) for u, v in zip(a, b, strict=True)]
        special = np.array([naive.add_power_of_two(u, v, *shifts, sign) for u, v in pairs])
        general = np.array([naive.add(u, v, qa, qb, out, sign) for u, v in pairs])
        for option, mine in ((True, special), (False, general)):
            theirs = operator(kind, [(a, qa), (b, qb)], (a.shape, out), {"PotScaleInt16": option})
            np.testing.assert_array_equal(mine, theirs)
        told_apart += int(np.sum(special != general))
    assert told_apart > 100


@pytest.mark.parametrize("width", [INT16, UINT8, INT8])
def test_mul(width: tuple[int, bool]) -> None:
    rng = np.random.default_rng(5)
    told_apart = 0
    for case in range(CASES):
        qa, qb = random_q(rng, width, 0.02), random_q(rng, width, 0.02)
        out = random_q(rng, width, 0.02 * 0.02 * (2**14 if width == INT16 else 64))
        if case % 3 == 0:
            qa, qb, out = power_of_two(qa, -6), power_of_two(qb, -6), power_of_two(out, -9)
        a, b = random_codes(rng, qa, 300), random_codes(rng, qb, 300)
        theirs = operator("MUL", [(a, qa), (b, qb)], (a.shape, out))
        mine = [naive.mul(int(u), int(v), qa, qb, out) for u, v in zip(a, b, strict=True)]
        np.testing.assert_array_equal(mine, theirs)
        if width == INT16:  # the float64 product
            other = quantize_multiplier(qa.scale * qb.scale / out.scale)
            wrong = [
                out.fit(double_rounding(int(u) * int(v), *other)) for u, v in zip(a, b, strict=True)
            ]
            told_apart += int(np.sum(wrong != theirs))
    assert told_apart > 0 or width != INT16


@pytest.mark.parametrize("width", [INT16, UINT8, INT8])
def test_leaky_relu(width: tuple[int, bool]) -> None:
    rng = np.random.default_rng(6)
    for case in range(CASES):
        x, out = random_q(rng, width, 0.02), random_q(rng, width, 0.02)
        alpha = float(np.float32(rng.uniform(-1, 2)))
        if case % 3 == 0:
            x, out, alpha = power_of_two(x, -5), power_of_two(out, -4), 0.125
        codes = all_codes(x, 13 if width == INT16 else 1)
        theirs = operator("LEAKY_RELU", [(codes, x)], (codes.shape, out), {"Alpha": alpha})
        mine = [naive.leaky_relu(int(c), x, out, alpha) for c in codes]
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("width", [UINT8, INT8])
def test_prelu(width: tuple[int, bool]) -> None:
    rng = np.random.default_rng(7)
    for case in range(CASES):
        x, qa, out = (random_q(rng, width, 0.02) for _ in range(3))
        if case % 3 == 0:
            x, qa, out = power_of_two(x, -5), power_of_two(qa, -5), power_of_two(out, -4)
        codes, alphas = random_codes(rng, x, (1, 4, 15, 5)), random_codes(rng, qa, (1, 1, 5))
        slope = tensor("alpha", alphas.shape, qa, alphas)
        theirs = operator("PRELU", [(codes, x)], (codes.shape, out), constants=[slope])
        mine = [
            naive.prelu(int(c), int(alphas.flat[i % 5]), x, qa, out)
            for i, c in enumerate(codes.flat)
        ]
        np.testing.assert_array_equal(mine, theirs.ravel())


@pytest.mark.parametrize("width", [UINT8, INT8])
def test_hard_swish(width: tuple[int, bool]) -> None:
    rng = np.random.default_rng(8)
    for _ in range(CASES):
        x = random_q(rng, width, 0.05)
        out = random_q(rng, width, 0.05)
        out = out._replace(scale=max(out.scale, float(np.float32(x.scale / 100))))
        codes = all_codes(x)
        theirs = operator("HARD_SWISH", [(codes, x)], (codes.shape, out))
        np.testing.assert_array_equal([naive.hard_swish(int(c), x, out) for c in codes], theirs)


def test_rsqrt() -> None:
    rng = np.random.default_rng(9)
    for case in range(CASES):
        x, out = random_q(rng, INT8, 0.05), random_q(rng, INT8, 0.05)
        if case % 2:
            x = x._replace(zero_point=-128)
        codes = np.arange(x.zero_point, 128).astype(np.int8)
        theirs = operator("RSQRT", [(codes, x)], (codes.shape, out))
        np.testing.assert_array_equal([naive.rsqrt(int(c), x, out) for c in codes], theirs)


@pytest.mark.parametrize("width", [UINT8, INT8])
@pytest.mark.parametrize("function", [naive.gelu, naive.gelu_tanh])
def test_gelu(width: tuple[int, bool], function: Callable[[np.float32], np.float32]) -> None:
    rng = np.random.default_rng(10)
    for _ in range(2 * CASES):
        x, out = random_q(rng, width, 0.03), random_q(rng, width, 0.03)
        codes = all_codes(x)
        options = {"Approximate": function is naive.gelu_tanh}
        theirs = operator("GELU", [(codes, x)], (codes.shape, out), options)
        assert theirs.dtype == dtype_of(out)
        np.testing.assert_array_equal(naive.table8(function, x, out), theirs)
