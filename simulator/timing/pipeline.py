"""The max-plus recurrence: every start is the latest of what it waits for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.hwconfig import OperatingPoint
from simulator.jit import jit
from simulator.program.program import Program
from simulator.program.traffic import HOST
from simulator.timing.plan import CommandPlan, Pace, is_product, pace_of, plan_program
from simulator.timing.result import CAUSES, SPAN_COLUMNS, CommandTiming, Timing


class Border(NamedTuple):
    """What crosses the border between two commands, in absolute cycles."""

    start: int
    bus_free: int
    prefetched: int  # when this command's prefetched weights are on chip


@jit
def _operands(plan, spans, tile, pace, border, bus):
    """Transfer the operands of ``tile``; returns when the bus is free again."""
    arrived = border.start
    if plan[tile, 0] > 0:
        begin = max(bus, border.start)
        if tile >= pace.buffers:
            begin = max(begin, spans[tile - pace.buffers, 2])
        bus = begin + plan[tile, 0]
        arrived = bus
    if tile == 0:
        arrived = max(arrived, border.prefetched)
    spans[tile, 0] = arrived
    return bus


@jit
def _explain_gap(plan, spans, tile, output, outputs, loading, cursor, pace, causes):
    """Say why the array stood still from ``cursor`` to this tile's first operand."""
    start = spans[tile, 1]
    if start <= cursor:
        return
    if start == loading + plan[tile, 1]:
        loaded_from = max(cursor, loading)
        causes[2] += start - loaded_from
        causes[4] += loaded_from - cursor
        return
    if tile > 0 and start == spans[tile - 1, 2] + plan[tile, 13]:
        causes[1] += start - cursor
        return
    # The accumulator buffer was taken: results still on their way, then the vector unit.
    before = outputs[output - pace.accumulator_buffers]
    drained = min(max(cursor, spans[before, 3]), start)
    causes[1] += drained - cursor
    busy_from = min(max(drained, spans[before, 4]), start)
    causes[4] += busy_from - drained
    causes[5] += start - busy_from


@jit
def _play_products(plan, pace, border, next_prefetch, spans, outputs, causes):
    """A command on the array; returns (end, bus free, next command's prefetch done)."""
    count = plan.shape[0]
    bus = border.bus_free
    prefetch_done = np.int64(0)
    for tile in range(min(pace.buffers, count)):
        bus = _operands(plan, spans, tile, pace, border, bus)
    if count <= pace.buffers and next_prefetch > 0:
        bus = max(bus, border.start) + next_prefetch
        prefetch_done = bus
    loader = streamer = vector = cursor = end = border.start
    output = 0
    for tile in range(count):
        loading = max(spans[tile, 0], loader)
        start = max(loading + plan[tile, 1], streamer)
        if tile > 0:
            start = max(start, streamer + plan[tile, 13])
        if plan[tile, 11] and output >= pace.accumulator_buffers:
            start = max(start, spans[outputs[output - pace.accumulator_buffers], 5])
        swap = start + plan[tile, 2]
        stop = swap + plan[tile, 3]
        results = stop + plan[tile, 4]
        spans[tile, 1], spans[tile, 2], spans[tile, 3] = start, stop, results
        _explain_gap(plan, spans, tile, output, outputs, loading, cursor, pace, causes)
        causes[0] += plan[tile, 7]
        causes[1] += plan[tile, 9]
        causes[2] += plan[tile, 8]
        causes[3] += plan[tile, 10]
        cursor = stop
        loader, streamer = swap, stop
        if pace.serial:
            loader = streamer = cursor = results
            causes[1] += plan[tile, 4]
        end = max(end, results)
        if plan[tile, 12]:
            begin = max(vector, results)
            if plan[tile, 6] > 0 and output >= pace.buffers:
                begin = max(begin, spans[outputs[output - pace.buffers], 6])
            vector = begin + plan[tile, 5]
            spans[tile, 4], spans[tile, 5] = begin, vector
            if plan[tile, 6] > 0:
                bus = max(bus, vector) + plan[tile, 6]
                spans[tile, 6] = bus
                end = max(end, bus)
            outputs[output] = tile
            output += 1
            end = max(end, vector)
        ahead = tile + pace.buffers
        if ahead < count:
            bus = _operands(plan, spans, ahead, pace, border, bus)
            if ahead == count - 1 and next_prefetch > 0:
                bus = max(bus, border.start) + next_prefetch
                prefetch_done = bus
    _explain_tail(plan, spans, outputs, output, pace, cursor, end, causes)
    return end, bus, prefetch_done


@jit
def _explain_tail(plan, spans, outputs, output, pace, cursor, end, causes):
    """From the last operand to the end: drain, vector unit, transfer out."""
    tile = outputs[output - 1]
    results = max(spans[tile, 3], cursor)
    causes[1] += results - cursor
    begin, done = spans[tile, 4], spans[tile, 5]
    waited_for_bus = False
    if plan[tile, 6] > 0 and output > pace.buffers:
        waited_for_bus = begin == spans[outputs[output - 1 - pace.buffers], 6]
    waited = max(begin - results, 0)
    if waited_for_bus:
        causes[4] += waited
    else:
        causes[5] += waited
    causes[5] += done - max(begin, results)
    causes[4] += end - done


@jit
def _play_others(plan, pace, border, next_prefetch, spans, causes):
    """A vector command or a copy through DRAM: operands, vector unit, result, tile by tile."""
    count = plan.shape[0]
    bus = border.bus_free
    prefetch_done = np.int64(0)
    for tile in range(min(pace.buffers, count)):
        bus = _operands(plan, spans, tile, pace, border, bus)
    if count <= pace.buffers and next_prefetch > 0:
        bus = max(bus, border.start) + next_prefetch
        prefetch_done = bus
    vector = end = border.start
    for tile in range(count):
        begin = max(vector, spans[tile, 0])
        if plan[tile, 6] > 0 and tile >= pace.buffers:
            begin = max(begin, spans[tile - pace.buffers, 6])
        causes[4] += begin - vector
        causes[5] += plan[tile, 5]
        vector = begin + plan[tile, 5]
        spans[tile, 2], spans[tile, 4], spans[tile, 5] = vector, begin, vector
        end = max(end, vector)
        if plan[tile, 6] > 0:
            bus = max(bus, vector) + plan[tile, 6]
            spans[tile, 6] = bus
            end = max(end, bus)
        ahead = tile + pace.buffers
        if ahead < count:
            bus = _operands(plan, spans, ahead, pace, border, bus)
            if ahead == count - 1 and next_prefetch > 0:
                bus = max(bus, border.start) + next_prefetch
                prefetch_done = bus
    causes[4] += end - vector
    return end, bus, prefetch_done


def _play(
    plan: CommandPlan, pace: Pace, border: Border, next_prefetch: int
) -> tuple[CommandTiming, Border]:
    causes = np.zeros(len(CAUSES), np.int64)
    spans = np.full((plan.tiles.shape[0], SPAN_COLUMNS), -1, np.int64)
    if plan.alone_cycles:
        end = border.start + plan.alone_cycles
        causes[CAUSES.index("host" if plan.kind == HOST else "scratchpad_stall")] = (
            plan.alone_cycles
        )
        bus = border.bus_free
        prefetch_done = 0
        if next_prefetch:
            bus = prefetch_done = max(bus, border.start) + next_prefetch
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
    timing = CommandTiming(border.start, int(end), by_cause, spans)
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
