"""Values of the PE-by-PE oracle: exact order of narrowing, against plain Python integers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from simulator import dataflows
from simulator.dataflows import (
    Gemm,
    Grid,
    input_stationary,
    output_stationary,
    weight_stationary,
)
from simulator.dataflows._oracle import Operands, OracleArray, simulate_folds

WS, OS, IS = 0, 1, 2
MODULES = (weight_stationary, output_stationary, input_stationary)
CASES = 200  # times three dataflows, two modes, wrapping and saturating

each_dataflow = pytest.mark.parametrize(
    "dataflow", [pytest.param(code, id=name) for name, code in {"ws": 0, "os": 1, "is": 2}.items()]
)
each_mode = pytest.mark.parametrize(
    "mode", [pytest.param(0, id="serial"), pytest.param(1, id="pipelined")]
)
each_overflow = pytest.mark.parametrize(
    "saturating", [pytest.param(False, id="wrap"), pytest.param(True, id="saturate")]
)


class Case(NamedTuple):
    """One grouped product with its operands and the array that runs it."""

    gemm: Gemm
    grid: Grid
    operands: Operands
    bits: int
    psum_bits: int


def random_case(rng: np.random.Generator) -> Case:
    """Operands of 2 to 16 bits and an accumulator that overflows often (6 bits) to never (40); every third
    array has narrower psums, every third PEs of several terms."""
    m, k, n = (int(size) for size in rng.integers(1, 21, 3))
    rows, cols, groups = (int(size) for size in rng.integers(1, (10, 10, 7)))
    if rng.integers(2):
        k, n = (k + 4) // 5, (n + 4) // 5
    ifmap_half, weight_half = (1 << int(width) for width in rng.integers(1, 16, 2))
    bits = int(rng.integers(6, 41))
    bias_half = 1 << (bits - 1)
    operands = Operands(
        rng.integers(-ifmap_half, ifmap_half, (groups, m, k)),
        rng.integers(-weight_half, weight_half, (groups, k, n)),
        rng.integers(-bias_half, bias_half, (groups, n)),
    )
    terms = int(rng.integers(2, 6)) if rng.integers(3) == 0 else 1
    psum_bits = int(rng.integers(5, bits)) if rng.integers(3) == 0 else bits
    grid = Grid(rows, cols, 16, 16, 1 << 30, terms)
    return Case(Gemm(m, k, n, groups), grid, operands, bits, psum_bits)


def narrowed(value: int, bits: int, saturating: bool) -> int:
    low, span = -(2 ** (bits - 1)), 2**bits
    if saturating:
        return sorted((low, value, low + span - 1))[1]
    return (value - low) % span + low


def by_definition(case: Case, segment: int, saturating: bool) -> list[list[list[int]]]:
    """bias + sum over k of ifmap * weight, the sum cut into chains of ``segment`` products.

    A chain starts at 0 and is narrowed after every product, or every few that a PE adds at once; the
    accumulator starts at the bias and is narrowed after every chain.
    """
    ifmap, weights, bias = (operand.tolist() for operand in case.operands)
    m, k, n, groups = case.gemm
    result = [[[0] * n for _ in range(m)] for _ in range(groups)]
    for g in range(groups):
        for row in range(m):
            for channel in range(n):
                total = bias[g][channel]
                for start in range(0, k, segment):
                    chain = 0
                    end = min(start + segment, k)
                    for word in range(start, end, case.grid.terms):
                        for depth in range(word, min(word + case.grid.terms, end)):
                            chain += ifmap[g][row][depth] * weights[g][depth][channel]
                        chain = narrowed(chain, case.psum_bits, saturating)
                    total = narrowed(total + chain, case.bits, saturating)
                result[g][row][channel] = total
    return result


def simulated(dataflow: int, mode: int, case: Case, saturating: bool) -> list[list[list[int]]]:
    packed = int(dataflows.packed_groups(dataflow, case.gemm, case.grid))
    array = OracleArray(
        case.grid.rows, case.grid.cols, packed, case.bits, saturating, terms=case.grid.terms,
        psum_bits=case.psum_bits,
    )  # fmt: skip
    return simulate_folds(dataflow, mode, case.operands, array).values.tolist()


@each_overflow
@each_mode
@each_dataflow
def test_array_reduces_in_the_stated_order(dataflow: int, mode: int, saturating: bool) -> None:
    rng = np.random.default_rng([dataflow, mode, saturating])
    for _ in range(CASES):
        case = random_case(rng)
        # As the dataflows' docstrings state it: a fold's rows, or all of k where sums stay put.
        segment = case.gemm.k if dataflow == OS else case.grid.rows * case.grid.terms
        expected = by_definition(case, segment, saturating)
        assert (case.gemm, simulated(dataflow, mode, case, saturating)) == (case.gemm, expected)


@each_dataflow
def test_reduction_segment_is_the_array_s(dataflow: int) -> None:
    rng = np.random.default_rng(dataflow)
    other_order_differs = 0
    for _ in range(CASES):
        case = random_case(rng)
        k, rows = case.gemm.k, case.grid.rows * case.grid.terms
        segment = dataflows.reduction_segment(dataflow, k, rows)
        assert segment == MODULES[dataflow].reduction_segment(k, rows)
        values = simulated(dataflow, 1, case, saturating=True)
        assert values == by_definition(case, segment, saturating=True)
        other = rows if dataflow == OS else k
        other_order_differs += values != by_definition(case, other, saturating=True)
    assert other_order_differs >= 20  # else saturation was too rare to tell orders apart


@pytest.mark.parametrize("bits", [62, 63, 64])
@each_overflow
def test_widest_accumulators_hold_exact_sums(saturating: bool, bits: int) -> None:
    case = random_case(np.random.default_rng(bits))._replace(bits=bits, psum_bits=bits)
    ifmap, weights, bias = case.operands
    exact = (ifmap @ weights + bias[:, None, :]).tolist()
    for dataflow in (WS, OS, IS):
        assert simulated(dataflow, 1, case, saturating) == exact


# Hand-worked, 8-bit accumulator, 2 x 2 PEs, k = 3 (segments of 2 and 1 where rows hold k). For
# example row 0, channel 1: products -20, 80, -180. Stationary: chain -20 + 80 = 60, 0 + 60 = 60;
# chain -180 -> -128; 60 - 128 = -68. Output stationary: 60 - 180 = -120. Exact: -120.
HAND = Case(
    Gemm(3, 3, 2, 1),
    Grid(2, 2, 8, 8, 1 << 30),
    Operands(
        np.array([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]),
        np.array([[[10, -20], [30, 40], [50, -60]]]),
        np.array([[5, 0]]),
    ),
    8,
    8,
)
BY_SEGMENTS = [[[127, -68], [127, -8], [127, -1]]]
IN_ONE_CHAIN = [[[127, -120], [127, -128], [127, -128]]]
WRAPPED = [[[-31, -120], [-17, 16], [-3, -104]]]  # 225, -120, 495, -240, 765, -360 modulo 256


@pytest.mark.golden
@each_mode
@pytest.mark.parametrize(
    ("dataflow", "saturating", "expected"),
    [
        pytest.param(WS, True, BY_SEGMENTS, id="ws-saturate"),
        pytest.param(IS, True, BY_SEGMENTS, id="is-saturate"),
        pytest.param(OS, True, IN_ONE_CHAIN, id="os-saturate"),
        pytest.param(WS, False, WRAPPED, id="ws-wrap"),
        pytest.param(OS, False, WRAPPED, id="os-wrap"),
        pytest.param(IS, False, WRAPPED, id="is-wrap"),
    ],
)
def test_hand_worked_values(
    dataflow: int, saturating: bool, mode: int, expected: list[list[list[int]]]
) -> None:
    assert simulated(dataflow, mode, HAND, saturating) == expected
    segment = 3 if dataflow == OS else 2
    assert by_definition(HAND, segment, saturating) == expected


@pytest.mark.golden
@each_mode
def test_hand_worked_two_widths(mode: int) -> None:
    """Psums of 6 bits (-32..31) in an accumulator of 8: row 0, channel 1, stationary: chain -20, then
    -20 + 80 -> 31; 0 + 31 = 31; chain -180 -> -32; 31 - 32 = -1."""
    case = HAND._replace(psum_bits=6)
    by_segments = [[[67, -1], [67, -1], [67, -1]]]  # channel 0: 5 + 31 + 31
    assert simulated(WS, mode, case, True) == by_segments
    assert simulated(IS, mode, case, True) == by_segments
    # One chain of three, -180 last: 31 - 180 -> -32; channel 0 ends at 31, and 5 + 31 = 36.
    assert simulated(OS, mode, case, True) == [[[36, -32], [36, -32], [36, -32]]]


@pytest.mark.golden
@each_mode
def test_hand_worked_words(mode: int) -> None:
    """Two terms at once, so that -20 + 80 = 60 and -180 -> -128 as segments of two; one PE row then holds
    what two did. Row 0, channel 0: 70 + 5 and 150 -> 127: 127."""
    case = HAND._replace(grid=HAND.grid._replace(rows=1, terms=2))
    assert simulated(WS, mode, case, True) == [[[127, -68], [127, -8], [127, -1]]]


def test_oracle_refuses_what_it_cannot_play() -> None:
    array = OracleArray(2, 2, 1, 8, True)
    with pytest.raises(ValueError, match=r"dataflow 3, overlap 0: expected 0\.\.2 and 0\.\.1"):
        simulate_folds(3, 0, HAND.operands, array)
    with pytest.raises(ValueError, match=r"dataflow 0, overlap 2"):
        simulate_folds(0, 2, HAND.operands, array)
