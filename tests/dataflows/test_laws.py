"""Cycle laws and access counts against the PE-by-PE oracle, hand-worked cases and SCALE-Sim."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from simulator import dataflows
from simulator.dataflows import Accesses, ArrayWork, Gemm, Grid
from simulator.dataflows._oracle import Operands, OracleArray, OracleRun, simulate_folds

WS, OS, IS = 0, 1, 2
SERIAL, PIPELINED, IDEAL = 0, 1, 2
DATAFLOWS = {"ws": WS, "os": OS, "is": IS}
MODES = {"serial": SERIAL, "pipelined": PIPELINED}
SCALESIM = Path(__file__).parents[2].parent / "shared" / "reference" / "scalesim_layers.csv"
CASES = 1700  # times three dataflows and two modes

each_dataflow = pytest.mark.parametrize(
    "dataflow", [pytest.param(code, id=name) for name, code in DATAFLOWS.items()]
)
each_mode = pytest.mark.parametrize(
    "mode", [pytest.param(code, id=name) for name, code in MODES.items()]
)


def wide_grid(rows: int, cols: int) -> Grid:
    """An array whose scratchpad port never stalls it."""
    return Grid(rows, cols, 8, 8, 1 << 30)


def observe(
    dataflow: int, mode: int, gemm: Gemm, grid: Grid, first_k: bool = True, early: int = 0
) -> OracleRun:
    """The oracle's run of ``gemm`` on ones: cycles and counts do not depend on the values."""
    packed = int(dataflows.packed_groups(dataflow, gemm, grid))
    operands = Operands(
        np.ones((gemm.groups, gemm.m, gemm.k), np.int64),
        np.ones((gemm.groups, gemm.k, gemm.n), np.int64),
        np.zeros((gemm.groups, gemm.n), np.int64),
    )
    array = OracleArray(grid.rows, grid.cols, packed, 32, True, early, grid.terms)
    return simulate_folds(dataflow, mode, operands, array, first_k)


def seen_work(run: OracleRun) -> ArrayWork:
    """The oracle's observations in the law's terms; ``lead`` concerns the tile before, see below."""
    return ArrayWork(
        load=run.entry,
        lead=0,
        body=run.last_entry - run.entry,
        last=run.stream_end - run.last_entry,
        skew=run.done - run.stream_end,
        compute=run.entered,
        wait_load=run.wait_load,
        wait_drain=run.wait_drain,
        stall=0,
    )


def seen_accesses(run: OracleRun) -> Accesses:
    return Accesses(
        run.ifmap_reads, run.weight_reads, run.psum_reads, run.psum_writes, run.pe_cycles
    )


