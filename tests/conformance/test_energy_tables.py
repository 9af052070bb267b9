"""What every shipped energy table, and the scaling table, must satisfy."""

from __future__ import annotations

import pytest

from simulator.energy.scaling import energy_factor, load_scaling
from simulator.energy.table import (
    NO_DRAM,
    EnergyTable,
    energy_table_names,
    load_energy_table,
    quantities,
)

KINDS = {"ddr3", "lpddr3", "lpddr4", "lpddr5", "flash", "pcie", "usb", NO_DRAM}


@pytest.fixture(params=energy_table_names())
def table(request: pytest.FixtureRequest) -> EnergyTable:
    table = load_energy_table(request.param)
    assert table.name == request.param
    return table


def test_the_base_table_is_there() -> None:
    assert "45nm" in energy_table_names()


def test_every_number_has_a_range_and_says_where_it_is_from(table: EnergyTable) -> None:
    for key, quantity in quantities(table):
        assert quantity.low <= quantity.value <= quantity.high, key
        assert len(quantity.source) >= 30, key
        absent = key == f"dram.{NO_DRAM}.pj_per_bit"
        assert (quantity.high == 0) if absent else (quantity.low > 0), key
        # An estimate without room for error claims to be a measurement.
        assert quantity.status != "estimated" or quantity.low < quantity.high, key


def test_all_memory_kinds_are_there(table: EnergyTable) -> None:
    assert set(table.dram) >= KINDS


def test_process_is_the_one_that_scaling_assumes_at_its_node(table: EnergyTable) -> None:
    nodes = {n.node_nm: n for n in load_scaling().nodes}
    assert table.node_nm in nodes, "a base table sits on a published node"
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
