"""Energy tables and the actions they give a device."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from simulator.energy.actions import (
    ActionEnergies,
    action_energies,
    sram_read_pj_per_bit,
)
from simulator.energy.prices import Prices, prices_of
from simulator.energy.scaling import energy_factor
from simulator.energy.table import (
    DramTable,
    EnergyTable,
    energy_table_names,
    load_dram_table,
    load_energy_table,
    parse_toml,
    quantities,
)
from simulator.errors import DeviceError
from simulator.hwconfig import Device, device_from_dict
from simulator.resources import data_folder


@pytest.fixture(scope="module")
def table() -> EnergyTable:
    return load_energy_table("45nm")


def make_device(**changes: Any) -> Device:
    """A device at the table's own node and voltage, so that its factor is 1."""
    content: dict[str, Any] = {
        "schema_version": 1,
        "name": "made-up",
        "title": "made up",
        "device_class": "test",
        "array": {"rows": 4, "cols": 4},
        "scratchpad": {
            "layout": "unified", "capacity_bytes": 32768, "banks": 4, "read_bytes_per_cycle": 8,
        },
        "accumulator": {"capacity_bytes": 4096},
        "vector": {"lanes": 4},
        "dma": {"bytes_per_cycle": 8},
        "dram": {"kind": "lpddr4", "bandwidth_mb_per_s": 1000.0},
        "host": {"operations_per_s": 1e9, "call_latency_s": 0.0, "operation_pj": 10.0},
        "operating_points": [
            {"name": "base", "voltage_v": 0.9, "clock_mhz": 100.0},
            {"name": "fast", "voltage_v": 1.1, "clock_mhz": 150.0},
        ],
        "energy": {"node_nm": 45.0, "wire_mm": 2.0},
        "power": {"leakage_mw": 1.0, "idle_mw": 1.0},
    }  # fmt: skip
    for key, value in changes.items():
        section, _, leaf = key.partition("__")
        content[section] = {**content[section], leaf: value}
    return device_from_dict(content, "made-up")


def prices(table: EnergyTable, device: Device) -> Prices:
    return prices_of(device)._replace(table=table)


def energies(table: EnergyTable, **changes: Any) -> ActionEnergies:
    device = make_device(**changes)
    return action_energies(prices(table, device), device, device.operating_point())


# Horowitz, ISSCC 2014, 45 nm, 0.9 V. The 8-bit adder is published to one digit (0.03 of 0.025).
@pytest.mark.parametrize(
    ("got", "published", "tolerance"),
    [
        (lambda t: t.mac.adder_pj_per_bit.value * 8, 0.03, 0.20),
        (lambda t: t.mac.adder_pj_per_bit.value * 16, 0.05, 0.02),
        (lambda t: t.mac.adder_pj_per_bit.value * 32, 0.1, 0.02),
        (lambda t: t.mac.multiplier_pj_per_bit2.value * 8 * 8, 0.2, 0.02),
        (lambda t: t.mac.multiplier_pj_per_bit2.value * 32 * 32, 3.1, 0.03),
        (lambda t: t.vector.multiply_pj.value, 3.1, 0),
        (lambda t: t.vector.add_pj.value, 0.1, 0),
        (lambda t: 64 * sram_read_pj_per_bit(t, 8 * 1024), 10, 0.13),
        (lambda t: 64 * sram_read_pj_per_bit(t, 32 * 1024), 20, 0.13),
        (lambda t: 64 * sram_read_pj_per_bit(t, 1024 * 1024), 100, 0.13),
    ],
)
def test_horowitz(table: EnergyTable, got: Any, published: float, tolerance: float) -> None:
    assert got(table) == pytest.approx(published, rel=tolerance)


def test_actions_at_the_tables_own_node(table: EnergyTable) -> None:
    got = energies(table)
    assert (got.multiplier_per_bit2, got.adder_per_bit) == (0.0031, 0.0031)
    # A double-rounding output stage costs little more than one 32-bit multiply of a lane.
    stage = 1024 * got.multiplier_per_bit2 + 64 * (got.adder_per_bit + got.shifter_per_bit)
    assert 1.1 < stage / got.vector_multiply < 1.3
    assert got.scratchpad_read_per_bit == pytest.approx(0.156)  # four banks of 8 KiB
    assert got.accumulator_read_per_bit == pytest.approx(0.156 / 8**0.5)  # four banks of 1 KiB
    assert got.wire_per_bit == pytest.approx(2 * 0.24)
    assert (got.vector_multiply, got.vector_add, got.instruction) == (3.1, 0.1, 70)
    assert got.dram_per_bit == 8


