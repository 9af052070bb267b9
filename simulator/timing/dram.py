"""The DRAM that several cores share, for the event model."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from simulator.timing.plan import Pace

# A SimPy environment and its events; SimPy itself is loaded by the event model alone.
Environment = Any
Event = Any
Process = Generator[Event, Any, None]


class Dram:
    """The memory behind the DMAs of all cores. Transfers that together ask for more than it gives share it
    evenly, and nobody gets more than it asks for (max-min fairness)."""

    def __init__(self, env: Environment, pace: Pace) -> None:
        self.env, self.pace = env, pace
        self.open_cycles = pace.interval - pace.refresh
        self.jobs: list[_Job] = []
        self.since = 0  # when `left` of all jobs was last brought up to date
        self.changed = env.event()
        env.process(self._serve())

    def move(self, cycles: int, busy: int) -> Process:
        """A transfer of ``cycles`` where it is alone, of which the DRAM is busy for ``busy``."""
        job = _Job(float(cycles), busy / cycles if cycles else 0.0, self.env.event())
        self._account()
        self.jobs.append(job)
        self._change()
        yield job.done

    def open_until(self, now: int) -> int:
        """Cycles before ``now`` in which something could move: nothing does at the end of an interval."""
        if not self.pace.refresh:
            return now
        whole, into = divmod(now, self.pace.interval)
        return whole * self.open_cycles + min(into, self.open_cycles)

    def wait_for(self, cycles: int) -> int:
        """Cycles from now on until ``cycles`` of them are open."""
        now = int(self.env.now)
        if not self.pace.refresh:
            return cycles
        whole, into = divmod(self.open_until(now) + cycles - 1, self.open_cycles)
        return whole * self.pace.interval + into + 1 - now

    def _account(self) -> None:
        """What has moved since the last change has moved."""
        now = int(self.env.now)
        passed = self.open_until(now) - self.open_until(self.since)
        for job in self.jobs:
            job.left -= passed * job.speed
        self.since = now

    def _change(self) -> None:
        _share(self.jobs)
        changed, self.changed = self.changed, self.env.event()
        changed.succeed()

    def _serve(self) -> Process:
        while True:
            if not self.jobs:
                yield self.changed
                continue
            first = min(math.ceil(job.left / job.speed - _TINY) for job in self.jobs)
            due = self.env.timeout(self.wait_for(max(first, 1)) if first > 0 else 0)
            yield due | self.changed
            self._account()
            finished = [job for job in self.jobs if job.left <= _TINY]
            if finished:
                self.jobs = [job for job in self.jobs if job.left > _TINY]
                for job in finished:
                    job.done.succeed()
                self._change()


_TINY = 1e-6


@dataclass
class _Job:
    """A transfer under way: cycles that are ``left`` of it at full speed, its ``demand`` of the DRAM, 0 to
    1, and its ``speed``, 0 to 1."""

    left: float
    demand: float
    done: Event
    speed: float = 1.0


def _share(jobs: list[_Job]) -> None:
    """Speeds: the smallest demands are met first, the others share what is left."""
    free, waiting = 1.0, len(jobs)
    for job in sorted(jobs, key=lambda j: j.demand):
        given = min(job.demand, free / waiting)
        job.speed = given / job.demand if job.demand else 1.0
        free -= given
        waiting -= 1
