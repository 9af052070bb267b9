"""The same plans played as processes in SimPy: bus, loader, array, vector unit, each in its own loop.

Shares the durations with the recurrence and nothing else: who waits for whom is said here a second
time, as events. Several cores share the DRAM, which the recurrence cannot say.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import simpy

from simulator.hwconfig import OperatingPoint
from simulator.program.program import Program
from simulator.program.traffic import HOST
from simulator.timing import plan as columns
from simulator.timing.dram import Dram
from simulator.timing.plan import CommandPlan, Pace, is_product, pace_of, plan_program
from simulator.timing.result import (
    OPERANDS_END,
    OPERANDS_TURN,
    RESULT_END,
    RESULT_TURN,
    RESULTS,
    SPAN_COLUMNS,
    STREAM_END,
    STREAM_START,
    VECTOR_END,
    VECTOR_START,
)

Process = Generator[simpy.Event, None, None]


@dataclass(frozen=True)
class EventTiming:
    """(start, end) of every command, the spans of its tiles and when its weights were fetched beforehand,
    as ``CommandTiming`` gives them."""

    borders: tuple[tuple[int, int], ...]
    spans: tuple[np.ndarray, ...]
    prefetch_turns: tuple[tuple[int, int], ...]

    @property
    def cycles(self) -> int:
        return self.borders[-1][1]


@dataclass
class _Transfer:
    """One entry of the bus's queue: wait for ``after``, take ``cycles``, ``busy`` ones of the DRAM, then
    trigger ``done`` and note the ``turn``."""

    cycles: int
    busy: int
    after: list[simpy.Event]
    done: simpy.Event
    write: bool
    turn: np.ndarray


@dataclass
class _Run:
    """Events of one command."""

    plan: CommandPlan
    start: simpy.Event
    arrived: list[simpy.Event]
    entered: list[simpy.Event]  # last operand in: the tile's buffers are free
    swapped: list[simpy.Event]
    results: list[simpy.Event]
    vector_done: list[simpy.Event]
    stored: list[simpy.Event]
    spans: np.ndarray
    prefetched: simpy.Event
    finished: simpy.Event  # of a command that runs alone
    outputs: list[int] = field(default_factory=list)  # tiles that complete an ofmap tile
    prefetch_turn: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))


def _prefetch(run: _Run, after: list[simpy.Event]) -> _Transfer:
    """The first weights of a command, fetched beforehand."""
    plan = run.plan
    return _Transfer(
        plan.prefetch_cycles, plan.prefetch_dram, after, run.prefetched, False, run.prefetch_turn
    )


class _Core:
    """One core's processes. Its commands start when those of the other cores of its team do."""

    def __init__(
        self, env: simpy.Environment, plans: list[CommandPlan], pace: Pace, dram: Dram | None
    ) -> None:
        self.env, self.pace, self.dram = env, pace, dram
        self.runs = [self._events(plan) for plan in plans]
        self.borders: list[tuple[int, int]] = []
        self.queue = self._bus_queue()

    def _events(self, plan: CommandPlan) -> _Run:
        count = plan.tiles.shape[0]

        def make() -> list[simpy.Event]:
            return [self.env.event() for _ in range(count)]

        spans = np.full((count, SPAN_COLUMNS), -1, np.int64)
        run = _Run(plan, self.env.event(), make(), make(), make(), make(), make(), make(), spans,
                   self.env.event(), self.env.event())  # fmt: skip
        run.outputs = [i for i in range(count) if plan.tiles[i, columns.LAST_K]]
        return run

    def _bus_queue(self) -> list[_Transfer]:
        """All transfers of the program in the order in which the bus serves them."""
        queue: list[_Transfer] = []
        first = self.runs[0]
        if first.plan.prefetch_cycles:
            queue.append(_prefetch(first, []))
        for index, run in enumerate(self.runs):
            following = self.runs[index + 1] if index + 1 < len(self.runs) else None
            count = run.plan.tiles.shape[0]
            early = min(self.pace.buffers, count)
            for tile in range(early):
                self._queue_operands(queue, run, tile)
            if early == count:
                self._queue_prefetch(queue, run, following)
            for tile in range(count):
                row = run.plan.tiles[tile]
                if row[columns.RESULT]:
                    queue.append(_Transfer(
                        int(row[columns.RESULT]), int(row[columns.DRAM_OUT]), [run.vector_done[tile]],
                        run.stored[tile], True, run.spans[tile, RESULT_TURN : RESULT_TURN + 2],
                    ))  # fmt: skip
                ahead = tile + self.pace.buffers
                if ahead < count:
                    self._queue_operands(queue, run, ahead)
                    if ahead == count - 1:
                        self._queue_prefetch(queue, run, following)
        return queue

    def _queue_operands(self, queue: list[_Transfer], run: _Run, tile: int) -> None:
        row = run.plan.tiles[tile]
        if row[columns.OPERANDS]:
            after = [run.start]
            if tile >= self.pace.buffers:
                after.append(run.entered[tile - self.pace.buffers])
            queue.append(_Transfer(
                int(row[columns.OPERANDS]), int(row[columns.DRAM_IN]), after, run.arrived[tile], False,
                run.spans[tile, OPERANDS_TURN : OPERANDS_TURN + 2],
            ))  # fmt: skip

    @staticmethod
    def _queue_prefetch(queue: list[_Transfer], run: _Run, following: _Run | None) -> None:
        if following is not None and following.plan.prefetch_cycles:
            # An on-chip copy holds the DMA itself; the host does not.
            copying = run.plan.alone_cycles and run.plan.kind != HOST
            after = run.finished if copying else run.start
            queue.append(_prefetch(following, [after]))

    def _bus(self) -> Process:
        wrote, turned = False, 0
        for transfer in self.queue:
            if transfer.write != wrote:
                turned = int(self.env.now) + self.pace.turnaround if self.env.now else 0
            wrote = transfer.write
            yield from transfer.after
            yield self.env.timeout(max(turned - int(self.env.now), 0))
            yield from self._move(transfer)
            if transfer.write:
                transfer.done.succeed()
            else:
                self.env.process(self._after(self.pace.trailing, transfer.done))

    def _move(self, transfer: _Transfer) -> Process:
        """A transfer's turn on the bus; nothing moves during a refresh, at the end of every interval."""
        interval, cycles = self.pace.interval, transfer.cycles
        open_cycles = interval - self.pace.refresh
        if self.pace.refresh and int(self.env.now) % interval >= open_cycles:
            yield self.env.timeout(interval - int(self.env.now) % interval)
        began = int(self.env.now)
        if self.dram is not None:
            yield from self.dram.move(cycles, min(transfer.busy, cycles))
        else:
            while self.pace.refresh and int(self.env.now) % interval + cycles > open_cycles:
                cycles -= open_cycles - int(self.env.now) % interval
                yield self.env.timeout(interval - int(self.env.now) % interval)
            yield self.env.timeout(cycles)
        transfer.turn[:] = began, self.env.now

    def _operands_ready(self, run: _Run, tile: int) -> Process:
        yield run.start
        if run.plan.tiles[tile, columns.OPERANDS]:
            yield run.arrived[tile]
        if tile == 0 and run.plan.prefetch_cycles:
            yield run.prefetched
        run.spans[tile, OPERANDS_END] = self.env.now

    def _loader(self, run: _Run, loaded: list[simpy.Event]) -> Process:
        ready = self._all_operands(run)
        for tile in range(len(loaded)):
            yield ready[tile]
            if tile:
                yield run.results[tile - 1] if self.pace.serial else run.swapped[tile - 1]
            yield self.env.timeout(int(run.plan.tiles[tile, columns.LOAD]))
            loaded[tile].succeed()

    def _after(self, cycles: int, event: simpy.Event) -> Process:
        yield self.env.timeout(cycles)
        event.succeed()

    def _array(self, run: _Run, loaded: list[simpy.Event]) -> Process:
        output = 0
        for tile in range(len(loaded)):
            row = run.plan.tiles[tile]
            yield loaded[tile]
            if tile and self.pace.serial:
                yield run.results[tile - 1]
            if row[columns.FIRST_K] and output >= self.pace.accumulator_buffers:
                yield run.vector_done[run.outputs[output - self.pace.accumulator_buffers]]
            if tile and row[columns.LEAD]:
                free = int(run.spans[tile - 1, STREAM_END] + row[columns.LEAD])
                yield self.env.timeout(max(free - int(self.env.now), 0))
            run.spans[tile, STREAM_START] = self.env.now
            yield self.env.timeout(int(row[columns.BODY]))
            run.swapped[tile].succeed()
            yield self.env.timeout(int(row[columns.LAST]))
            run.entered[tile].succeed()
            run.spans[tile, STREAM_END] = self.env.now
            run.spans[tile, RESULTS] = self.env.now + int(row[columns.SKEW])
            self.env.process(self._after(int(row[columns.SKEW]), run.results[tile]))
            output += int(row[columns.LAST_K])

    def _all_operands(self, run: _Run) -> list[simpy.Process]:
        return [self.env.process(self._operands_ready(run, t)) for t in range(len(run.arrived))]

    def _vector(self, run: _Run) -> Process:
        ready = [] if is_product(run.plan) else self._all_operands(run)
        for output, tile in enumerate(run.outputs):
            row = run.plan.tiles[tile]
            if is_product(run.plan):
                yield run.results[tile]
            else:
                yield ready[tile]
            if row[columns.RESULT] and output >= self.pace.buffers:
                yield run.stored[run.outputs[output - self.pace.buffers]]
            run.spans[tile, VECTOR_START] = self.env.now
            yield self.env.timeout(int(row[columns.VECTOR]))
            run.spans[tile, VECTOR_END] = self.env.now
            if not is_product(run.plan):
                run.spans[tile, STREAM_END] = self.env.now
                run.entered[tile].succeed()
            run.vector_done[tile].succeed()
            if row[columns.RESULT]:
                self.env.process(self._stored(run, tile))

    def _stored(self, run: _Run, tile: int) -> Process:
        yield run.stored[tile]
        run.spans[tile, RESULT_END] = self.env.now

    def command(self, run: _Run) -> Process:
        """One command, from its start to the end of all it does."""
        run.start.succeed()
        if not len(run.plan.tiles):
            yield self.env.timeout(run.plan.alone_cycles)
            run.finished.succeed()
            return
        if is_product(run.plan):
            loaded = [self.env.event() for _ in run.arrived]
            self.env.process(self._loader(run, loaded))
            self.env.process(self._array(run, loaded))
        self.env.process(self._vector(run))
        stages = [run.vector_done[tile] for tile in run.outputs]
        stages += [run.stored[t] for t in run.outputs if run.plan.tiles[t, columns.RESULT]]
        yield self.env.all_of(stages)

    def timing(self) -> EventTiming:
        return EventTiming(
            tuple(self.borders), tuple(r.spans for r in self.runs),
            tuple((int(r.prefetch_turn[0]), int(r.prefetch_turn[1])) for r in self.runs),
        )  # fmt: skip