def test_what_scales_with_what(table: EnergyTable) -> None:
    base = energies(table)
    device = make_device(energy__node_nm=14.0)
    small = action_energies(prices(table, device), device, device.operating_point())
    factor = energy_factor(14, 0.9, 45, 0.9)
    for name in ActionEnergies._fields:
        expected = 1 if name in ("dram_per_bit", "wire_per_bit") else factor
        assert getattr(small, name) == pytest.approx(expected * getattr(base, name)), name


def test_energy_rises_with_voltage(table: EnergyTable) -> None:
    device = make_device()
    slow, fast = (
        action_energies(prices(table, device), device, p) for p in device.operating_points
    )
    for name in ActionEnergies._fields:
        a, b = getattr(slow, name), getattr(fast, name)
        assert a == b if name == "dram_per_bit" else a < b, name
    assert fast.wire_per_bit == pytest.approx(slow.wire_per_bit * (1.1 / 0.9) ** 2)


def test_memories_rise_with_capacity_and_fall_with_banks(table: EnergyTable) -> None:
    base = energies(table)
    large = energies(table, scratchpad__capacity_bytes=131072, accumulator__capacity_bytes=16384)
    assert large.scratchpad_read_per_bit == pytest.approx(2 * base.scratchpad_read_per_bit)
    assert large.scratchpad_write_per_bit == pytest.approx(2 * base.scratchpad_write_per_bit)
    assert large.accumulator_read_per_bit == pytest.approx(2 * base.accumulator_read_per_bit)
    assert large.accumulator_write_per_bit == pytest.approx(2 * base.accumulator_write_per_bit)
    banked = energies(table, scratchpad__banks=16)
    assert banked.scratchpad_read_per_bit == pytest.approx(base.scratchpad_read_per_bit / 2)


def test_split_layout_counts_its_whole_capacity(table: EnergyTable) -> None:
    split = {
        "layout": "split", "ifmap_bytes": 16384, "weight_bytes": 12288, "ofmap_bytes": 4096,
        "banks": 4, "read_bytes_per_cycle": 8,
    }  # fmt: skip
    content = make_device().model_dump(exclude={"sources", "published"})
    device = device_from_dict({**content, "scratchpad": split}, "made-up")
    got = action_energies(prices(table, device), device, device.operating_point())
    assert got.scratchpad_read_per_bit == pytest.approx(0.156)


def test_bounds_enclose_the_value(table: EnergyTable) -> None:
    device = make_device()
    point = device.operating_point()
    low, value, high = (
        action_energies(prices(table, device), device, point, b) for b in ("low", "value", "high")
    )
    for name in ActionEnergies._fields:
        assert 0 < getattr(low, name) <= getattr(value, name) <= getattr(high, name), name
    writes = table.scratchpad.write_over_read
    ratio = high.scratchpad_write_per_bit / high.scratchpad_read_per_bit
    assert ratio == pytest.approx(writes.high)


def test_no_dram_costs_nothing(table: EnergyTable) -> None:
    assert energies(table, dram__kind="none").dram_per_bit == 0


def test_unknown_dram_kind(table: EnergyTable) -> None:
    with pytest.raises(DeviceError) as caught:
        energies(table, dram__kind="hbm2")
    assert caught.value.where == "made-up"
    assert caught.value.problem == "dram.kind = 'hbm2' is no memory of energy/dram.toml"
    assert caught.value.allowed == ", ".join(sorted(load_dram_table().dram))


def test_a_voltage_the_node_cannot_have_names_the_device(table: EnergyTable) -> None:
    device = make_device(energy__node_nm=180.0)
    point = device.operating_point().model_copy(update={"voltage_v": 0.7})
    with pytest.raises(DeviceError) as caught:
        action_energies(prices(table, device), device, point)
    assert caught.value.where == "made-up, operating point base"
    assert caught.value.allowed == "0.730 to 2.700 V"


def test_table_names() -> None:
    assert "45nm" in energy_table_names()
    assert "scaling" not in energy_table_names()


def test_unknown_table() -> None:
    with pytest.raises(DeviceError) as caught:
        load_energy_table("3nm")
    assert caught.value.problem == "no table called '3nm'"
    assert "45nm" in caught.value.allowed


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be read"):
        load_energy_table(tmp_path / "missing.toml")


