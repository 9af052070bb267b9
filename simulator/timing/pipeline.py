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
    OPERANDS_TURN,
    OPERANDS_TURN_END,
    RESULT_END,
    RESULT_TURN,
    RESULT_TURN_END,
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
_COMPUTING, _DRAINING, _LOADING, _PORT, _BUS, _VECTOR_UNIT, _HOST, _CONTROL = range(8)


class Bus(NamedTuple):
    """When the DMA's last transfer began, when it is free, and whether it wrote."""

    began: int
    free: int
    wrote: bool


class Border(NamedTuple):
    """What crosses the border between two commands, in absolute cycles."""

    start: int
    bus: Bus
    prefetched: int  # when this command's prefetched weights are on chip
    prefetch_turn: tuple[int, int]  # when the bus fetched them


@jit
def _transfer(bus: Bus, after: int, cycles: int, write: bool, pace: Pace) -> Bus:
    """The bus after a transfer of ``cycles`` that may begin at ``after``; refreshes hold it up."""
    begin = bus.free
    if bus.wrote != write and begin > 0:
        begin += pace.turnaround
    begin = max(begin, after)
    if pace.refresh == 0:
        return Bus(begin, begin + cycles, write)
    # In cycles that no refresh takes: those before `begin`, then the transfer's.
    open_cycles = pace.interval - pace.refresh
    before = begin // pace.interval * open_cycles + min(begin % pace.interval, open_cycles)
    last = before + cycles - 1
    end = last // open_cycles * pace.interval + last % open_cycles + 1
    return Bus(before // open_cycles * pace.interval + before % open_cycles, end, write)


@jit
def _fetch(plan, spans, tile, pace, border, next_prefetch, bus, prefetch):
    """Transfer the operands of ``tile``, and behind those of the last tile the next command's prefetch;
    returns (bus, the prefetch's turn on it)."""
    arrived = border.start
    if plan[tile, OPERANDS] > 0:
        after = border.start
        if tile >= pace.buffers:
            after = max(after, spans[tile - pace.buffers, STREAM_END])
        bus = _transfer(bus, after, plan[tile, OPERANDS], False, pace)
        arrived = bus.free + pace.trailing
        spans[tile, OPERANDS_TURN], spans[tile, OPERANDS_TURN_END] = bus.began, bus.free
    if tile == 0:
        arrived = max(arrived, border.prefetched)
    spans[tile, OPERANDS_END] = arrived
    if tile == plan.shape[0] - 1 and next_prefetch > 0:
        bus = prefetch = _transfer(bus, border.start, next_prefetch, False, pace)
    return bus, prefetch


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
    """A command on the array; returns (end, bus, next command's prefetch, where there is one)."""
    count = plan.shape[0]
    bus = prefetch = border.bus
    for tile in range(min(pace.buffers, count)):
        bus, prefetch = _fetch(plan, spans, tile, pace, border, next_prefetch, bus, prefetch)
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
                bus = _transfer(bus, vector, plan[tile, RESULT], True, pace)
                spans[tile, RESULT_TURN], spans[tile, RESULT_TURN_END] = bus.began, bus.free
                spans[tile, RESULT_END] = bus.free
                end = max(end, spans[tile, RESULT_END])
            outputs[output] = tile
            output += 1
            end = max(end, vector)
        ahead = tile + pace.buffers
        if ahead < count:
            bus, prefetch = _fetch(plan, spans, ahead, pace, border, next_prefetch, bus, prefetch)
    _explain_tail(plan, spans, outputs, output, pace, cursor, end, causes)
    return end, bus, prefetch


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
    bus = prefetch = border.bus
    for tile in range(min(pace.buffers, count)):
        bus, prefetch = _fetch(plan, spans, tile, pace, border, next_prefetch, bus, prefetch)
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
            bus = _transfer(bus, vector, plan[tile, RESULT], True, pace)
            spans[tile, RESULT_TURN], spans[tile, RESULT_TURN_END] = bus.began, bus.free
            spans[tile, RESULT_END] = bus.free
            end = max(end, spans[tile, RESULT_END])
        ahead = tile + pace.buffers
        if ahead < count:
            bus, prefetch = _fetch(plan, spans, ahead, pace, border, next_prefetch, bus, prefetch)
    causes[_BUS] += end - vector
    return end, bus, prefetch


def _play(
    plan: CommandPlan, pace: Pace, border: Border, next_prefetch: int
) -> tuple[CommandTiming, Border]:
    causes = np.zeros(len(CAUSES), np.int64)
    causes[_CONTROL] = pace.command
    begin, border = border.start, border._replace(start=border.start + pace.command)
    spans = np.full((plan.tiles.shape[0], SPAN_COLUMNS), -1, np.int64)
    if plan.alone_cycles or len(plan.tiles) == 0:
        end = border.start + plan.alone_cycles
        causes[_HOST if plan.kind == HOST else _PORT] = plan.alone_cycles
        # An on-chip copy holds the DMA itself; the host does not.
        free = border.start if plan.kind == HOST else end
        bus = prefetch = border.bus
        if next_prefetch:
            bus = prefetch = _transfer(bus, free, next_prefetch, False, pace)
    elif is_product(plan):
        outputs = np.zeros(plan.tiles.shape[0], np.int64)
        end, bus, prefetch = _play_products(
            plan.tiles, pace, border, next_prefetch, spans, outputs, causes
        )
    else:
        end, bus, prefetch = _play_others(plan.tiles, pace, border, next_prefetch, spans, causes)
    by_cause = {name: int(c) for name, c in zip(CAUSES, causes, strict=True)}
    timing = CommandTiming(begin, int(end), by_cause, spans, border.prefetch_turn)
    turn = (int(prefetch[0]), int(prefetch[1])) if next_prefetch else (0, 0)
    there = turn[1] + pace.trailing if next_prefetch else 0
    return timing, Border(int(end), Bus(int(bus[0]), int(bus[1]), bool(bus[2])), there, turn)


def time_plans(plans: list[CommandPlan], pace: Pace) -> Timing:
    """Play planned commands one after another."""
    return time_cores([plans], pace)[0]


def _first_border(plans: list[CommandPlan], pace: Pace) -> Border:
    """At cycle 0. What others fetch while the inference before them ends, the first one fetches now."""
    bus, first = Bus(0, 0, False), plans[0].prefetch_cycles
    if not first:
        return Border(0, bus, 0, (0, 0))
    began, free, wrote = _transfer(bus, 0, first, False, pace)
    bus = Bus(int(began), int(free), bool(wrote))
    return Border(0, bus, bus.free + pace.trailing, (bus.began, bus.free))


def time_cores(cores: list[list[CommandPlan]], pace: Pace) -> list[Timing]:
    """Play the commands of several cores, each with the DRAM to itself: a command begins on all of them
    when the last one is done with the command before."""
    borders = [_first_border(plans, pace) for plans in cores]
    commands: list[list[CommandTiming]] = [[] for _ in cores]
    for index in range(len(cores[0])):
        for core, plans in enumerate(cores):
            following = plans[index + 1].prefetch_cycles if index + 1 < len(plans) else 0
            timing, borders[core] = _play(plans[index], pace, borders[core], following)
            commands[core].append(timing)
        end = max(border.start for border in borders)
        borders = [border._replace(start=end) for border in borders]
    return [Timing(tuple(timed)) for timed in commands]


def period_cycles(plans: list[CommandPlan], pace: Pace) -> int:
    """Cycles from one inference to the next where they follow each other without a break."""
    return time_plans(plans * 3, pace).cycles - time_plans(plans * 2, pace).cycles


def time_program(program: Program, point: OperatingPoint) -> Timing:
    """Cycles of ``program`` at ``point``'s clock, on a device of one core."""
    return time_plans(plan_program(program, point), pace_of(program.device, point))
