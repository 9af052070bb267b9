"""What every engine does when, as spans and as a trace file that ui.perfetto.dev and Chrome open."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from simulator.program.traffic import HOST
from simulator.result import Result
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


def spans_of(result: Result, core: int = 0) -> list[Span]:
    """Every span of a run, on one of the device's cores.

    Those of one engine never overlap; the array's are from the first operand that goes into it to the last
    one, waits for loads between folds included; those of the bus include the refreshes that hold a
    transfer up.
    """
    found: list[Span] = []
    plans = plan_program(result.program, result.point, core)
    played = result.timing.cores[core] if result.timing.cores else result.timing
    for index, (plan, timing) in enumerate(zip(plans, played.commands, strict=True)):
        name = result.program.commands[index].operator
        found.append(Span(COMMANDS, name, index, -1, timing.start_cycle, timing.end_cycle))
        if plan.prefetch_cycles:
            found.append(Span(BUS, "prefetch", index, 0, *timing.prefetch_turn))
        if plan.alone_cycles:
            track, what = (HOST_TRACK, name) if plan.kind == HOST else (BUS, "copy on chip")
            found.append(Span(track, what, index, -1, timing.start_cycle, timing.end_cycle))
        elif len(plan.tiles):
            found += _tiles(index, name, plan, timing)
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


def trace_of(result: Result) -> dict[str, Any]:
    """The run in Chrome's trace event format: complete events, microseconds at the point's clock; every
    core is a process."""
    per_cycle_us = 1 / result.point.clock_mhz
    threads = {track: number for number, track in enumerate(TRACKS, 1)}
    events: list[dict[str, Any]] = []
    cores = len(result.timing.cores) or 1
    for core in range(cores):
        process = core + 1
        name = f"{result.model.name} on {result.device.name}"
        name += f", core {process} of {cores}" if cores > 1 else ""
        events.append(
            {"ph": "M", "pid": process, "tid": 0, "name": "process_name", "args": {"name": name}}
        )
        for track, tid in threads.items():
            about = {"pid": process, "tid": tid, "ph": "M"}
            events.append({**about, "name": "thread_name", "args": {"name": track}})
            events.append({**about, "name": "thread_sort_index", "args": {"sort_index": tid}})
        for span in spans_of(result, core):
            details: dict[str, Any] = {"layer": result.layers[span.command].name}
            if span.tile >= 0:
                details["tile"] = span.tile
            details |= {"first_cycle": span.start, "cycles": span.end - span.start}
            events.append({
                "ph": "X", "pid": process, "tid": threads[span.track], "name": span.what,
                "ts": span.start * per_cycle_us, "dur": (span.end - span.start) * per_cycle_us,
                "args": details,
            })  # fmt: skip
    return {
        "displayTimeUnit": "ns",
        "otherData": {"clock_mhz": result.point.clock_mhz, "operating_point": result.point.name},
        "traceEvents": events,
    }
