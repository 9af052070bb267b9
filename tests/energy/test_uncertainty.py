"""Ranges of the tables reach the result, and the sensitivities say by which way."""

from __future__ import annotations

import math

import pytest
from real_models import graph_of
from variants import variant

from simulator.energy.counts import count_program
from simulator.energy.model import EnergyModel
from simulator.energy.prices import at_end, entries, prices_of
from simulator.energy.table import Bounds
from simulator.energy.uncertainty import effects, spread, total_work, work_pj
from simulator.hwconfig import device_names, load_device
from simulator.npu import simulate
from simulator.result import Result


@pytest.fixture(scope="module", params=["wear", "fsd-chip", "tpuv1"])
def result(request: pytest.FixtureRequest) -> Result:
    return simulate(graph_of("digits"), load_device(request.param))


def test_ends_hold_the_value(result: Result) -> None:
    t = result.totals
    assert 0 < t.energy_lowest_pj <= t.energy_low_pj < t.energy_pj
    assert t.energy_pj < t.energy_high_pj <= t.energy_highest_pj
    assert t.area_low_mm2 < t.area_mm2 < t.area_high_mm2


def test_summed_work_costs_what_its_commands_do(result: Result) -> None:
    counts = count_program(result.program, result.point)
    work = total_work(counts, result.totals.cycles)
    assert work_pj(EnergyModel(result.device, result.point), work) == pytest.approx(
        result.totals.energy_pj
    )


def test_the_extremes_are_the_models_at_the_ends(result: Result) -> None:
    """All numbers low at once is what a model of low numbers says, layer by layer."""
    counts = count_program(result.program, result.point)
    ends: tuple[tuple[Bounds, str], ...] = (
        ("low", "energy_lowest_pj"), ("high", "energy_highest_pj")
    )  # fmt: skip
    for bounds, end in ends:
        model = EnergyModel(result.device, result.point, bounds)
        layers = zip(counts, result.timing.commands, strict=True)
        pj = sum(sum(model.command_pj(c, t.cycles).values()) for c, t in layers)
        assert pj == pytest.approx(getattr(result.totals, end))


def test_every_effect_is_that_of_its_number_alone(result: Result) -> None:
    counts = count_program(result.program, result.point)
    work = total_work(counts, result.totals.cycles)
    prices = prices_of(result.device)
    numbers = dict(entries(prices))
    for effect in result.effects:
        number = numbers[effect.key]
        assert (effect.low, effect.value, effect.high) == (number.low, number.value, number.high)
        changed = at_end(prices, effect.key, "high")
        assert dict(entries(changed))[effect.key].value == number.high
        others = {k: q.value for k, q in entries(changed) if k != effect.key}
        assert others == {k: q.value for k, q in numbers.items() if k != effect.key}
        model = EnergyModel(result.device, result.point, prices=changed)
        assert work_pj(model, work) == pytest.approx(effect.high_pj)
        assert effect.low_pj <= result.totals.energy_pj * (1 + 1e-12)
        assert effect.high_pj >= result.totals.energy_pj * (1 - 1e-12)
    swings = [e.swing_pj for e in result.effects]
    assert swings == sorted(swings, reverse=True)
    assert min(swings) > 0


def test_independent_errors_add_as_squares(result: Result) -> None:
    t = result.totals
    below = math.sqrt(sum((t.energy_pj - e.low_pj) ** 2 for e in result.effects))
    above = math.sqrt(sum((e.high_pj - t.energy_pj) ** 2 for e in result.effects))
    assert t.energy_low_pj == pytest.approx(max(t.energy_pj - below, t.energy_lowest_pj))
    assert t.energy_high_pj == pytest.approx(min(t.energy_pj + above, t.energy_highest_pj))


def test_what_a_device_states_has_no_range() -> None:
    stated = variant("wear", {"power.leakage_mw": 1.0, "power.idle_mw": 1.0})
    keys = {e.key for e in simulate(graph_of("digits"), stated).effects}
    assert not any(key.startswith(("leakage.", "clock.", "area.")) for key in keys)
    assert {"dram.pj_per_bit", "mac.multiplier_pj_per_bit2", "wire.pj_per_bit_mm"} <= keys


def test_no_effect_of_cost_or_of_nothing() -> None:
    for name in device_names():
        found = simulate(graph_of("digits"), load_device(name)).effects
        assert not any(e.key.startswith("cost.") for e in found)
        assert len({e.key for e in found}) == len(found)


def test_effects_of_no_work_are_none() -> None:
    device = load_device("wear")
    point = device.operating_point()
    counts = count_program(simulate(graph_of("digits"), device).program, point)
    nothing = total_work([c._replace(**dict.fromkeys(c._fields, 0)) for c in counts], 0)._replace(
        commands=0
    )
    assert effects(device, point, nothing) == []
    assert spread(device, point, nothing, []) == (0, 0, 0, 0)