def test_a_table_by_path(tmp_path: Path, table: EnergyTable) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(_text(), encoding="utf-8")
    assert load_energy_table(path) == table


def _text() -> str:
    return (data_folder("hwconfigs") / "energy" / "45nm.toml").read_text(encoding="utf-8")


def _changed(key: str, **leaf: Any) -> None:
    """Check the shipped table with the leaf under dotted ``key`` changed."""
    content = tomllib.loads(_text())
    section: Any = content
    for part in key.split("."):
        section = section[part]
    section.update(leaf)
    for name in [n for n, v in leaf.items() if v is None]:
        del section[name]
    parse_toml(_toml(content), "t.toml", EnergyTable)


def _toml(content: dict[str, Any]) -> str:
    """Just enough TOML to write a table back: every section as an inline one."""

    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f'"{k}" = {inline(v)}' for k, v in value.items()) + "}"
        return repr(value) if not isinstance(value, str) else f'"{value}"'

    return "".join(f"{key} = {inline(value)}\n" for key, value in content.items())


MULTIPLIER = "mac.multiplier_pj_per_bit2"


@pytest.mark.parametrize(
    ("key", "leaf", "message"),
    [
        (MULTIPLIER, {"unit": "pJ"}, f"t.toml: {MULTIPLIER}.unit = 'pJ'; allowed: 'pJ/bit^2'"),
        (MULTIPLIER, {"value": "3"}, f"{MULTIPLIER}.value = '3'; allowed: a valid number"),
        (MULTIPLIER, {"high": float("inf")}, f"{MULTIPLIER}.high = inf; allowed: a finite"),
        (MULTIPLIER, {"value": float("nan")}, f"{MULTIPLIER}.value = nan; allowed: "),
        (MULTIPLIER, {"low": -1.0}, "low = -1.0; allowed: greater than or equal to 0"),
        (MULTIPLIER, {"value": 9.0}, f"{MULTIPLIER}: value = 9.0 is not within low"),
        (MULTIPLIER, {"status": "guessed"}, "allowed: 'published', 'derived' or 'estimated'"),
        (MULTIPLIER, {"source": ""}, f"{MULTIPLIER}.source = ''; allowed: "),
        (MULTIPLIER, {"source": None}, f"{MULTIPLIER}.source: missing"),
        (MULTIPLIER, {"typical": 1}, "typical: unknown key; allowed: value, low, high, unit"),
        ("register", {"read": 1}, "register.read: unknown key; allowed: write_pj_per_bit"),
        ("instruction.pj", {"low": 0}, "instruction.pj.low = 0.0: nothing on a chip comes for 0"),
        ("area.overhead", {"low": 0}, "area.overhead.low = 0.0: nothing on a chip comes for 0"),
    ],
)
def test_wrong_tables(key: str, leaf: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError) as caught:
        _changed(key, **leaf)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "leaf", "message"),
    [
        ("ddr3", {"pj": 1}, "dram.ddr3.pj_per_bit.pj: unknown key"),
        ("ddr3", {"low": 0}, "dram.ddr3.pj_per_bit.low = 0.0: an access costs more than 0"),
        ("none", {"high": 1}, "dram.none.pj_per_bit.high = 1.0: where no memory is, 0"),
    ],
)
def test_wrong_memories(key: str, leaf: dict[str, Any], message: str) -> None:
    text = (data_folder("hwconfigs") / "energy" / "dram.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    content["dram"][key]["pj_per_bit"].update(leaf)
    with pytest.raises(DeviceError) as caught:
        parse_toml(_toml(content), "t.toml", DramTable)
    assert message in str(caught.value)


def test_several_problems_are_counted() -> None:
    with pytest.raises(DeviceError, match=r"\(and 1 more\)"):
        _changed(MULTIPLIER, unit="pJ", status="guessed")


def test_unknown_section_names_the_known_ones() -> None:
    with pytest.raises(
        DeviceError, match=r"tlb: unknown key; .*mac, shifter, register, scratchpad"
    ):
        parse_toml(_text() + "\n[tlb]\nx = 1\n", "t.toml", EnergyTable)


def test_not_toml() -> None:
    with pytest.raises(DeviceError, match=r"t\.toml: not valid TOML"):
        parse_toml("= 3", "t.toml", EnergyTable)


def test_quantities_carry_the_keys_of_the_file(table: EnergyTable) -> None:
    content = tomllib.loads(_text())
    for key, quantity in quantities(table):
        section: Any = content
        for part in key.split("."):
            section = section[part]
        assert section["value"] == quantity.value
