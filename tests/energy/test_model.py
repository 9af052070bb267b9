"""Energy adds up, and more of anything that costs energy costs more."""

from __future__ import annotations

from typing import Any

import every_command
import pytest
from real_models import graph_of
from variants import variant

from simulator.energy.counts import Counts
from simulator.energy.model import COMPONENTS, EnergyModel
from simulator.energy.table import load_energy_table
from simulator.hwconfig import device_names, load_device
from simulator.npu import simulate
from simulator.result import Result

NOTHING = Counts(*[0] * len(Counts._fields))
# Count -> (component it belongs to, action whose energy it multiplies).
CHARGED = {
    "mac_multiplier_bits2": ("mac", "multiplier_per_bit2"),
    "mac_adder_bits": ("mac", "adder_per_bit"),
    "mac_shifter_bits": ("mac", "shifter_per_bit"),
    "table_bits": ("register", "table_read_per_bit"),
    "register_bits": ("register", "register_per_bit"),
    "scratchpad_read_bits": ("scratchpad", "scratchpad_read_per_bit"),
    "scratchpad_write_bits": ("scratchpad", "scratchpad_write_per_bit"),
    "accumulator_read_bits": ("accumulator", "accumulator_read_per_bit"),
    "accumulator_write_bits": ("accumulator", "accumulator_write_per_bit"),
    "vector_multiplies": ("vector", "vector_multiply"),
    "vector_adds": ("vector", "vector_add"),
    "vector_lookups": ("vector", "vector_lookup"),
    "float_multiplies": ("vector", "float_multiply"),
    "float_adds": ("vector", "float_add"),
    "stage_multiplier_bits2": ("vector", "multiplier_per_bit2"),
    "stage_adder_bits": ("vector", "adder_per_bit"),
    "stage_shifter_bits": ("vector", "shifter_per_bit"),
    "wire_bits": ("wire", "wire_per_bit"),
}


def model_of(name: str, point: str | None = None) -> EnergyModel:
    device = load_device(name)
    return EnergyModel(device, device.operating_point(point))


def without_instruction(model: EnergyModel, counts: Counts, cycles: int = 0) -> dict[str, float]:
    energy = model.command_pj(counts, cycles)
    assert energy["instruction"] == model.actions.instruction > 0
    return {k: v for k, v in energy.items() if v and k != "instruction"}


@pytest.mark.parametrize("count", CHARGED)
def test_each_count_is_charged_once(count: str) -> None:
    model = model_of("wear")
    component, action = CHARGED[count]
    expected = 1000 * getattr(model.actions, action)
    assert expected > 0
    assert without_instruction(model, NOTHING._replace(**{count: 1000})) == {component: expected}


def test_dram_and_host_are_charged() -> None:
    model = model_of("wear")
    for name in ("dram_read_bytes", "dram_write_bytes"):
        found = without_instruction(model, NOTHING._replace(**{name: 3}))
        assert found == {"dram": 24 * model.actions.dram_per_bit}
    operations = NOTHING._replace(host_operations=7)
    assert without_instruction(model, operations) == {"host": 7 * 45}  # host.operation_pj of wear


def test_every_count_is_charged() -> None:
    """Outputs by what makes them, MACs by the widths of what does them."""
    charged = {*CHARGED, "dram_read_bytes", "dram_write_bytes", "host_operations"}
    assert set(Counts._fields) - charged == {"outputs", "macs"}


def test_static_power_flows_with_time() -> None:
    # 1 mW leakage and 5 mW idle at 75 MHz; 75 cycles are 1 us: 1 nJ and 5 nJ.
    device = variant("wear", {"power.leakage_mw": 1.0, "power.idle_mw": 5.0})
    model = EnergyModel(device, device.operating_point())
    found = without_instruction(model, NOTHING, 75)
    assert found == {"leakage": pytest.approx(1000), "idle": pytest.approx(5000)}
    more = variant("wear", {"power.leakage_mw": 1.0, "power.idle_mw": 5.0, "power.other_mw": 2.0})
    other = EnergyModel(more, more.operating_point()).static
    assert (other.leakage, other.idle) == (pytest.approx(1), pytest.approx(7))


def test_static_power_follows_from_the_area() -> None:
    """wear at 0.65 V by hand, from the numbers of its 12 nm table."""
    device = load_device("wear")
    model = EnergyModel(device, device.operating_point())
    table = load_energy_table("12nm")
    logic, sram = table.leakage.logic_mw_per_mm2.value, table.leakage.sram_mw_per_mib.value
    pe = 64 * table.area.multiplier_um2_per_bit2.value + 32 * table.area.adder_um2_per_bit.value
    pe += (8 + 8 + 8 + 32) * table.area.register_um2_per_bit.value
    assert model.area.array == pytest.approx(64 * pe * table.area.overhead.value * 1e-6)
    bits = 8 * (61440 + 131072 + 4096)
    assert model.area.scratchpad == pytest.approx(bits * table.area.sram_um2_per_bit.value * 1e-6)
    share = table.leakage.low_power_share.value * (0.65 / table.voltage_v) ** 2
    held = (61440 + 131072 + 4096 + 8192) / 2**20 * sram
    assert model.static.leakage == pytest.approx(share * (model.area.logic * logic + held))
    assert model.static.sleep == pytest.approx(share * held * table.leakage.retention_share.value)
    tree = table.clock.pj_per_mm2.value * (0.65 / table.voltage_v) ** 2
    assert model.static.idle == pytest.approx(tree * model.area.total * 75e-3)


