"""Energy of a program: action counts times the scaled table, and static power times time."""

from __future__ import annotations

from typing import NamedTuple

from simulator.energy.actions import ActionEnergies, action_energies
from simulator.energy.area import AreaModel, area_mm2, die_cost_usd
from simulator.energy.counts import Counts
from simulator.energy.prices import Prices, prices_of
from simulator.energy.scaling import (
    area_factor,
    gate_leakage_factor,
    idle_factor,
    leakage_factor,
    wire_factor,
)
from simulator.energy.table import Bounds, EnergyTable
from simulator.hwconfig import Device, OperatingPoint

COMPONENTS = (
    "mac", "register", "scratchpad", "accumulator", "vector", "wire", "instruction", "dram", "host",
    "leakage", "idle",
)  # fmt: skip
_MIB = 1 << 20


class StaticPower(NamedTuple):
    """Milliwatts that flow whatever the array does: ``leakage``, ``idle`` (the clock's tree, and what the
    device file adds), and ``sleep`` between inferences, where only SRAM keeps its bits."""

    leakage: float
    idle: float
    sleep: float


def _static_power(
    table: EnergyTable, device: Device, point: OperatingPoint, area: AreaModel, bounds: Bounds
) -> StaticPower:
    """What ``device`` states at its first operating point, else what follows from its area."""
    power, first, leak = device.power, device.operating_points[0], table.leakage
    gate = gate_leakage_factor(device.energy.node_nm, table.node_nm)
    gate *= leakage_factor(point.voltage_v, table.voltage_v)
    if device.energy.low_power:
        gate *= leak.low_power_share.at(bounds)
    density = gate / area_factor(device.energy.node_nm, table.node_nm)
    sram = sum(device.sram_bytes) / _MIB * leak.sram_mw_per_mib.at(bounds) * gate
    if power.leakage_mw is None:
        leakage = sram + area.logic * leak.logic_mw_per_mm2.at(bounds) * density
    else:
        leakage = power.leakage_mw * leakage_factor(point.voltage_v, first.voltage_v)
    if power.idle_mw is None:
        tree = table.clock.pj_per_mm2.at(bounds) * wire_factor(point.voltage_v, table.voltage_v)
        idle = 1e-3 * tree * area.total * point.clock_mhz
    else:
        idle = power.idle_mw * idle_factor(point, first)
    sleep = power.sleep_mw
    if sleep is None:
        # Of stated leakage as much is SRAM's as of that which follows from the area.
        sleep = leak.retention_share.at(bounds) * min(sram, leakage)
    return StaticPower(leakage, idle + power.other_mw, sleep)


class EnergyModel:
    """The energy of actions and of time on one device at one operating point, in picojoules.

    ``prices`` take the place of the device's own. ``bounds``: all numbers at that end of their ranges.
    """

    def __init__(
        self,
        device: Device,
        point: OperatingPoint,
        bounds: Bounds = "value",
        prices: Prices | None = None,
    ) -> None:
        prices = prices or prices_of(device)
        table = prices.table
        self.actions: ActionEnergies = action_energies(prices, device, point, bounds)
        self.point = point
        self.host_pj = device.host.operation_pj
        self.area: AreaModel = area_mm2(table, device, bounds)
        self.die_cost_usd = die_cost_usd(table, self.area.total, bounds)
        self.static: StaticPower = _static_power(table, device, point, self.area, bounds)
        # 1 mW for one cycle of 1 MHz is 1000 pJ.
        per_cycle = 1000.0 / point.clock_mhz
        self.leakage_pj_per_cycle = self.static.leakage * per_cycle
        self.idle_pj_per_cycle = self.static.idle * per_cycle

    def command_pj(self, counts: Counts, cycles: int, commands: int = 1) -> dict[str, float]:
        """Energy of one command by component, or of several whose counts and cycles are summed; ``cycles``
        is how long they hold the device."""
        a, c = self.actions, counts
        scratchpad = c.scratchpad_read_bits * a.scratchpad_read_per_bit
        scratchpad += c.scratchpad_write_bits * a.scratchpad_write_per_bit
        accumulator = c.accumulator_read_bits * a.accumulator_read_per_bit
        accumulator += c.accumulator_write_bits * a.accumulator_write_per_bit
        vector = c.vector_multiplies * a.vector_multiply + c.vector_adds * a.vector_add
        vector += c.vector_lookups * a.vector_lookup
        vector += c.float_multiplies * a.float_multiply + c.float_adds * a.float_add
        vector += c.stage_multiplier_bits2 * a.multiplier_per_bit2
        vector += c.stage_adder_bits * a.adder_per_bit + c.stage_shifter_bits * a.shifter_per_bit
        return {
            "mac": c.mac_multiplier_bits2 * a.multiplier_per_bit2
            + c.mac_adder_bits * a.adder_per_bit
            + c.mac_shifter_bits * a.shifter_per_bit,
            "register": c.register_bits * a.register_per_bit + c.table_bits * a.table_read_per_bit,
            "scratchpad": scratchpad,
            "accumulator": accumulator,
            "vector": vector,
            "wire": c.wire_bits * a.wire_per_bit,
            "instruction": commands * a.instruction,
            "dram": 8.0 * (c.dram_read_bytes + c.dram_write_bytes) * a.dram_per_bit,
            "host": c.host_operations * self.host_pj,
            "leakage": cycles * self.leakage_pj_per_cycle,
            "idle": cycles * self.idle_pj_per_cycle,
        }
