"""Energy of a program: action counts times the scaled table, and static power times time."""

from __future__ import annotations

from simulator.energy.actions import ActionEnergies, action_energies
from simulator.energy.counts import Counts
from simulator.energy.scaling import idle_factor, leakage_factor
from simulator.energy.table import Bounds, load_energy_table
from simulator.errors import DeviceError
from simulator.hwconfig import Device, OperatingPoint

COMPONENTS = (
    "mac", "register", "scratchpad", "accumulator", "vector", "wire", "instruction", "dram", "host",
    "leakage", "idle",
)  # fmt: skip


class EnergyModel:
    """The energy of actions and of time on one device at one operating point, in picojoules."""

    def __init__(self, device: Device, point: OperatingPoint, bounds: Bounds = "value") -> None:
        try:
            table = load_energy_table(device.energy.table)
        except DeviceError as error:
            raise DeviceError(
                device.name, f"energy.table: {error.problem}", error.allowed
            ) from None
        self.actions: ActionEnergies = action_energies(table, device, point, bounds)
        self.host_pj = device.host.operation_pj
        first = device.operating_points[0]
        # 1 mW for one cycle of 1 MHz is 1000 pJ.
        per_cycle = 1000.0 / point.clock_mhz
        leakage = device.power.leakage_mw * leakage_factor(point.voltage_v, first.voltage_v)
        idle = device.power.idle_mw * idle_factor(point, first)
        self.leakage_pj_per_cycle = leakage * per_cycle
        self.idle_pj_per_cycle = idle * per_cycle

    def command_pj(self, counts: Counts, cycles: int) -> dict[str, float]:
        """Energy of one command by component; ``cycles`` is how long it holds the device."""
        a, c = self.actions, counts
        scratchpad = c.scratchpad_read_bits * a.scratchpad_read_per_bit
        scratchpad += c.scratchpad_write_bits * a.scratchpad_write_per_bit
        accumulator = c.accumulator_read_bits * a.accumulator_read_per_bit
        accumulator += c.accumulator_write_bits * a.accumulator_write_per_bit
        vector = c.vector_multiplies * a.vector_multiply + c.vector_adds * a.vector_add
        vector += c.vector_lookups * a.vector_lookup
        vector += c.stage_multiplier_bits2 * a.multiplier_per_bit2
        vector += c.stage_adder_bits * a.adder_per_bit + c.stage_shifter_bits * a.shifter_per_bit
        return {
            "mac": c.mac_multiplier_bits2 * a.multiplier_per_bit2
            + c.mac_adder_bits * a.adder_per_bit,
            "register": c.register_bits * a.register_per_bit,
            "scratchpad": scratchpad,
            "accumulator": accumulator,
            "vector": vector,
            "wire": c.wire_bits * a.wire_per_bit,
            "instruction": a.instruction,
            "dram": 8.0 * (c.dram_read_bytes + c.dram_write_bytes) * a.dram_per_bit,
            "host": c.host_operations * self.host_pj,
            "leakage": cycles * self.leakage_pj_per_cycle,
            "idle": cycles * self.idle_pj_per_cycle,
        }