def test_static_power_falls_with_the_operating_point() -> None:
    fast, slow = model_of("gap9", "performance"), model_of("gap9", "efficiency")
    # Per second, not per cycle: 370 and 240 MHz.
    assert slow.leakage_pj_per_cycle * 240 < fast.leakage_pj_per_cycle * 370
    assert slow.idle_pj_per_cycle * 240 < fast.idle_pj_per_cycle * 370
    for name, value in slow.actions._asdict().items():
        assert value <= getattr(fast.actions, name)


def results() -> list[Result]:
    found = [simulate(graph_of("digits"), load_device(name)) for name in device_names()]
    found.append(
        simulate(every_command.network(), every_command.device(softmax=False, scratchpad_bytes=512))
    )
    return found  # fmt: skip


def test_energy_is_conserved() -> None:
    for result in results():
        totals, layers = result.totals, result.layers
        assert set(result.energy_by_component_pj) == set(COMPONENTS)
        assert min(result.energy_by_component_pj.values()) >= 0
        assert sum(result.energy_by_component_pj.values()) == pytest.approx(totals.energy_pj)
        assert sum(x.energy_pj for x in layers) == pytest.approx(totals.energy_pj)
        for layer in layers:
            assert sum(layer.energy_by_component_pj.values()) == pytest.approx(layer.energy_pj)
        for component in COMPONENTS:
            summed = sum(x.energy_by_component_pj[component] for x in layers)
            assert summed == pytest.approx(result.energy_by_component_pj[component])
        assert sum(x.cycles for x in layers) == totals.cycles
        assert sum(x.macs for x in layers) == totals.macs
        assert sum(x.dram_bytes for x in layers) == totals.dram_bytes
        static = result.energy_by_component_pj["leakage"] + result.energy_by_component_pj["idle"]
        model = EnergyModel(result.device, result.point)
        power_w = (model.static.leakage + model.static.idle) * 1e-3
        assert static == pytest.approx(power_w * totals.latency_s * 1e12)


# All weights and activations of the digits model fit on fsd and stay, so none of these changes moves a
# tile: what rises does so for its own reason.
@pytest.mark.parametrize(
    ("component", "key", "values"),
    [
        ("mac", "array.ifmap_bits", [8, 12, 16]),
        ("mac", "array.weight_bits", [8, 12, 16]),
        ("mac", "array.accumulator_bits", [24, 32]),
        ("register", "array.accumulator_bits", [24, 32]),
        ("accumulator", "array.accumulator_bits", [24, 32]),
        ("scratchpad", "scratchpad.capacity_bytes", [1 << 25, 1 << 26, 1 << 27]),
        ("wire", "energy.wire_mm", [0.5, 1.0, 2.0]),
        ("leakage", "power.leakage_mw", [1.0, 10.0]),
        ("idle", "power.idle_mw", [1.0, 10.0]),
        ("mac", "energy.node_nm", [14.0, 28.0, 45.0]),
        ("scratchpad", "energy.node_nm", [14.0, 28.0, 45.0]),
    ],
)
def test_more_costs_more(component: str, key: str, values: list[Any]) -> None:
    found = [simulate(graph_of("digits"), variant("fsd", {key: value})) for value in values]
    energies = [result.energy_by_component_pj[component] for result in found]
    assert energies == sorted(energies)
    assert len(set(energies)) == len(energies)
    assert len({tuple(x.tile for x in result.layers) for result in found}) == 1


def test_voltage_costs_energy_and_no_time() -> None:
    points = tuple(
        {"name": f"v{voltage}", "voltage_v": voltage, "clock_mhz": 500.0}
        for voltage in (0.6, 0.7, 0.8, 0.9, 1.0)
    )
    device = variant("fsd", {"operating_points": points})
    found = [
        simulate(graph_of("digits"), device, operating_point=point.name)
        for point in device.operating_points
    ]
    assert len({result.totals.cycles for result in found}) == 1
    for component in ("mac", "scratchpad", "accumulator", "vector", "wire", "leakage", "idle"):
        energies = [result.energy_by_component_pj[component] for result in found]
        assert energies == sorted(energies)
        assert energies[0] < energies[-1]
    dram = {result.energy_by_component_pj["dram"] for result in found}
    assert len(dram) == 1


def test_bounds_hold_the_value() -> None:
    for name in device_names():
        device = load_device(name)
        low, value, high = (
            EnergyModel(device, device.operating_point(), bounds).actions
            for bounds in ("low", "value", "high")
        )
        for action in value._fields:
            assert getattr(low, action) <= getattr(value, action) <= getattr(high, action)
