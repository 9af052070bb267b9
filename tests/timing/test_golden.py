"""Hand-worked timings. Each case says how its cycles come about; ``@`` gives the cycle of an end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator.hwconfig import MemoryNumbers
from simulator.program.traffic import HOST, MATMUL, MOVE, VECTOR, vector_cycles
from simulator.program.transfers import Runs, meeting_cycles, transfer_cycles
from simulator.timing import plan as columns
from simulator.timing.events import simulate_plans
from simulator.timing.pipeline import time_plans
from simulator.timing.plan import COLUMNS, CommandPlan, Pace
from simulator.timing.result import CAUSES

pytestmark = pytest.mark.golden

PIPELINED = Pace(buffers=2, accumulator_buffers=2, serial=False)
SERIAL = PIPELINED._replace(serial=True)


def tile(**cycles: int) -> np.ndarray:
    row = np.zeros(COLUMNS, np.int64)
    row[columns.FIRST_K] = row[columns.LAST_K] = 1
    for name, value in cycles.items():
        row[getattr(columns, name.upper())] = value
    row[columns.COMPUTE] = row[columns.BODY] + row[columns.LAST]
    return row


def product(*tiles: np.ndarray, prefetch: int = 0) -> CommandPlan:
    return CommandPlan(MATMUL, np.stack(tiles), prefetch, 0)


def others(kind: int, *tiles: np.ndarray) -> CommandPlan:
    return CommandPlan(kind, np.stack(tiles), 0, 0)


def alone(kind: int, cycles: int) -> CommandPlan:
    return CommandPlan(kind, np.zeros((0, COLUMNS), np.int64), 0, cycles)


FULL = tile(operands=10, load=4, last=6, skew=3, vector=2, result=5)
ON_CHIP = tile(load=4, body=2, last=6, skew=3, vector=2)
LATE = tile(load=4, last=6, skew=3, vector=1)

CASES: dict[str, tuple[list[CommandPlan], Pace, list[dict[str, int]]]] = {
    # Operands @10, loaded @14, streamed @20, results @23, vector @25, stored @30.
    "one tile through every stage": (
        [product(FULL)], PIPELINED,
        [{"compute": 6, "fill_drain": 3, "weight_load": 4, "dram_stall": 15, "vector": 2}],
    ),
    # Bus: operands 0 @10, 1 @20, result 0 @30 (ready @25), operands 2 @40, results 1 @45, 2 @60.
    # Array: tile 0 14..20, tile 1 loads 20..24, streams @30, tile 2 loads 40..44, streams @50.
    "the bus takes turns": (
        [product(FULL, FULL, FULL)], PIPELINED,
        [{"compute": 18, "fill_drain": 3, "weight_load": 12, "dram_stall": 25, "vector": 2}],
    ),
    # With one buffer operands 1 wait for the ofmap of tile 0, stored @30: 30 cycles each. From 20 to 40
    # the array waits for them.
    "one buffer": (
        [product(FULL, FULL)], PIPELINED._replace(buffers=1),
        [{"compute": 12, "fill_drain": 3, "weight_load": 8, "dram_stall": 35, "vector": 2}],
    ),
    # Load @4, stream @12 while tile 1 loads (@10), stream @20, results @23, vector @25.
    "the next load hides": (
        [product(ON_CHIP, ON_CHIP)], PIPELINED,
        [{"compute": 16, "fill_drain": 3, "weight_load": 4, "vector": 2}],
    ),
    # Load @4, stream @12, results @15; load @19, stream @27, results @30, vector @32.
    "serial": (
        [product(ON_CHIP, ON_CHIP)], SERIAL,
        [{"compute": 16, "fill_drain": 6, "weight_load": 8, "vector": 2}],
    ),
    # Tile 1 waits for tile 0's results @15 and vector @17, streams @25, results @28, vector @30.
    "one accumulator buffer": (
        [product(ON_CHIP, ON_CHIP)], PIPELINED._replace(accumulator_buffers=1),
        [{"compute": 16, "fill_drain": 6, "weight_load": 4, "vector": 4}],
    ),
    # Two reduction tiles make one output: no vector work and no waiting between them.
    # Load @2, stream @7 and @12, results @13, vector @16.
    "a reduction in two tiles": (
        [product(
            tile(load=2, last=5, skew=1, last_k=0), tile(load=2, last=5, skew=1, vector=3, first_k=0)
        )],
        PIPELINED._replace(accumulator_buffers=1),
        [{"compute": 10, "fill_drain": 1, "weight_load": 2, "vector": 3}],
    ),
    # Output stationary: stream @2, the output bus is free 3 cycles later, stream 5..7, results @11.
    "the output bus keeps streams apart": (
        [product(tile(last=2, skew=4, vector=1), tile(last=2, skew=4, vector=1, lead=3))], PIPELINED,
        [{"compute": 4, "fill_drain": 7, "vector": 1}],
    ),
    # Bus: 0..6, 6..12, prefetch 12..32. Vector 6..10, 12..16. Then load 32..36, stream @42,
    # results @45, vector @46.
    "weights are prefetched": (
        [others(VECTOR, *[tile(operands=6, vector=4)] * 2), product(LATE, prefetch=20)], PIPELINED,
        [
            {"dram_stall": 8, "vector": 8},
            {"compute": 6, "fill_drain": 3, "weight_load": 4, "dram_stall": 16, "vector": 1},
        ],
    ),
    # The host runs for 100 cycles; weights arrive @40 meanwhile.
    "prefetch behind the host": (
        [alone(HOST, 100), product(LATE, prefetch=40)], PIPELINED,
        [{"host": 100}, {"compute": 6, "fill_drain": 3, "weight_load": 4, "vector": 1}],
    ),
    # On chip: 7 cycles of the DMA. Through DRAM: read @10, written @15.
    "moves": (
        [alone(MOVE, 7), others(MOVE, tile(operands=10, result=5))], PIPELINED,
        [{"scratchpad_stall": 7}, {"dram_stall": 15}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_hand_worked_cases(name: str) -> None:
    plans, pace, expected = CASES[name]
    timing = time_plans(plans, pace)
    found = [{k: v for k, v in c.by_cause.items() if v} for c in timing.commands]
    assert found == expected
    assert timing.cycles == sum(sum(causes.values()) for causes in expected)
    assert simulate_plans(plans, pace).cycles == timing.cycles


def test_spans_of_one_tile() -> None:
    (command,) = time_plans([product(FULL)], PIPELINED).commands
    assert command.spans.tolist() == [[10, 14, 20, 23, 23, 25, 30, 0, 10, 25, 30]]
    assert list(command.by_cause) == list(CAUSES)


def test_bytes_that_trail_their_turn() -> None:
    """Two tiles, operands 3 cycles late: @10 the bus is free and takes the second tile's, @13 the first's
    are there; its ofmap has the bus after them, @28 to 33."""
    (command,) = time_plans([product(FULL, FULL)], PIPELINED._replace(trailing=3)).commands
    assert command.spans[0].tolist() == [13, 17, 23, 26, 26, 28, 33, 0, 10, 28, 33]
    assert command.spans[1, :2].tolist() == [23, 27]


def test_turnaround_and_refresh() -> None:
    """The ofmap, ready @25, follows a read that ended @10 long ago, and a refresh from 26 to 30 cuts it."""
    (command,) = time_plans(
        [product(FULL)], PIPELINED._replace(turnaround=7, interval=30, refresh=4)
    ).commands
    assert command.spans[0, -2:].tolist() == [25, 34]
    # Operands that end @10, and a write that wants to begin @4: it waits for 7 cycles from @10 on.
    plan = others(VECTOR, tile(operands=2, vector=2, result=3), tile(operands=8))
    (command,) = time_plans([plan], PIPELINED._replace(turnaround=7)).commands
    assert command.spans[0, -2:].tolist() == [17, 20]


def memory(**changes: Any) -> MemoryNumbers:
    """100 MHz, a DMA of 8 bytes per cycle and 400 MB/s: 4 bytes per cycle."""
    values = dict.fromkeys(MemoryNumbers._fields, 0) | {
        "bytes_per_cycle": 8, "burst_bytes": 64, "request_bytes": 64, "latency_cycles": 10,
        "clock_khz": 100_000, "kb_per_s": 400_000, "banks": 1,
    }  # fmt: skip
    return MemoryNumbers(**{**values, **changes})


ROWS = {"row_bytes": 1024, "row_cycle_ps": 400_000}


@pytest.mark.parametrize(
    ("runs", "changes", "cycles"),
    [
        (Runs(0, 1, 0), {}, 0),  # nothing moves, no latency
        (Runs(1, 1, 0), {}, 10 + 16),  # one burst of 64 bytes at 4 bytes per cycle
        (Runs(64, 1, 0), {}, 10 + 16),
        (Runs(65, 1, 0), {}, 10 + 32),
        (Runs(100, 1, 0), {"kb_per_s": 4_000_000}, 10 + 16),  # now the DMA is the limit: 128 / 8
        (Runs(100, 1, 0), {"kb_per_s": 300_000}, 10 + 43),  # 128 / 3, rounded up
        (Runs(100, 1, 0), {"latency_cycles": 0, "burst_bytes": 1}, 25),
        (Runs(40, 5, 64), {}, 10 + 5 * 16),  # five runs of 8 bytes, each its own burst
        # Four runs of 64 bytes that begin 0, 16, 32 and 48 bytes into a burst: 1 + 2 + 2 + 2 of them.
        (Runs(256, 4, 80), {}, 10 + 7 * 16),
        # 16 bursts, each a row of its own of which one opens every 40 cycles; the data take 256 cycles.
        (Runs(1024, 16, 4096), ROWS, 10 + 640),
        (Runs(1024, 16, 4096), {**ROWS, "banks": 4}, 10 + 256),
        (Runs(1024, 1, 0), ROWS, 10 + 256),
        # 16 requests of 64 bytes, 3 at once for 10 + 8 cycles each: 96, hidden by 256 of DRAM.
        (Runs(1024, 1, 0), {"outstanding": 3}, 256),
        (Runs(1024, 1, 0), {"outstanding": 1, "kb_per_s": 4_000_000}, 16 * 18),
        (Runs(1024, 1, 0), {"outstanding": 1, "kb_per_s": 4_000_000, "request_bytes": 256}, 4 * 42),
    ],
)  # fmt: skip
def test_transfers(runs: Runs, changes: dict[str, int], cycles: int) -> None:
    assert transfer_cycles(runs, False, memory(**changes)) == cycles


@pytest.mark.parametrize(("banks", "cycles"), [(0, 0), (1, 13), (4, 4), (64, 1)])
def test_the_dma_meets_the_array_in_a_bank(banks: int, cycles: int) -> None:
    assert meeting_cycles(100, memory(shared_banks=banks)) == cycles  # 13 accesses of 8 bytes


def test_vector_unit() -> None:
    assert vector_cycles(10, 3, 8) == 4  # 30 issue slots on 8 lanes
