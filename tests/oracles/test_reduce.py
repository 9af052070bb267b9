"""The naive reductions against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest

from oracles import reduce as naive
from oracles.elementwise import Q
from oracles.models import INT8, INT16, UINT8, indices, operator, random_codes, random_q


def reduced(
    rng: np.random.Generator, kind: str, x: Q, out: Q, resolver: str = "BUILTIN_REF"
) -> tuple[list[list[int]], np.ndarray]:
    """(the codes of each output, the outputs) of a random shape and random axes."""
    rank = int(rng.integers(2, 5))
    shape = tuple(int(v) for v in rng.integers(1, 7, rank))
    axes = sorted(int(v) for v in rng.permutation(rank)[: rng.integers(1, rank)])
    if rank == 4 and rng.integers(2):
        axes = [1, 2]  # the runtime has a kernel of its own for these
    keep = bool(rng.integers(2))
    out_shape = [1 if i in axes else s for i, s in enumerate(shape) if keep or i not in axes]
    codes = random_codes(rng, x, shape)
    others = [i for i in range(rank) if i not in axes]
    y = operator(
        kind,
        [(codes, x)],
        (out_shape, out),
        {"KeepDims": keep},
        [indices("axes", axes)],
        resolver,
    )
    rows = codes.transpose(*others, *axes).reshape(y.size, -1)
    return [[int(v) for v in row] for row in rows], y.ravel()


def quantizations(
    rng: np.random.Generator, width: tuple[int, bool], case: int, around: float
) -> tuple[Q, Q]:
    x, out = random_q(rng, width, 0.03), random_q(rng, width, around)
    if case % 4 == 0:  # ties
        return x._replace(scale=0.03125), out._replace(scale=0.0625)
    return x, (x if case % 4 == 1 else out)


@pytest.mark.parametrize("width", [INT8, UINT8, INT16])
def test_mean(width: tuple[int, bool]) -> None:
    rng = np.random.default_rng(0)
    for case in range(120):
        x, out = quantizations(rng, width, case, 0.03)
        rows, y = reduced(rng, "MEAN", x, out)
        np.testing.assert_array_equal([naive.mean(row, x, out) for row in rows], y)


@pytest.mark.parametrize("width", [INT8, UINT8])
def test_sum_of_the_reference_kernels(width: tuple[int, bool]) -> None:
    rng = np.random.default_rng(1)
    for case in range(120):
        x, out = quantizations(rng, width, case, 0.1)
        rows, y = reduced(rng, "SUM", x, out)
        np.testing.assert_array_equal([naive.sum_unsigned(row, x, out) for row in rows], y)


@pytest.mark.parametrize("width", [INT8, INT16])
def test_sum_of_the_optimised_kernels(width: tuple[int, bool]) -> None:
    rng = np.random.default_rng(2)
    resolver = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
    for case in range(120):
        x, out = quantizations(rng, width, case, 0.1)
        rows, y = reduced(rng, "SUM", x, out, resolver)
        np.testing.assert_array_equal([naive.sum_float(row, x, out) for row in rows], y)


@pytest.mark.parametrize(("kind", "function"), [("ARG_MAX", max), ("ARG_MIN", min)])
def test_arg_max(kind: str, function: object) -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        x = random_q(rng, INT8, 0.1)
        codes = rng.integers(-3, 4, (6, 9)).astype(np.int8)  # many equal ones
        out = Q(1.0, 0, 32)
        y = operator(kind, [(codes, x)], ((6,), out), {"OutputType": 2}, [indices("axis", [1])])
        rows = [[int(v) for v in row] for row in codes]
        largest = [naive.arg_max(r if function is max else [-v for v in r]) for r in rows]
        np.testing.assert_array_equal(largest, y)
