"""Random plans for the timing engines: consistent, but free of any device or program."""

from __future__ import annotations

import numpy as np

from simulator.program.traffic import HOST, MATMUL, MOVE, VECTOR
from simulator.timing import plan as columns
from simulator.timing.plan import COLUMNS, CommandPlan, Pace


def _cycles(rng: np.random.Generator, zero_often: bool = False) -> int:
    """Durations of very different size, so that every stage is the slowest in some plan."""
    if zero_often and rng.integers(3) == 0:
        return 0
    return int(rng.integers(0, int(rng.choice([2, 10, 100]))))


def _product(rng: np.random.Generator, pace: Pace) -> np.ndarray:
    chain, outputs = int(rng.integers(1, 4)), int(rng.integers(1, 8))
    stores = bool(rng.integers(2))
    skew = _cycles(rng)  # the array's, the same for all tiles
    rows = np.zeros((chain * outputs, COLUMNS), np.int64)
    for tile, row in enumerate(rows):
        row[columns.OPERANDS] = _cycles(rng, True)
        row[columns.BODY], row[columns.LAST] = _cycles(rng, True), _cycles(rng) + 1
        row[columns.SKEW] = skew
        # Where nothing loads, the output bus keeps streams apart; never in serial mode.
        row[columns.LOAD] = _cycles(rng, True)
        if row[columns.LOAD] == 0 and not pace.serial:
            row[columns.LEAD] = _cycles(rng, True)
        total = int(row[columns.BODY] + row[columns.LAST])
        cuts = np.sort(rng.integers(0, total + 1, 3))
        parts = np.diff(np.concatenate([[0], cuts, [total]]))
        row[columns.COMPUTE : columns.STALL + 1] = parts
        row[columns.FIRST_K] = tile % chain == 0
        if tile % chain == chain - 1:
            row[columns.LAST_K] = 1
            row[columns.VECTOR] = _cycles(rng, True)
            row[columns.RESULT] = 1 + _cycles(rng) if stores else 0
    return rows


def _others(rng: np.random.Generator) -> np.ndarray:
    rows = np.zeros((int(rng.integers(1, 12)), COLUMNS), np.int64)
    stores = bool(rng.integers(2))
    for row in rows:
        row[columns.OPERANDS] = _cycles(rng, True)
        row[columns.VECTOR] = _cycles(rng, True)
        row[columns.RESULT] = 1 + _cycles(rng) if stores else 0
        row[columns.FIRST_K] = row[columns.LAST_K] = 1
    return rows


def random_plans(rng: np.random.Generator) -> tuple[list[CommandPlan], Pace]:
    """One to six commands of any kind, and buffers 1 to 4."""
    pace = Pace(int(rng.integers(1, 5)), int(rng.integers(1, 5)), bool(rng.integers(3) == 0))
    if rng.integers(2):
        refresh = _cycles(rng, True)
        pace = pace._replace(
            trailing=_cycles(rng, True), turnaround=_cycles(rng, True), refresh=refresh,
            interval=2 * refresh + _cycles(rng) if refresh else 0, command=_cycles(rng, True),
        )  # fmt: skip
    plans = []
    for index in range(int(rng.integers(1, 7))):
        kind = int(rng.choice([MATMUL, MATMUL, MATMUL, VECTOR, MOVE, HOST]))
        if kind == HOST or (kind == MOVE and rng.integers(2)):
            nothing = np.zeros((0, COLUMNS), np.int64)
            plans.append(CommandPlan(kind, nothing, 0, 1 + _cycles(rng)))
        elif kind == MATMUL:
            prefetch = 1 + _cycles(rng) if index and rng.integers(2) else 0
            plans.append(CommandPlan(kind, _product(rng, pace), prefetch, 0))
        else:
            plans.append(CommandPlan(kind, _others(rng), 0, 0))
    return plans, pace
