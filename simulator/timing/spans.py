"""What every engine does when: the spans behind traces, charts and power over time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.hwconfig import OperatingPoint
from simulator.program.program import Program
from simulator.program.traffic import HOST
from simulator.timing.plan import OPERANDS, RESULT, CommandPlan, plan_program
from simulator.timing.result import (
    OPERANDS_TURN,
    OPERANDS_TURN_END,
    RESULT_TURN,
    RESULT_TURN_END,
    STREAM_END,
    STREAM_START,
    VECTOR_END,
    VECTOR_START,
    CommandTiming,
    Timing,
)

COMMANDS, BUS, ARRAY, VECTOR, HOST_TRACK = "commands", "DRAM bus", "array", "vector unit", "host"
TRACKS = (COMMANDS, BUS, ARRAY, VECTOR, HOST_TRACK)


class Span(NamedTuple):
    """``track`` does ``what`` for a tile of a command (both by number; -1: all of it) in the cycles from
    ``start`` to before ``end``."""

    track: str
    what: str
    command: int
    tile: int
    start: int
    end: int


def spans_of(program: Program, point: OperatingPoint, timing: Timing, core: int = 0) -> list[Span]:
    """Every span of a timed program, on one of the device's cores.

    Those of one engine never overlap; the array's are from the first operand that goes into it to the last
    one, waits for loads between folds included; those of the bus include the refreshes that hold a
    transfer up.
    """
    found: list[Span] = []
    plans = plan_program(program, point, core)
    played = timing.cores[core] if timing.cores else timing
    for index, (plan, own) in enumerate(zip(plans, played.commands, strict=True)):
        name = program.commands[index].operator
        found.append(Span(COMMANDS, name, index, -1, own.start_cycle, own.end_cycle))
        if plan.prefetch_cycles:
            found.append(Span(BUS, "prefetch", index, 0, *own.prefetch_turn))
        if plan.alone_cycles:
            track, what = (HOST_TRACK, name) if plan.kind == HOST else (BUS, "copy on chip")
            found.append(Span(track, what, index, -1, own.start_cycle, own.end_cycle))
        elif len(plan.tiles):
            found += _tiles(index, name, plan, own)
    return found


def _tiles(index: int, name: str, plan: CommandPlan, timing: CommandTiming) -> list[Span]:
    spans, found = timing.spans, []
    for tile in range(len(spans)):
        row, cycles = spans[tile], plan.tiles[tile]
        if cycles[OPERANDS]:
            turn = _pair(row, OPERANDS_TURN, OPERANDS_TURN_END)
            found.append(Span(BUS, "operands", index, tile, *turn))
        if row[STREAM_START] >= 0:
            found.append(Span(ARRAY, name, index, tile, *_pair(row, STREAM_START, STREAM_END)))
        if row[VECTOR_START] >= 0 and row[VECTOR_END] > row[VECTOR_START]:
            found.append(Span(VECTOR, name, index, tile, *_pair(row, VECTOR_START, VECTOR_END)))
        if cycles[RESULT]:
            turn = _pair(row, RESULT_TURN, RESULT_TURN_END)
            found.append(Span(BUS, "ofmap", index, tile, *turn))
    return found


def _pair(row: np.ndarray, start: int, end: int) -> tuple[int, int]:
    return int(row[start]), int(row[end])