def _team(env: simpy.Environment, cores: list[_Core]) -> Process:
    """Cores that start each command together, when all are done with the one before."""
    for index in range(len(cores[0].runs)):
        begin = int(env.now)
        yield env.timeout(cores[0].pace.command)
        done = [env.process(_bordered(env, core, index, begin)) for core in cores]
        yield env.all_of(done)


def _bordered(env: simpy.Environment, core: _Core, index: int, begin: int) -> Process:
    yield env.process(core.command(core.runs[index]))
    core.borders.append((begin, int(env.now)))


def _play(teams: list[list[list[CommandPlan]]], pace: Pace) -> list[EventTiming]:
    """Timings of all cores of all teams, which share one DRAM."""
    env = simpy.Environment()
    alone = len(teams) == 1 and len(teams[0]) == 1
    dram = None if alone else Dram(env, pace)
    made = [[_Core(env, plans, pace, dram) for plans in team] for team in teams]
    for cores in made:
        for core in cores:
            env.process(core._bus())
        env.process(_team(env, cores))
    env.run()
    return [core.timing() for cores in made for core in cores]


def simulate_events(program: Program, point: OperatingPoint) -> EventTiming:
    """Play ``program`` at ``point``'s clock in SimPy, on a device of one core."""
    return simulate_plans(plan_program(program, point), pace_of(program.device, point))


def simulate_plans(plans: list[CommandPlan], pace: Pace) -> EventTiming:
    """Play planned commands of one core in SimPy."""
    return _play([[plans]], pace)[0]


def simulate_team(cores: list[list[CommandPlan]], pace: Pace) -> list[EventTiming]:
    """Play a program whose commands are divided over ``cores``, which share the DRAM."""
    return _play([cores], pace)


def simulate_copies(plans: list[CommandPlan], copies: int, pace: Pace) -> list[EventTiming]:
    """Play ``plans`` on so many cores, each for itself but for the DRAM that they share."""
    return _play([[plans] for _ in range(copies)], pace)
