"""16-bit tables: kernels against the naive oracle, both against LiteRT's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import tables as naive
from oracles.elementwise import Q
from oracles.models import INT16, all_codes, operator, random_codes

from simulator.errors import ModelError
from simulator.fixedpoint import tables as kernels

Q15 = Q(2.0**-15, 0, *INT16)


@pytest.mark.golden
def test_tables_worked() -> None:
    table = kernels.sigmoid_table()
    assert table.tolist() == naive.SIGMOID
    assert table[0] == 32768
    assert table[24] == 47911  # 65536 / (1 + exp(-1)) = 47910.9, raised by 0.3
    exponential, reciprocal = kernels.softmax_tables()
    assert exponential.tolist() == naive.EXP
    assert reciprocal.tolist() == naive.RECIPROCAL
    assert (exponential[0], exponential[512]) == (2, 32767)  # exp(-10): 1.49, raised
    assert (reciprocal[0], reciprocal[512]) == (32767, 16384)


@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH"])
@pytest.mark.parametrize(
    "scale",
    [2.0**-12, 2.0**-12 * 1.0005, 2.0**-12 * 1.002, 2.0**-11, 2.0**-14, 1e-9, 0.1, 2.7, 5.3],
)
def test_activations_on_every_code(kind: str, scale: float) -> None:
    x = Q(float(np.float32(scale)), 0, *INT16)
    codes = all_codes(x)
    theirs = operator(kind, [(codes, x)], (codes.shape, Q15))
    kernel = kernels.logistic if kind == "LOGISTIC" else kernels.tanh
    oracle = naive.logistic if kind == "LOGISTIC" else naive.tanh
    scaling, table = kernels.activation_scaling(x.scale), kernels.sigmoid_table()
    mine = np.array([kernel(int(c), *scaling, table) for c in codes])
    np.testing.assert_array_equal(mine, theirs)
    some = range(0, codes.size, 17)
    np.testing.assert_array_equal([oracle(int(codes[i]), x.scale) for i in some], mine[::17])


@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH"])
def test_activations_of_random_scales(kind: str) -> None:
    rng = np.random.default_rng(0)
    kernel = kernels.logistic if kind == "LOGISTIC" else kernels.tanh
    table = kernels.sigmoid_table()
    for _ in range(40):
        x = Q(float(np.float32(2.0 ** rng.uniform(-16, -8))), 0, *INT16)
        codes = random_codes(rng, x, 2000)
        theirs = operator(kind, [(codes, x)], (codes.shape, Q15))
        scaling = kernels.activation_scaling(x.scale)
        np.testing.assert_array_equal([kernel(int(c), *scaling, table) for c in codes], theirs)


def test_softmax() -> None:
    rng = np.random.default_rng(1)
    exponential, reciprocal = kernels.softmax_tables()
    for case in range(200):
        x = Q(float(np.float32(2.0 ** rng.uniform(-14, -9))), 0, *INT16)
        beta = float(np.float32(rng.choice([1.0, 0.5, 1.7])))
        codes = random_codes(rng, x, (8, int(rng.integers(1, 60)))) >> (case % 3 * 4)
        codes = codes.astype(np.int16)
        theirs = operator("SOFTMAX", [(codes, x)], (codes.shape, Q15), {"Beta": beta})
        scaling = kernels.softmax_scaling(beta, x.scale)
        for row, expected in zip(codes, theirs, strict=True):
            out = np.zeros(row.size, np.int64)
            kernels.softmax(row.astype(np.int64), out, scaling, exponential, reciprocal)
            np.testing.assert_array_equal(out, expected)
            if case < 40:
                oracle = naive.softmax16([int(c) for c in row], x.scale, beta)
                np.testing.assert_array_equal(oracle, expected)


def test_long_softmax() -> None:
    """Equal codes in a long row: the sum needs most of its bits."""
    x = Q(2.0**-11, 0, *INT16)
    codes = np.full((1, 4000), 123, np.int16)
    codes[0, ::7] = 300
    theirs = operator("SOFTMAX", [(codes, x)], (codes.shape, Q15), {"Beta": 1.0})
    out = np.zeros(4000, np.int64)
    scaling = kernels.softmax_scaling(1.0, x.scale)
    kernels.softmax(codes[0].astype(np.int64), out, scaling, *kernels.softmax_tables())
    np.testing.assert_array_equal(out, theirs[0])


def test_rules() -> None:
    for scale in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ModelError, match="finite and positive"):
            kernels.activation_scaling(scale)
    with pytest.raises(ModelError, match="below 16 / 3"):
        kernels.activation_scaling(5.34)
    assert kernels.activation_scaling(2.0**-11) == (24576, 12)
