"""Quantizers against the best there is, found by trying everything on a few values."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from simulator.quantizers import Setting, quantize
from simulator.quantizers.msqe import outlier_mask, solve
from simulator.quantizers.ranges import limits
from simulator.quantizers.ranges.aciq import best_clip

seeds = pytest.mark.parametrize("seed", range(8))


def _few(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, count)


def _error(name: str, values: np.ndarray, setting: Setting) -> float:
    return float(((quantize(name, values, setting).real - values) ** 2).sum())


@seeds
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_symmetric_by_squared_error(bits: int, seed: int) -> None:
    values, most = _few(40, seed), 2 ** (bits - 1) - 1
    tried = np.linspace(0.05, 1.0, 4000) * np.abs(values).max() / most
    best = min(
        float(((np.clip(np.rint(values / s), -most, most) * s - values) ** 2).sum()) for s in tried
    )
    assert _error("symmetric", values, Setting(bits, limits="mse")) <= 1.03 * best


@seeds
def test_binary_is_the_best_of_all_signs(seed: int) -> None:
    values = _few(9, seed)
    best = np.inf
    for signs in product((-1, 1), repeat=values.size):
        b = np.array(signs)
        size = float(b @ values) / values.size
        best = min(best, float(((size * b - values) ** 2).sum()))
    assert _error("binary", values, Setting(1)) == pytest.approx(best, rel=1e-6)


@seeds
def test_ternary_is_near_the_best_of_all_signs(seed: int) -> None:
    """TWN's threshold is an approximation."""
    values = _few(200, seed)
    sizes = np.sort(np.abs(values))[::-1]
    kept = np.arange(1, sizes.size + 1)
    best = float((values**2).sum() - (np.cumsum(sizes) ** 2 / kept).max())
    found = _error("ternary", values, Setting(2))
    assert best * (1 - 1e-6) <= found <= 1.1 * best
    assert _error("trained_ternary", values, Setting(2)) < float((values**2).sum())


@seeds
@pytest.mark.parametrize("count", [2, 4])
def test_kmeans_is_near_the_best_of_all_splits(count: int, seed: int) -> None:
    """Of ascending values the best clusters are intervals."""
    values = np.sort(_few(14, seed))

    def cost(a: int, b: int) -> float:
        part = values[a:b]
        return float(((part - part.mean()) ** 2).sum())

    best = np.full((count + 1, values.size + 1), np.inf)
    best[0, 0] = 0
    for k, end in product(range(1, count + 1), range(1, values.size + 1)):
        best[k, end] = min(best[k - 1, start] + cost(start, end) for start in range(end))
    found = _error("kmeans", values, Setting(count.bit_length() - 1))
    # Lloyd's iterations end in a local optimum, and levels have 8 bits.
    assert best[count, -1] * (1 - 1e-3) - 1e-3 <= found <= 1.5 * best[count, -1] + 1e-3


@seeds
def test_product_is_near_the_best_of_all_splits(seed: int) -> None:
    vectors = _few(16, seed).reshape(8, 2)
    best = np.inf
    for sides in product((0, 1), repeat=8):
        at = np.array(sides)
        parts = [vectors[at == s] for s in (0, 1) if (at == s).any()]
        best = min(best, float(sum(((p - p.mean(axis=0)) ** 2).sum() for p in parts)))
    found = _error("product", vectors, Setting(1, vector=2, seed=seed))
    assert best * (1 - 1e-2) <= found <= 1.6 * best


@seeds
def test_binary_sums_are_near_the_best_of_all_signs(seed: int) -> None:
    values = _few(6, seed)
    best = np.inf
    every = np.array(list(product((-1, 1), repeat=2)))
    for chosen in product(range(4), repeat=values.size):
        basis = every[list(chosen)]
        left = values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0]
        best = min(best, float(left @ left))
    found = _error("binary_sum", values, Setting(2))
    assert best * (1 - 1e-3) - 1e-3 <= found <= 2.0 * best + 0.05


