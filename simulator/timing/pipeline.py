"""The max-plus recurrence: every start is the latest of what it waits for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.hwconfig import OperatingPoint
from simulator.jit import jit
from simulator.program.program import Program
from simulator.program.traffic import HOST
from simulator.timing.plan import (
    BODY,
    COMPUTE,
    FIRST_K,
    LAST,
    LAST_K,
    LEAD,
    LOAD,
    OPERANDS,
    RESULT,
    SKEW,
    STALL,
    VECTOR,
    WAIT_DRAIN,
    WAIT_LOAD,
    CommandPlan,
    Pace,
    is_product,
    pace_of,
    plan_program,
)
from simulator.timing.result import (
    CAUSES,
    OPERANDS_END,
    RESULT_END,
    RESULTS,
    SPAN_COLUMNS,
    STREAM_END,
    STREAM_START,
    VECTOR_END,
    VECTOR_START,
    CommandTiming,
    Timing,
)

# Places in `CAUSES`.
_COMPUTING, _DRAINING, _LOADING, _PORT, _BUS, _VECTOR_UNIT, _HOST = range(7)


class Border(NamedTuple):
    """What crosses the border between two commands, in absolute cycles."""

    start: int
    bus_free: int
    prefetched: int  # when this command's prefetched weights are on chip


@jit
def _fetch(plan, spans, tile, pace, border, next_prefetch, bus, prefetched):
    """Transfer the operands of ``tile``, and behind those of the last tile the next command's prefetch;
    returns (bus free, prefetch done)."""
    arrived = border.start
    if plan[tile, OPERANDS] > 0:
        begin = max(bus, border.start)
        if tile >= pace.buffers:
            begin = max(begin, spans[tile - pace.buffers, STREAM_END])
        bus = begin + plan[tile, OPERANDS]
        arrived = bus
    if tile == 0:
        arrived = max(arrived, border.prefetched)
    spans[tile, OPERANDS_END] = arrived
    if tile == plan.shape[0] - 1 and next_prefetch > 0:
        bus = prefetched = max(bus, border.start) + next_prefetch
    return bus, prefetched


@jit
def _explain_gap(plan, spans, tile, output, outputs, loading, cursor, pace, causes):
    """Say why the array stood still from ``cursor`` to this tile's first operand."""
    start = spans[tile, STREAM_START]
    if start <= cursor:
        return
    if start == loading + plan[tile, LOAD]:
        loaded_from = max(cursor, loading)
        causes[_LOADING] += start - loaded_from
        causes[_BUS] += loaded_from - cursor
        return
    if tile > 0 and start == spans[tile - 1, STREAM_END] + plan[tile, LEAD]:
        causes[_DRAINING] += start - cursor
        return
    # The accumulator buffer was taken: results still on their way, then the vector unit.
    before = outputs[output - pace.accumulator_buffers]
    drained = min(max(cursor, spans[before, RESULTS]), start)
    causes[_DRAINING] += drained - cursor
    busy_from = min(max(drained, spans[before, VECTOR_START]), start)
    causes[_BUS] += busy_from - drained
    causes[_VECTOR_UNIT] += start - busy_from


@jit
def _play_products(plan, pace, border, next_prefetch, spans, outputs, causes):
    """A command on the array; returns (end, bus free, next command's prefetch done)."""
    count = plan.shape[0]
    bus, prefetched = border.bus_free, np.int64(0)
    for tile in range(min(pace.buffers, count)):
        bus, prefetched = _fetch(plan, spans, tile, pace, border, next_prefetch, bus, prefetched)
    loader = streamer = vector = cursor = end = border.start
    output = 0
    for tile in range(count):
        loading = max(spans[tile, OPERANDS_END], loader)
        start = max(loading + plan[tile, LOAD], streamer)
        if tile > 0:
            start = max(start, streamer + plan[tile, LEAD])
        if plan[tile, FIRST_K] and output >= pace.accumulator_buffers:
            start = max(start, spans[outputs[output - pace.accumulator_buffers], VECTOR_END])
        swap = start + plan[tile, BODY]
        stop = swap + plan[tile, LAST]
        results = stop + plan[tile, SKEW]
        spans[tile, STREAM_START], spans[tile, STREAM_END], spans[tile, RESULTS] = (
            start,
            stop,
            results,
        )
        _explain_gap(plan, spans, tile, output, outputs, loading, cursor, pace, causes)
        causes[_COMPUTING] += plan[tile, COMPUTE]
        causes[_DRAINING] += plan[tile, WAIT_DRAIN]
        causes[_LOADING] += plan[tile, WAIT_LOAD]
        causes[_PORT] += plan[tile, STALL]
        cursor = stop
        loader, streamer = swap, stop
        if pace.serial:
            loader = streamer = cursor = results
            causes[_DRAINING] += plan[tile, SKEW]
        end = max(end, results)
        if plan[tile, LAST_K]:
            begin = max(vector, results)
            if plan[tile, RESULT] > 0 and output >= pace.buffers:
                begin = max(begin, spans[outputs[output - pace.buffers], RESULT_END])
            vector = begin + plan[tile, VECTOR]
            spans[tile, VECTOR_START], spans[tile, VECTOR_END] = begin, vector
            if plan[tile, RESULT] > 0:
                bus = max(bus, vector) + plan[tile, RESULT]
                spans[tile, RESULT_END] = bus
                end = max(end, bus)
            outputs[output] = tile
            output += 1
            end = max(end, vector)
        ahead = tile + pace.buffers
        if ahead < count:
            bus, prefetched = _fetch(
                plan, spans, ahead, pace, border, next_prefetch, bus, prefetched
            )
    _explain_tail(plan, spans, outputs, output, pace, cursor, end, causes)
    return end, bus, prefetched