def random_shapes(seed: int, count: int) -> Iterator[tuple[Gemm, Grid]]:
    """Small products on small arrays; every second one thin enough for groups to share folds, every third
    one on PEs that take several terms at once."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        m, k, n = (int(size) for size in rng.integers(1, 21, 3))
        rows, cols, groups = (int(size) for size in rng.integers(1, (10, 10, 7)))
        if index % 2:
            k, n = (k + 4) // 5, (n + 4) // 5
        terms = int(rng.integers(2, 6)) if index % 3 == 0 else 1
        yield Gemm(m, k, n, groups), wide_grid(rows, cols)._replace(terms=terms)


EDGES = [
    pytest.param(Gemm(1, 1, 1, 1), wide_grid(1, 1), id="one-mac"),
    pytest.param(Gemm(7, 5, 4, 1), wide_grid(1, 1), id="one-pe"),
    pytest.param(Gemm(7, 5, 4, 2), wide_grid(1, 6), id="one-row"),
    pytest.param(Gemm(7, 5, 4, 2), wide_grid(6, 1), id="one-column"),
    pytest.param(Gemm(1, 9, 9, 1), wide_grid(4, 4), id="one-output-row"),
    pytest.param(Gemm(9, 1, 9, 1), wide_grid(4, 4), id="one-reduction-step"),
    pytest.param(Gemm(9, 9, 1, 1), wide_grid(4, 4), id="one-channel"),
    pytest.param(Gemm(8, 8, 8, 1), wide_grid(4, 4), id="whole-folds"),
    pytest.param(Gemm(9, 7, 5, 1), wide_grid(4, 4), id="no-whole-fold"),
    pytest.param(Gemm(2, 3, 2, 1), wide_grid(9, 9), id="array-not-filled"),
    pytest.param(Gemm(6, 2, 1, 6), wide_grid(6, 6), id="depthwise-even"),
    pytest.param(Gemm(6, 2, 1, 5), wide_grid(6, 3), id="depthwise-rest"),
    pytest.param(Gemm(3, 1, 1, 5), wide_grid(8, 2), id="short-streams-rest"),
]


def check_cycles(dataflow: int, mode: int, gemm: Gemm, grid: Grid) -> None:
    run = observe(dataflow, mode, gemm, grid)
    work = ArrayWork(*(int(x) for x in dataflows.work(dataflow, mode, gemm, grid)))
    assert (gemm, grid, work._replace(lead=0)) == (gemm, grid, seen_work(run))
    assert work.load + work.body + work.last + work.skew == run.done
    assert run.mac_count == gemm.m * gemm.k * gemm.n * gemm.groups
    assert run.hazards == 0
    assert run.bus_peak == (1 if dataflow == OS else 0)


@pytest.mark.golden
@each_dataflow
def test_lead_between_tiles_is_the_wait_between_folds(dataflow: int) -> None:
    """Two row folds of one tile wait for the output bus as long as two tiles of one fold each."""
    grid = wide_grid(4, 2)
    both = observe(dataflow, PIPELINED, Gemm(8, 1, 2, 1), grid)
    half = dataflows.work(dataflow, PIPELINED, Gemm(4, 1, 2, 1), grid)
    assert half.lead == (both.wait_drain if dataflow == OS else 0)
    assert half.lead == (3 if dataflow == OS else 0)


@each_mode
@each_dataflow
def test_cycles_equal_the_oracle(dataflow: int, mode: int) -> None:
    for gemm, grid in random_shapes(seed=10 * dataflow + mode, count=CASES):
        check_cycles(dataflow, mode, gemm, grid)


@each_mode
@each_dataflow
@pytest.mark.parametrize(("gemm", "grid"), EDGES)
def test_cycles_equal_the_oracle_at_the_edges(
    dataflow: int, mode: int, gemm: Gemm, grid: Grid
) -> None:
    check_cycles(dataflow, mode, gemm, grid)


@each_mode
@each_dataflow
def test_a_bit_serial_array_is_slower_by_the_bits_of_a_weight(dataflow: int, mode: int) -> None:
    """Whatever moves in it moves once every so many cycles."""
    for gemm, grid in random_shapes(seed=40 + 10 * dataflow + mode, count=CASES // 5):
        seen = seen_work(observe(dataflow, mode, gemm, grid))
        for bits in (2, 3, 8):
            work = dataflows.work(dataflow, mode, gemm, grid._replace(step_cycles=bits))
            expected = ArrayWork(*(bits * cycles for cycles in seen))
            assert (gemm, grid, work._replace(lead=0)) == (gemm, grid, expected)


@each_dataflow
def test_a_narrow_port_stalls_wider_words_more(dataflow: int) -> None:
    """Four terms a PE ask four times as much of the port in a quarter of the cycles; a bit-serial array
    gives it time."""
    gemm, grid = Gemm(64, 64, 8, 1), Grid(8, 8, 4, 4, 8)
    plain, fused, serial = (
        dataflows.work(dataflow, PIPELINED, gemm, grid._replace(**changes))
        for changes in ({}, {"terms": 4}, {"step_cycles": 4})
    )
    assert plain.stall == 0
    assert fused.compute == plain.compute // 4
    assert fused.stall > 0
    assert serial.stall == 0
    enough = dataflows.work(dataflow, PIPELINED, gemm, grid._replace(terms=4, port_bytes=64))
    assert enough.stall == 0


@each_dataflow
def test_ideal_is_the_streams_alone(dataflow: int) -> None:
    for gemm, grid in random_shapes(seed=20 + dataflow, count=CASES):
        work = dataflows.work(dataflow, IDEAL, gemm, grid)
        streamed = observe(dataflow, PIPELINED, gemm, grid).entered
        assert work.body + work.last == work.compute == streamed
        assert work.load == work.skew == work.wait_load == work.wait_drain == work.stall == 0


@each_dataflow
def test_accesses_equal_the_oracle(dataflow: int) -> None:
    for index, (gemm, grid) in enumerate(random_shapes(seed=30 + dataflow, count=CASES)):
        first_k = index % 3 != 0
        run = observe(dataflow, index % 2, gemm, grid, first_k)
        counts = dataflows.accesses(dataflow, gemm, grid, first_k)
        assert (gemm, grid, counts) == (gemm, grid, seen_accesses(run))


@each_dataflow
def test_random_shapes_hold_what_matters(dataflow: int) -> None:
    packed, rest, partial = 0, 0, 0
    for gemm, grid in random_shapes(seed=10 * dataflow + PIPELINED, count=CASES):
        together = dataflows.packed_groups(dataflow, gemm, grid)
        packed += together > 1
        rest += gemm.groups % together > 0
        partial += gemm.k > grid.rows * grid.terms and gemm.k % grid.rows > 0
    assert min(packed, rest, partial) >= 20


@pytest.mark.parametrize(
    ("gemm", "grid"),
    [
        pytest.param(Gemm(8, 1, 4, 1), wide_grid(4, 4), id="short-streams"),
        pytest.param(Gemm(4, 6, 8, 1), wide_grid(4, 4), id="long-streams"),
        pytest.param(Gemm(2, 1, 1, 3), wide_grid(2, 2), id="shorter-rest"),
    ],
)
def test_output_buses_allow_no_earlier_stream(gemm: Gemm, grid: Grid) -> None:
    # Streams already back to back have slack; one cycle less than the observed wait never has.
    run = observe(OS, PIPELINED, gemm, grid)
    early = observe(OS, PIPELINED, gemm, grid, early=1)
    assert run.bus_peak == 1
    assert early.bus_peak == (2 if run.wait_drain else 1)


# Hand-worked. The 3 x 3 by 3 x 2 product on 2 x 2 PEs:
# ws: k in two folds; a fold loads 2 cycles, streams m = 3 rows, and its last result is
#     2 + 2 - 2 = 2 cycles behind. Serial 2 * (2 + 3 + 2) = 14; pipelined 2 + 3 + 3 + 2 = 10.
# os: m in two folds, each streams k = 3. Serial 2 * (3 + 2) = 10; pipelined 3 + 3 + 2 = 8.
# is: k and m in two folds each, each streams n = 2. Serial 4 * (2 + 2 + 2) = 24; pipelined
#     2 + 4 * 2 + 2 = 12.
# "slow load": 8 x 1 weights on a column of 4 PEs, one row of operands. The second fold's load takes
#     4 cycles from the start of the first one's only streaming cycle: 3 cycles of waiting.
# "groups" of 2 x 1 weights: two share the first fold on 5 x 2 PEs, one is left for a second fold.
#     ws: streams of 4, the load of 5 makes the second wait 1. is: m = 4 on 2 columns, so streams of
#     2, 2 (two groups) and 1, 1 (one group), starting 5 apart.
# "bus": 3 groups of 1 x 1 weights, m = 2, on 2 x 2 PEs. Two groups stream in cycles 0 and 1, their
#     sums are on the buses of column 0 in cycles 1 and 2, so the third group, which streams
#     a single cycle, must not enter before cycle 3: its row 0 is done at once. Waits 1 cycle.
SMALL = Gemm(3, 3, 2, 1)
GROUPS = Gemm(4, 2, 1, 3)
GOLDEN = [
    pytest.param(WS, SERIAL, SMALL, (2, 2), ArrayWork(2, 0, 7, 3, 2, 6, 2, 2, 0), id="ws-serial"),
    pytest.param(WS, PIPELINED, SMALL, (2, 2), ArrayWork(2, 0, 3, 3, 2, 6, 0, 0, 0), id="ws"),
    pytest.param(OS, SERIAL, SMALL, (2, 2), ArrayWork(0, 0, 5, 3, 2, 6, 0, 2, 0), id="os-serial"),
    pytest.param(OS, PIPELINED, SMALL, (2, 2), ArrayWork(0, 0, 3, 3, 2, 6, 0, 0, 0), id="os"),
    pytest.param(IS, SERIAL, SMALL, (2, 2), ArrayWork(2, 0, 18, 2, 2, 8, 6, 6, 0), id="is-serial"),
    pytest.param(IS, PIPELINED, SMALL, (2, 2), ArrayWork(2, 0, 6, 2, 2, 8, 0, 0, 0), id="is"),
    pytest.param(
        WS,
        PIPELINED,
        Gemm(1, 8, 1, 1),
        (4, 1),
        ArrayWork(4, 0, 4, 1, 3, 2, 3, 0, 0),
        id="slow-load",
    ),
    pytest.param(
        WS, PIPELINED, GROUPS, (5, 2), ArrayWork(5, 0, 5, 4, 5, 8, 1, 0, 0), id="ws-groups"
    ),
    pytest.param(
        IS, PIPELINED, GROUPS, (5, 2), ArrayWork(5, 0, 15, 1, 5, 6, 10, 0, 0), id="is-groups"
    ),
    pytest.param(
        OS, PIPELINED, Gemm(2, 1, 1, 3), (2, 2), ArrayWork(0, 0, 3, 1, 2, 3, 0, 1, 0), id="os-bus"
    ),
]


@pytest.mark.golden
@pytest.mark.parametrize(("dataflow", "mode", "gemm", "array", "expected"), GOLDEN)
def test_hand_worked_cycles(
    dataflow: int, mode: int, gemm: Gemm, array: tuple[int, int], expected: ArrayWork
) -> None:
    grid = wide_grid(*array)
    assert seen_work(observe(dataflow, mode, gemm, grid)) == expected
    assert dataflows.work(dataflow, mode, gemm, grid) == expected


@pytest.mark.golden
@pytest.mark.parametrize(
    ("dataflow", "gemm", "array", "expected"),
    [
        # Two k folds: the second one's 6 results read back the first one's.
        pytest.param(WS, SMALL, (2, 2), Accesses(9, 6, 6, 12, 18), id="ws"),
        # Two m folds: weights pass twice, each sum leaves once.
        pytest.param(OS, SMALL, (2, 2), Accesses(9, 12, 0, 6, 18), id="os"),
        pytest.param(IS, SMALL, (2, 2), Accesses(9, 12, 6, 12, 18), id="is"),
        # Two groups on the diagonal of 4 x 2 PEs, then one of 2 x 1: 4 rows * (8 + 2) PEs pass,
        # the 4 * 4 off the diagonal meeting a zero that nobody read.
        pytest.param(WS, GROUPS, (5, 2), Accesses(24, 6, 0, 12, 40), id="ws-groups"),
    ],
)
def test_hand_worked_accesses(
    dataflow: int, gemm: Gemm, array: tuple[int, int], expected: Accesses
) -> None:
    grid = wide_grid(*array)
    assert seen_accesses(observe(dataflow, PIPELINED, gemm, grid)) == expected
    assert dataflows.accesses(dataflow, gemm, grid, True) == expected


def scalesim_layers() -> list[dict[str, str]]:
    if not SCALESIM.is_file():
        pytest.skip(f"SCALE-Sim's reports are not in this checkout: no {SCALESIM.name}")
    with SCALESIM.open(newline="") as file:
        layers = list(csv.DictReader(file))
    assert len(layers) == 326
    # SCALE-Sim splits layers of such a name by channel; none is in this file, so all are held.
    assert not [layer["layer"] for layer in layers if "DP" in layer["layer"]]
    return layers


def test_serial_equals_scalesim() -> None:
    """Cycles (less stalls, which one layer has) and scratchpad accesses of SCALE-Sim 3.0.0."""
    for layer in scalesim_layers():
        size = {key: int(text) for key, text in layer.items() if text.isdecimal()}
        pixels = 1
        for axis in "hw":
            stride = size[f"stride_{axis}"]
            pixels *= (size[f"ifmap_{axis}"] - size[f"kernel_{axis}"] + 2 * stride - 1) // stride
        taps = size["kernel_h"] * size["kernel_w"] * size["channels"]
        gemm = Gemm(pixels, taps, size["filters"], 1)
        grid = wide_grid(size["array_rows"], size["array_cols"])
        dataflow = DATAFLOWS[layer["dataflow"]]
        work = dataflows.work(dataflow, SERIAL, gemm, grid)
        counts = dataflows.accesses(dataflow, gemm, grid, True)
        writes = counts.psum_writes
        if dataflow == OS:
            # It also counts the cells that empty while the array drains, per fold.
            row_folds, col_folds = -(-gemm.m // grid.rows), -(-gemm.n // grid.cols)
            writes += row_folds * col_folds * (grid.rows + grid.cols)
        total = work.load + work.body + work.last + work.skew - 1
        assert (layer, total, counts.ifmap_reads, counts.weight_reads, writes) == (
            layer,
            size["total_cycles"] - size["stall_cycles"],
            size["sram_ifmap_reads"],
            size["sram_filter_reads"],
            size["sram_ofmap_writes"],
        )