@seeds
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_msqe_finds_the_best_exponent(bits: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.laplace(0, np.exp(random.normal(0, 3)), 300)
    weights = random.random(300)
    most = 2 ** (bits - 1) - 1

    def error(exponent: int) -> float:
        step = 2.0**exponent
        codes = np.clip(np.rint(values / step), -most, most)
        return float((weights * (codes * step - values) ** 2).mean())

    best = min(range(-40, 40), key=error)
    found = solve(values, bits, weights)
    assert found.error == pytest.approx(error(best), rel=1e-9)
    assert found.exponent == best


@pytest.mark.golden
@pytest.mark.parametrize(
    ("bits", "scale", "codes", "error"),
    [
        (2, 0.5, [1, -1, 0, 0, 0, 1, -1, 0], 0.2712),
        (3, 0.25, [3, -1, 0, 0, 0, 2, -3, 1], 0.0612),
        (4, 0.125, [7, -2, 1, 0, 0, 4, -5, 2], 0.010575),
    ],
)
def test_msqe_by_hand(bits: int, scale: float, codes: list[int], error: float) -> None:
    values = np.array([0.9, -0.31, 0.12, 0.05, -0.02, 0.47, -0.63, 0.2])
    found = quantize("msqe", values, Setting(bits))
    assert found.scales.tolist() == [scale]
    assert found.levels.tolist() == codes
    assert ((found.real - values) ** 2).sum() == pytest.approx(error, abs=1e-12)


def test_outliers_move_the_exponent_unless_masked() -> None:
    """The mechanism that Bae et al. diagnose: four outliers of 20 standard deviations."""
    plain = np.random.default_rng(0).normal(0, 0.1, 4096)
    with_outliers = plain.copy()
    with_outliers[:4] = [2.0, -2.0, 2.0, -2.0]
    mask = outlier_mask(with_outliers)
    assert solve(plain, 4).exponent == -5
    assert solve(with_outliers, 4).exponent == -3
    assert solve(with_outliers, 4, mask).exponent == -5
    assert solve(plain, 8).exponent == -8
    assert solve(with_outliers, 8).exponent == -6
    # At 8 bits a mask leaves out what could be kept.
    assert solve(with_outliers, 8, mask).exponent == -9
    laplace = np.random.default_rng(0).laplace(0, 0.1, 4096)
    assert solve(laplace, 4).exponent == -4
    assert solve(laplace, 4, outlier_mask(laplace)).exponent == -5


# Banner et al., arXiv 1810.05723: the clipping points for 2 to 4 bits and more.
@pytest.mark.golden
@pytest.mark.parametrize(("bits", "laplacian", "gaussian"), [(2, 2.83, 1.71), (3, 3.89, 2.15),
                                                             (4, 5.03, 2.55)])  # fmt: skip
def test_aciq_by_its_paper(bits: int, laplacian: float, gaussian: float) -> None:
    assert best_clip(bits, False) == pytest.approx(laplacian, abs=0.02)
    assert best_clip(bits, True) == pytest.approx(gaussian, abs=0.02)


@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize("bits", [3, 4, 6])
def test_aciq_is_the_best_clip_of_many_samples(gaussian: bool, bits: int) -> None:
    random = np.random.default_rng(bits)
    values = random.normal(0, 2, 200_000) if gaussian else random.laplace(0, 2, 200_000)
    high = limits("aciq", values, bits, True)[1]
    best = limits("mse", values, bits, True)[1]
    # The error is flat around the best clip, and analysis takes as many levels as codes.
    assert high == pytest.approx(best, rel=0.2)


def test_rules_for_ranges() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(0, 1, 100_000), [100.0, -50.0]])
    assert limits("min_max", values, 8, False) == (-50.0, 100.0)
    assert limits("min_max", values, 8, True) == (-100.0, 100.0)
    for name in ("percentile", "kl", "mse", "aciq"):
        for symmetric in (False, True):
            low, high = limits(name, values, 4, symmetric)
            assert -50.0 <= low < 0 < high <= 30.0, name
            assert not symmetric or low == -high
    half = np.abs(values)
    for name in ("percentile", "kl", "mse", "aciq"):
        low, high = limits(name, half, 4, False)
        assert 0 <= low <= 0.5, name
        assert high <= 30.0, name
    for name in ("percentile", "kl", "mse", "aciq", "min_max"):
        assert limits(name, np.zeros(5), 8, True) == (0.0, 0.0)


@seeds
def test_kl_keeps_all_of_an_even_spread(seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-1, 1, 50_000)
    assert limits("kl", values, 8, True)[1] > 0.9


@pytest.mark.golden
def test_additive_powers_of_two_by_hand() -> None:
    values = np.array([1.0, 0.78, 0.62, 0.41, 0.29, 0.21, 0.09, 0.0, -0.85])
    found = quantize("additive_power_of_two", values, Setting(4))
    assert found.levels.tolist() == [10, 8, 6, 4, 3, 2, 1, 0, -8]
    found = quantize("power_of_two", values, Setting(3))
    assert found.levels.tolist() == [4, 4, 2, 2, 1, 1, 0, 0, -4]


@pytest.mark.golden
def test_groups_by_hand() -> None:
    """Codes -7..7 of 4 bits times factors 1..15: the larger group sets the scale, 7 * 15 steps."""
    values = np.array([[1.05, -0.35, 0.07, -0.14]])
    found = quantize("groups", values, Setting(4, 0, group=2))
    assert found.scales.tolist() == [np.float32(0.01)]
    assert found.levels.tolist() == [[105, -30, 6, -14]] or found.levels.tolist() == [
        [105, -30, 8, -14]
    ]