@jit
def _explain_tail(plan, spans, outputs, output, pace, cursor, end, causes):
    """From the last operand to the end: drain, vector unit, transfer out."""
    tile = outputs[output - 1]
    results = max(spans[tile, RESULTS], cursor)
    causes[_DRAINING] += results - cursor
    begin, done = spans[tile, VECTOR_START], spans[tile, VECTOR_END]
    waited_for_bus = False
    if plan[tile, RESULT] > 0 and output > pace.buffers:
        waited_for_bus = begin == spans[outputs[output - 1 - pace.buffers], RESULT_END]
    waited = max(begin - results, 0)
    if waited_for_bus:
        causes[_BUS] += waited
    else:
        causes[_VECTOR_UNIT] += waited
    causes[_VECTOR_UNIT] += done - max(begin, results)
    causes[_BUS] += end - done


@jit
def _play_others(plan, pace, border, next_prefetch, spans, causes):
    """A vector command or a copy through DRAM: operands, vector unit, result, tile by tile."""
    count = plan.shape[0]
    bus, prefetched = border.bus_free, np.int64(0)
    for tile in range(min(pace.buffers, count)):
        bus, prefetched = _fetch(plan, spans, tile, pace, border, next_prefetch, bus, prefetched)
    vector = end = border.start
    for tile in range(count):
        begin = max(vector, spans[tile, OPERANDS_END])
        if plan[tile, RESULT] > 0 and tile >= pace.buffers:
            begin = max(begin, spans[tile - pace.buffers, RESULT_END])
        causes[_BUS] += begin - vector
        causes[_PORT] += plan[tile, STALL]
        causes[_VECTOR_UNIT] += plan[tile, VECTOR] - plan[tile, STALL]
        vector = begin + plan[tile, VECTOR]
        spans[tile, STREAM_END], spans[tile, VECTOR_START], spans[tile, VECTOR_END] = (
            vector,
            begin,
            vector,
        )
        end = max(end, vector)
        if plan[tile, RESULT] > 0:
            bus = max(bus, vector) + plan[tile, RESULT]
            spans[tile, RESULT_END] = bus
            end = max(end, bus)
        ahead = tile + pace.buffers
        if ahead < count:
            bus, prefetched = _fetch(
                plan, spans, ahead, pace, border, next_prefetch, bus, prefetched
            )
    causes[_BUS] += end - vector
    return end, bus, prefetched


def _play(
    plan: CommandPlan, pace: Pace, border: Border, next_prefetch: int
) -> tuple[CommandTiming, Border]:
    causes = np.zeros(len(CAUSES), np.int64)
    spans = np.full((plan.tiles.shape[0], SPAN_COLUMNS), -1, np.int64)
    if plan.alone_cycles:
        end = border.start + plan.alone_cycles
        causes[_HOST if plan.kind == HOST else _PORT] = plan.alone_cycles
        bus = border.bus_free
        prefetch_done = 0
        if next_prefetch:
            # An on-chip copy holds the DMA itself; the host does not.
            free = border.start if plan.kind == HOST else end
            bus = prefetch_done = max(bus, free) + next_prefetch
    elif is_product(plan):
        outputs = np.zeros(plan.tiles.shape[0], np.int64)
        end, bus, prefetch_done = _play_products(
            plan.tiles, pace, border, next_prefetch, spans, outputs, causes
        )
    else:
        end, bus, prefetch_done = _play_others(
            plan.tiles, pace, border, next_prefetch, spans, causes
        )
    by_cause = {name: int(c) for name, c in zip(CAUSES, causes, strict=True)}
    timing = CommandTiming(border.start, int(end), by_cause, spans, border.prefetched)
    return timing, Border(int(end), int(bus), int(prefetch_done))


def time_plans(plans: list[CommandPlan], pace: Pace) -> Timing:
    """Play planned commands one after another."""
    border = Border(0, 0, 0)
    commands = []
    for index, plan in enumerate(plans):
        following = plans[index + 1].prefetch_cycles if index + 1 < len(plans) else 0
        timing, border = _play(plan, pace, border, following)
        commands.append(timing)
    return Timing(tuple(commands))


def time_program(program: Program, point: OperatingPoint) -> Timing:
    """Cycles of ``program`` at ``point``'s clock."""
    return time_plans(plan_program(program, point), pace_of(program.device))
