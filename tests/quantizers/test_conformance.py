"""What every quantizer must satisfy, on random and on awkward values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from simulator.coding import LEVEL_BITS, codes_of, factors_of
from simulator.errors import UsageError
from simulator.quantizers import (
    SCALES,
    Quantized,
    Setting,
    quantize,
    quantizer,
    quantizer_names,
    range_names,
)

SHAPES = ((6, 3, 3, 8), (5, 24), (3, 1, 1, 4))
# Learned tables start elsewhere with every set of values, a full range has no level for the negative of its
# lowest, and groups several factors to choose from: quantizing again changes no more than quantizing did.
MOVING = ("kmeans", "product", "binary_sum", "symmetric_full", "groups")


def _values(shape: tuple[int, ...], seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    size = np.exp(random.normal(0, 1, (shape[0], *[1] * (len(shape) - 1))))
    return (random.laplace(0, 0.1, shape) * size).astype(np.float32)


def _bits(name: str) -> range:
    fewest, most = quantizer(name).BITS
    return range(fewest, most + 1)


CASES = [(name, bits) for name in quantizer_names() for bits in _bits(name)]
cases = pytest.mark.parametrize(("name", "bits"), CASES)
axes = pytest.mark.parametrize("axis", [None, 0])


def _setting(bits: int, axis: int | None, **more: object) -> Setting:
    return Setting(bits, axis, group=3, **more)  # type: ignore[arg-type]


def _decoded(found: Quantized) -> np.ndarray:
    """Levels from the stored codes alone."""
    coding, codes = found.coding, codes_of(found.levels, found.coding)
    if coding.table:
        return np.array(coding.table)[codes].reshape(found.levels.shape)
    if coding.group:
        factors = factors_of(found.levels, coding)
        spread = np.repeat(factors, coding.group, axis=-1)[..., : codes.shape[-1]]
        return codes.astype(np.int64) * spread
    return codes


@cases
@axes
@pytest.mark.parametrize("shape", SHAPES)
def test_codes_hold_the_levels(
    name: str, bits: int, axis: int | None, shape: tuple[int, ...]
) -> None:
    values = _values(shape, bits)
    found = quantize(name, values, _setting(bits, axis))
    assert found.levels.shape == shape
    assert found.levels.dtype == np.int8
    assert found.coding.bits <= bits
    assert (_decoded(found) == found.levels).all()
    count = 1 if axis is None else shape[axis]
    assert found.scales.shape == found.zero_points.shape == (count,)
    assert found.scales.dtype == np.float32
    assert found.axis == axis
    codes = codes_of(found.levels, found.coding).astype(np.int64)
    assert codes.max() - codes.min() < 1 << found.coding.bits
    # Stored in no more than as many bits as asked for, but for tables and factors.
    extra = found.coding.table_bits
    if found.coding.group:
        extra += found.coding.factor_bits * values.size // shape[-1] * -(-shape[-1] // 3)
    assert found.coding.stored_bits(shape) <= bits * values.size // found.coding.vector + extra


@cases
@axes
def test_quantizing_again_changes_nothing(name: str, bits: int, axis: int | None) -> None:
    values = _values((6, 24), bits)
    first = quantize(name, values, _setting(bits, axis))
    again = quantize(name, first.real, _setting(bits, axis))
    apart = float(((again.real - first.real) ** 2).sum())
    enough = float(((first.real - values) ** 2).sum()) if name in MOVING else 1e-10
    assert apart <= enough


@cases
@axes
def test_the_sign_of_values_is_kept(name: str, bits: int, axis: int | None) -> None:
    if name in ("product", "stochastic"):
        return  # of vectors, and at random: not value by value
    values = _values((4, 24), 3)
    found = quantize(name, values, _setting(bits, axis))
    assert (found.real * values >= -1e-12).all() or name in ("asymmetric", "binary_sum", "kmeans")


@cases
def test_zero_is_exact_where_there_is_a_level_for_it(name: str, bits: int) -> None:
    values = _values((4, 24), 7)
    values[:, ::3] = 0
    found = quantize(name, values, _setting(bits, 0))
    learned = {level for row in found.coding.table for level in row}
    has_zero = not found.coding.table or (0 in learned and found.coding.vector == 1)
    assert has_zero or name in ("binary", "kmeans", "binary_sum", "product")
    if has_zero:
        assert (found.real[values == 0] == 0).all()


@cases
@pytest.mark.parametrize("what", ["zeros", "one", "a channel of zeros", "tiny", "huge", "positive"])
def test_awkward_values(name: str, bits: int, what: str) -> None:
    values = _values((3, 12), 11)
    if what == "zeros":
        values[:] = 0
    elif what == "one":
        values = np.ones((1, 4), np.float32)
    elif what == "a channel of zeros":
        values[1] = 0
    elif what == "tiny":
        values *= np.float32(1e-25)
    elif what == "huge":
        values *= np.float32(1e30)
    else:
        values = np.abs(values)
    for limits in range_names() if name == "symmetric" else ("min_max", "mse"):
        found = quantize(name, values, _setting(bits, 0, limits=limits))
        assert np.isfinite(found.real).all()
        assert (found.scales > 0).all()
        if what == "zeros" and name != "binary":
            assert np.abs(found.real).max() <= 1e-4
        # Never worse than nothing at all, where there is more than a sign.
        if bits > 1 and what not in ("zeros", "positive") and limits in ("min_max", "mse"):
            assert ((found.real - values) ** 2).sum() <= 1.3 * (values.astype(float) ** 2).sum()


@cases
@pytest.mark.parametrize("rule", sorted(SCALES))
def test_scales_are_as_ruled(name: str, bits: int, rule: str) -> None:
    found = quantize(name, _values((6, 12), 5), _setting(bits, 0, scale=rule))
    mantissa, _ = np.frexp(found.scales.astype(np.float64))
    if rule == "power_of_two" or name == "msqe":
        assert (mantissa == 0.5).all()
    elif rule == "dyadic":
        assert (mantissa * 256 == np.rint(mantissa * 256)).all()


@pytest.mark.parametrize("name", quantizer_names())
def test_more_bits_leave_less_error(name: str) -> None:
    values = _values((8, 3, 3, 24), 1)
    limits = "mse"
    errors = [
        float(((quantize(name, values, _setting(b, 0, limits=limits)).real - values) ** 2).sum())
        for b in _bits(name)
    ]
    assert all(later < earlier * 1.001 for earlier, later in itertools.pairwise(errors))


@pytest.mark.parametrize("name", quantizer_names())
def test_what_a_quantizer_refuses(name: str) -> None:
    fewest, most = quantizer(name).BITS
    fine = np.ones((2, 4), np.float32)
    for bits in (fewest - 1, most + 1):
        with pytest.raises(UsageError, match=f"quantizer {name}: {bits} bits; allowed: {fewest}"):
            quantize(name, fine, Setting(bits))
    for bad in (np.nan, np.inf):
        with pytest.raises(UsageError, match="NaN or infinity; allowed: finite values"):
            quantize(name, fine * np.float32(bad), Setting(fewest))
    with pytest.raises(UsageError, match="no values"):
        quantize(name, fine[:0], Setting(fewest))
    with pytest.raises(UsageError, match="axis: 2 of 2 dimensions"):
        quantize(name, fine, Setting(fewest, 2))
    with pytest.raises(UsageError, match="limits: 'max'; allowed: aciq, kl"):
        quantize(name, fine, Setting(fewest, limits="max"))
    with pytest.raises(UsageError, match="scale: 'half'; allowed: float, power_of_two"):
        quantize(name, fine, Setting(fewest, scale="half"))


def test_unknown_quantizers_and_vectors_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match="quantizer: 'linear'; allowed: additive_power_of_two"):
        quantize("linear", np.ones(4), Setting())
    with pytest.raises(UsageError, match="last axis of 6; allowed: a multiple of 4"):
        quantize("product", np.ones((2, 6)), Setting(8))


def test_stochastic_rounding_is_right_on_average() -> None:
    values = np.array([[1.0, 0.3, -0.7, 0.05]])
    drawn = [quantize("stochastic", values, Setting(3, seed=s)).real for s in range(4000)]
    mean, spread = np.mean(drawn, axis=0), 1 / 3 / 2 / np.sqrt(4000)
    assert np.abs(mean - values).max() < 4 * spread
    assert len({tuple(d[0]) for d in drawn}) > 2
    assert LEVEL_BITS == 8
