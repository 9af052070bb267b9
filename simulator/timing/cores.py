"""A program on all cores of its device, which share the DRAM."""

from __future__ import annotations

import numpy as np

from simulator.hwconfig import OperatingPoint
from simulator.program.program import Program
from simulator.program.transfers import one_run, trailing_cycles, transfer_cycles
from simulator.timing.pipeline import period_cycles, time_cores, time_program
from simulator.timing.plan import OPERANDS, RESULT, CommandPlan, pace_of, plan_program
from simulator.timing.result import (
    OPERANDS_TURN,
    OPERANDS_TURN_END,
    RESULT_TURN,
    RESULT_TURN_END,
    Timing,
)


def time_device(program: Program, point: OperatingPoint) -> Timing:
    """Cycles of ``program`` at ``point``'s clock.

    On several cores the event model says how long transfers take that contend for the DRAM, and the
    recurrence, played with those, why everything takes as long as it does. A command's timing is that of
    the core that ends it last; all of them are in ``Timing.cores``.
    """
    if program.device.cores == 1:
        return time_program(program, point)
    from simulator.timing.events import simulate_team  # simpy is loaded for those who need it

    pace = pace_of(program.device, point)
    cores = [plan_program(program, point, core) for core in range(program.device.cores)]
    events = simulate_team(cores, pace)
    played = [
        [
            _as_played(plan, spans, turn)
            for plan, spans, turn in zip(plans, own.spans, own.prefetch_turns, strict=True)
        ]
        for plans, own in zip(cores, events, strict=True)
    ]
    # Transfers are as long as they were: refreshes have held them up already.
    timings = time_cores(played, pace._replace(refresh=0, interval=0))
    for timing, own in zip(timings, events, strict=True):
        assert [(c.start_cycle, c.end_cycle) for c in timing.commands] == list(own.borders)
    last = [
        max(same, key=lambda c: c.end_cycle)
        for same in zip(*(t.commands for t in timings), strict=True)
    ]
    free = time_cores(cores, pace)
    return Timing(tuple(last), tuple(timings), max(timing.cycles for timing in free))


def _as_played(plan: CommandPlan, spans: np.ndarray, prefetch: tuple[int, int]) -> CommandPlan:
    """``plan`` with its transfers as long as their turns were."""
    tiles = plan.tiles.copy()
    for cycles, start, end in (
        (OPERANDS, OPERANDS_TURN, OPERANDS_TURN_END), (RESULT, RESULT_TURN, RESULT_TURN_END)
    ):  # fmt: skip
        moved = tiles[:, cycles] > 0
        tiles[moved, cycles] = spans[moved, end] - spans[moved, start]
    early = prefetch[1] - prefetch[0] if plan.prefetch_cycles else 0
    return plan._replace(tiles=tiles, prefetch_cycles=early)


def time_copies(program: Program, point: OperatingPoint, copies: int) -> int:
    """Cycles of an inference on each of so many cores at the same time, until the last one is done.

    ``program`` is for one core.
    """
    from simulator.timing.events import simulate_copies

    plans, pace = plan_program(program, point), pace_of(program.device, point)
    return max(timing.cycles for timing in simulate_copies(plans, copies, pace))


def steady_period(program: Program, point: OperatingPoint, alone: Timing) -> int:
    """Cycles from one inference to the next where they follow each other without a break; ``alone`` is
    the timing of one. On several cores it is the same: none begins early there."""
    if alone.cores:
        return alone.cycles
    return period_cycles(plan_program(program, point), pace_of(program.device, point))


def loading_cycles(program: Program, point: OperatingPoint) -> int:
    """Cycles to load, once, the weights that then stay on chip."""
    memory = program.device.numbers(point).memory
    cycles = transfer_cycles(one_run(program.resident_weight_bytes), False, memory)
    return int(cycles + trailing_cycles(memory) if cycles else 0)
