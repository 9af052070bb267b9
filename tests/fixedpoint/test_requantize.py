"""All requantizers: worked vectors of the runtimes, definitions in exact arithmetic, and the registry."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from requantizing import DEFINITIONS, requantized, saturated

from simulator.errors import ModelError
from simulator.fixedpoint.requantize import KINDS, REQUANTIZERS, requantize
from simulator.fixedpoint.requantize_scales import float32_scale
from simulator.fixedpoint.thresholds import THRESHOLDS

# Kinds in the order of the worked tables; the first five are what the runtimes do.
ORDER = ("double_rounding", "single_rounding", "double_rounding_up", "float32_even", "float64_away")
REST = ("dyadic_even", "power_of_two", "truncate", "natural")


def one(kind: str, accumulator: int, real: float) -> int:
    """One accumulator through a kind, from the real scale on."""
    return int(requantize(KINDS[kind], accumulator, *REQUANTIZERS[kind].convert(real)))


# Accumulators at a scale of 1/4. The kinds of ORDER: V2 of the semantics notes, reproduced by LiteRT
# (reference conv, optimised conv, XNNPACK, reference fully connected). Those of REST: worked by hand.
QUARTER = [
    (-6, (-2, -1, -1, -2, -2), (-2, -1, -1, -1)),
    (-3, (-1, -1, 0, -1, -1), (-1, -1, 0, -1)),
    (-2, (-1, 0, 0, 0, -1), (0, 0, 0, 0)),
    (-1, (0, 0, 0, 0, 0), (0, 0, 0, 0)),
    (1, (1, 0, 1, 0, 0), (0, 0, 0, 0)),
    (2, (1, 1, 1, 0, 1), (0, 1, 0, 1)),
    (3, (1, 1, 1, 1, 1), (1, 1, 0, 1)),
    (6, (2, 2, 2, 2, 2), (2, 2, 1, 2)),
    (1000001, (250001, 250000, 250001, 250000, 250000), (250000, 250000, 250000, 250000)),
]


@pytest.mark.golden
@pytest.mark.parametrize(("accumulator", "runtimes", "rest"), QUARTER)
def test_ties_at_a_quarter(
    accumulator: int, runtimes: tuple[int, ...], rest: tuple[int, ...]
) -> None:
    assert tuple(one(kind, accumulator, 0.25) for kind in ORDER) == runtimes
    assert tuple(one(kind, accumulator, 0.25) for kind in REST) == rest


@pytest.mark.golden
@pytest.mark.parametrize(
    ("accumulator", "expected"),
    [(232, (1, 0, 1, 0, 0)), (-232, (-1, 0, 0, 0, 0)), (-697, (-2, -2, -1, -2, -2)),
     (697, (2, 2, 2, 2, 2))],
)  # fmt: skip
def test_the_layer_that_tells_requantizers_apart(
    accumulator: int, expected: tuple[int, ...]
) -> None:
    """V3: s_in 0.0235, s_w 0.0047, s_out 0.0513; the exact products lie within 2e-3 of a half.

    Single rounding is by hand (0.4995, -0.4995, -1.5007, 1.5007), the others are the runtimes'.
    """
    s_in, s_w, s_out = (float(np.float32(s)) for s in (0.0235, 0.0047, 0.0513))
    real = s_in * s_w / s_out
    assert REQUANTIZERS["double_rounding"].convert(real) == (1183635989, -8)
    assert tuple(
        one(kind, accumulator, float32_scale(s_in, s_w, s_out) if kind == "float32_even" else real)
        for kind in ORDER
    ) == expected  # fmt: skip


@pytest.mark.golden
def test_sixteen_by_eight_worked() -> None:
    """V7: the 15-bit multiplier of convolutions with an int64 bias."""
    assert REQUANTIZERS["double_rounding"].convert(0.00012345) == (1085877684, -12)
    assert REQUANTIZERS["reduced_multiplier"].convert(0.00012345) == (16569, -12)
    worked = {123456789: 15241, -123456789: -15241, 40503: 5, -40503: -5}
    for accumulator, code in worked.items():
        assert one("reduced_multiplier", accumulator, 0.00012345) == code
    # 48-bit sums, by hand: (2**47 - 1) * 16569 + 2**26 over 2**27 is 2**20 * 16569 - 0.0001 + 0.5.
    assert one("reduced_multiplier", 2**47 - 1, 0.00012345) == 2**20 * 16569
    assert one("reduced_multiplier", -(2**47), 0.00012345) == -(2**20) * 16569


def reals(kind: str, rng: np.random.Generator, count: int) -> list[float]:
    """Scales over the whole range that a kind takes, those at which it gives up included."""
    highest = {"reduced_multiplier": 6.9, "float32_even": 40.0, "float64_away": 60.0}
    exponents = rng.uniform(-34, highest.get(kind, 29.9), count)
    if kind == "power_of_two":
        return np.exp2(np.floor(exponents)).tolist()
    few = np.exp2(np.floor(exponents)) * rng.integers(1, 2**6, count) / 2**6  # short: many ties
    return np.where(rng.random(count) < 0.4, few, np.exp2(exponents)).tolist()


def accumulators(kind: str, rng: np.random.Generator, count: int) -> list[int]:
    """All magnitudes a kind takes and one bit more, dense around powers of two, ends included."""
    bits = min(REQUANTIZERS[kind].accumulator_bits + 1, 62)
    lengths = rng.integers(0, bits + 1, count)
    values = [int(rng.integers(0, 2 ** int(n))) if n else 0 for n in lengths]
    near = rng.integers(-2, 3, count)
    edge = [2 ** int(n) + int(d) if n > 2 else int(d) for n, d in zip(lengths, near, strict=True)]
    kept = [e if r < 0.3 else v for e, v, r in zip(edge, values, rng.random(count), strict=True)]
    signed = [v if s else -v for v, s in zip(kept, rng.integers(0, 2, count), strict=True)]
    return [min(max(v, -(2**62) + 1), 2**62 - 1) for v in signed]


def drawn(kind: str, count: int) -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(KINDS[kind])
    pairs = [REQUANTIZERS[kind].convert(r) for r in reals(kind, rng, count)]
    return [(a, *p) for a, p in zip(accumulators(kind, rng, count), pairs, strict=True)]


def by_definition(kind: str, case: tuple[int, int, int]) -> int:
    return DEFINITIONS[kind](*case)


def clamped(kind: str, value: int) -> int:
    """Shifts to the left of ``power_of_two`` are exact within int32 only."""
    return saturated(value) if kind == "power_of_two" else value


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_kernel_equals_its_definition(kind: str) -> None:
    cases = drawn(kind, 30_000)
    got = requantized(kind, *(np.array(c, np.int64) for c in zip(*cases, strict=True)))
    wrong = [
        (case, value)
        for case, value in zip(cases, got.tolist(), strict=True)
        if clamped(kind, value) != clamped(kind, by_definition(kind, case))
    ]
    assert wrong == []


@pytest.mark.golden
@pytest.mark.parametrize("kind", DEFINITIONS)
def test_a_few_interpreted(kind: str) -> None:
    """The same integers compiled and interpreted, with NumPy's and with Python's own integers."""
    for case in drawn(kind, 300):
        expected = clamped(kind, by_definition(kind, case))
        numbers = [np.int64(v) for v in case]
        assert clamped(kind, int(requantize(KINDS[kind], *case))) == expected
        assert clamped(kind, int(requantize(KINDS[kind], *numbers))) == expected


def codes_of(kind: str, scales: np.ndarray) -> np.ndarray:
    """Codes of the same int32 accumulators, each at its own scale, whatever the kind."""
    values = np.random.default_rng(7).integers(-(2**31), 2**31, scales.size)
    pairs = np.array([REQUANTIZERS[kind].convert(s) for s in scales.tolist()], np.int64)
    return requantized(kind, values, pairs[:, 0], pairs[:, 1])


def test_no_kind_stands_in_for_another() -> None:
    """All differ but natural and single rounding; a shift is single rounding by a power of two."""
    rng = np.random.default_rng(6)
    shifts = np.exp2(rng.integers(-22, 0, 10_000))
    scales = np.concatenate((shifts, np.exp2(rng.uniform(-22, -1, 10_000))))
    codes = {k: codes_of(k, scales) for k in DEFINITIONS if k != "power_of_two"}
    same = {(a, b) for a in codes for b in codes if a < b and np.array_equal(codes[a], codes[b])}
    assert same == {("natural", "single_rounding")}
    shifted = {k: codes_of(k, shifts) for k in DEFINITIONS}
    same = {k for k in shifted if np.array_equal(shifted[k], shifted["power_of_two"])}
    assert same == {"power_of_two", "single_rounding", "natural", "reduced_multiplier"}


def test_natural_is_single_rounding_of_int32() -> None:
    rng = np.random.default_rng(8)
    scales = [*np.exp2(rng.uniform(-34, 29.9, 20_000)).tolist(), 2.0**-32, 2.0**-33]
    for real in scales:
        for a in (-(2**31), 2**31 - 1, int(rng.integers(-(2**31), 2**31))):
            assert one("natural", a, real) == one("single_rounding", a, real)


def test_registry() -> None:
    codes = {name: r.code for name, r in REQUANTIZERS.items()}
    assert codes | {"thresholds": THRESHOLDS} == KINDS
    assert len(set(KINDS.values())) == len(KINDS)
    assert set(KINDS) == {*DEFINITIONS, "none", "thresholds"}
    with pytest.raises(TypeError):
        REQUANTIZERS["floor"] = REQUANTIZERS["natural"]  # type: ignore[index]
    for name, requantizer in REQUANTIZERS.items():
        assert requantizer.name == name
        if name == "none":
            continue
        for accumulator in range(-70, 70):
            for real in (0.25, 0.5, 2.0**-5):
                multiplier, shift = requantizer.convert(real)
                scale = Fraction(multiplier) * Fraction(2) ** (shift - requantizer.fraction_bits)
                assert scale == real
                direct = int(requantizer.apply(accumulator, multiplier, shift))
                assert one(name, accumulator, real) == direct
                assert abs(direct - accumulator * scale) <= 1  # double rounding errs by up to 3/4


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("double_rounding", 31), ("double_rounding_up", 31), ("single_rounding", 31),
     ("float32_even", 24), ("float64_away", 60), ("reduced_multiplier", 14), ("dyadic_even", 31),
     ("truncate", 31), ("natural", 31)],
)  # fmt: skip
def test_multiplier_and_shift_stand_for_the_scale(kind: str, precision: int) -> None:
    requantizer = REQUANTIZERS[kind]
    for real in np.exp2(np.random.default_rng(9).uniform(-30, 6.9, 5000)).tolist():
        multiplier, shift = requantizer.convert(real)
        scale = multiplier * Fraction(2) ** (shift - requantizer.fraction_bits)
        assert abs(scale / Fraction(real) - 1) <= Fraction(1, 2**precision)


@pytest.mark.golden
def test_sums_taken_as_they_are() -> None:
    for accumulator in (0, -1, 2**31 - 1, -(2**31), 2**40):
        assert one("none", accumulator, 1.0) == accumulator
    with pytest.raises(ModelError, match="sums taken as they are"):
        REQUANTIZERS["none"].convert(0.5)
