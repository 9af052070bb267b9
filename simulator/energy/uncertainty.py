"""How far a result's energy may be off, and which number of the tables moves it most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from simulator.energy.counts import Counts
from simulator.energy.model import EnergyModel
from simulator.energy.prices import at_end, entries, prices_of
from simulator.energy.table import Bounds
from simulator.hwconfig import Device, OperatingPoint


class Work(NamedTuple):
    """What a program does in all: summed counts, cycles, and the number of its commands."""

    counts: Counts
    cycles: int
    commands: int


class Effect(NamedTuple):
    """The energy with one number of the tables at the ``low`` or ``high`` end of its range, all others at
    their values. ``value``, its ends and ``unit`` are the number's own."""

    key: str
    value: float
    low: float
    high: float
    unit: str
    status: str
    low_pj: float
    high_pj: float

    @property
    def swing_pj(self) -> float:
        return self.high_pj - self.low_pj


class Spread(NamedTuple):
    """Ends of a range: ``low`` and ``high`` where numbers err independently of each other (the root of the
    summed squares of their effects), ``lowest`` and ``highest`` where all err the same way."""

    low: float
    high: float
    lowest: float
    highest: float


def total_work(counts: Sequence[Counts], cycles: int) -> Work:
    return Work(Counts(*(int(sum(c)) for c in zip(*counts, strict=True))), cycles, len(counts))


def work_pj(model: EnergyModel, work: Work) -> float:
    return sum(model.command_pj(work.counts, work.cycles, work.commands).values())


def effects(device: Device, point: OperatingPoint, work: Work) -> list[Effect]:
    """Of every number that moves the energy of ``work``, what moves it most first."""
    prices = prices_of(device)
    found = []
    for key, quantity in entries(prices):
        if key.startswith("cost."):
            continue

        def energy(bounds: Bounds, key: str = key) -> float:
            return work_pj(EnergyModel(device, point, prices=at_end(prices, key, bounds)), work)

        q: Any = quantity
        effect = Effect(
            key, q.value, q.low, q.high, q.unit, q.status, energy("low"), energy("high")
        )
        if effect.swing_pj:
            found.append(effect)
    return sorted(found, key=lambda e: -e.swing_pj)


def spread(device: Device, point: OperatingPoint, work: Work, single: Sequence[Effect]) -> Spread:
    """The range of the energy of ``work``, given the ``effects`` of single numbers."""
    prices = prices_of(device)
    value = work_pj(EnergyModel(device, point, prices=prices), work)
    lowest, highest = (
        work_pj(EnergyModel(device, point, b, prices), work) for b in ("low", "high")
    )
    below = math.sqrt(sum((value - e.low_pj) ** 2 for e in single))
    above = math.sqrt(sum((e.high_pj - value) ** 2 for e in single))
    return Spread(max(value - below, lowest), min(value + above, highest), lowest, highest)
