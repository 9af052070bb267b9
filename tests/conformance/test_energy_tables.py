"""What every shipped energy table, and the scaling table, must satisfy."""

from __future__ import annotations

import pytest
from scripts import script

from simulator.energy.actions import action_energies
from simulator.energy.model import EnergyModel
from simulator.energy.prices import prices_of
from simulator.energy.scaling import energy_factor, load_scaling
from simulator.energy.table import (
    NO_DRAM,
    EnergyTable,
    energy_table_names,
    load_dram_table,
    load_energy_table,
    quantities,
)
from simulator.hwconfig import load_device, with_keys
from simulator.resources import data_folder

derive = script(data_folder("hwconfigs") / "energy" / "derive.py")

KINDS = {"ddr3", "lpddr3", "lpddr4", "lpddr4x", "lpddr5", "flash", "pcie", "usb", NO_DRAM}


@pytest.fixture(params=energy_table_names())
def table(request: pytest.FixtureRequest) -> EnergyTable:
    table = load_energy_table(request.param)
    assert table.name == request.param
    return table


def test_the_base_table_is_there() -> None:
    assert "45nm" in energy_table_names()


def test_the_nodes_are_there() -> None:
    nodes = {"65nm", "45nm", "28nm", "22nm", "16nm", "14nm", "12nm", "7nm", "5nm"}
    assert set(energy_table_names()) == nodes


def test_every_number_has_a_range_and_says_where_it_is_from(table: EnergyTable) -> None:
    for key, quantity in [*quantities(table), *quantities(load_dram_table())]:
        assert quantity.low <= quantity.value <= quantity.high, key
        assert len(quantity.source) >= 30, key
        absent = key == f"dram.{NO_DRAM}.pj_per_bit"
        assert (quantity.high == 0) if absent else (quantity.low > 0), key
        # An estimate without room for error claims to be a measurement.
        assert quantity.status != "estimated" or quantity.low < quantity.high, key


def test_all_memory_kinds_are_there() -> None:
    assert set(load_dram_table().dram) >= KINDS


@pytest.mark.parametrize("node", derive.NODES)
def test_derived_tables_are_what_the_script_makes_of_the_base(node: float) -> None:
    path = data_folder("hwconfigs") / "energy" / f"{node:g}nm.toml"
    assert path.read_text(encoding="utf-8") == derive.derived(node), "run derive.py again"


def test_a_device_at_a_node_costs_the_same_by_its_table_and_by_the_base() -> None:
    """A table is the base, scaled: taking it or scaling the base directly is the same to four digits, but
    for the area of SRAM, which follows its cells and not logic, and which the clock's tree follows."""
    for name in ("wear", "fsd", "xr2", "snapdragon-888", "eyeriss"):
        own = load_device(name)
        base = with_keys(own, {"energy": {"table": "45nm"}})
        point = own.operating_point()
        pairs = zip(
            action_energies(prices_of(own), own, point),
            action_energies(prices_of(base), base, point),
            strict=True,
        )
        for one, other in pairs:
            assert one == pytest.approx(other, rel=2e-3)
        assert EnergyModel(own, point).static.leakage == pytest.approx(
            EnergyModel(base, point).static.leakage, rel=2e-3
        )


def test_process_is_the_one_that_scaling_assumes_at_its_node(table: EnergyTable) -> None:
    nodes = {n.node_nm: n for n in load_scaling().nodes}
    if table.name == "45nm":
        assert table.node_nm in nodes, "the base table sits on a published node"
    if table.node_nm in nodes:
        assert table.process == nodes[table.node_nm].process
    assert energy_factor(table.node_nm, table.voltage_v, table.node_nm, table.voltage_v) == 1


def test_bulk_then_high_k_then_multi_gate() -> None:
    for node in load_scaling().nodes:
        size = node.node_nm
        expected = "bulk" if size >= 65 else "HK-HP" if size >= 32 else "MG-HP"
        assert node.process == expected


def test_every_node_holds_at_its_nominal_supply() -> None:
    for node in load_scaling().nodes:
        lowest, highest = node.supply_range()
        assert lowest < node.nominal_v < highest
        assert node.energy(node.nominal_v) > 0
