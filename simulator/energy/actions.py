"""The energy of each action of one device at one operating point, as plain numbers for kernels."""

from __future__ import annotations

import math
from typing import NamedTuple

from simulator.coding import LEVEL_BITS
from simulator.energy.prices import Prices
from simulator.energy.scaling import energy_factor, wire_factor
from simulator.energy.table import Bounds, EnergyTable
from simulator.hwconfig import Array, Device, OperatingPoint

_KIB = 1024.0
_LAW_KIB = 8.0  # capacity at which the table states the scratchpad's energy


class Float32(NamedTuple):
    """What an operation on float32 numbers costs over that on 32-bit integers."""

    energy: float
    area: float


# Horowitz, ISSCC 2014, at 45 nm: 0.9 and 0.1 pJ, 4184 and 137 um2; 3.7 and 3.1 pJ, 7700 and 3495 um2.
FLOAT_ADD = Float32(0.9 / 0.1, 4184 / 137)
FLOAT_MULTIPLY = Float32(3.7 / 3.1, 7700 / 3495)


class ActionEnergies(NamedTuple):
    """Picojoules per action, or per bit where the name says so.

    A multiplier costs per product of its operands' widths, an adder and a shifter per bit of theirs.
    """

    multiplier_per_bit2: float
    adder_per_bit: float
    shifter_per_bit: float
    register_per_bit: float
    scratchpad_read_per_bit: float
    scratchpad_write_per_bit: float
    accumulator_read_per_bit: float
    accumulator_write_per_bit: float
    vector_multiply: float
    vector_add: float
    vector_lookup: float
    float_multiply: float
    float_add: float
    dram_per_bit: float
    wire_per_bit: float
    table_read_per_bit: float
    instruction: float


def codebook_bytes(array: Array) -> int:
    """Of the table in front of one column."""
    return array.codebook_entries * array.codebook_vector * LEVEL_BITS // 8


def sram_read_pj_per_bit(table: EnergyTable, bank_bytes: float, bounds: Bounds = "value") -> float:
    """``E(8 KiB) * sqrt(KiB / 8)`` of one bank, at the table's node.

    Word and bit lines both grow with the square root of a square bank. Fitted from 8 KiB to 1 MiB,
    extrapolated outside.
    """
    at_8kib = table.scratchpad.read_pj_per_bit_at_8kib.at(bounds)
    return at_8kib * math.sqrt(bank_bytes / _KIB / _LAW_KIB)


def action_energies(
    prices: Prices, device: Device, point: OperatingPoint, bounds: Bounds = "value"
) -> ActionEnergies:
    """What each action of ``device`` costs at ``point``, or the ``low`` or ``high`` end of it.

    A table in front of a column is priced as the smallest of scratchpads. A scratchpad bank is the whole
    capacity over the number of banks, also where the layout is
    split; the accumulator memory is one bank per array column. DRAM does not scale with node or
    voltage, wires scale with voltage only, all else with both.
    """
    table = prices.table
    array = device.array
    where = f"{device.name}, operating point {point.name}"
    scale = energy_factor(
        device.energy.node_nm, point.voltage_v, table.node_nm, table.voltage_v, where
    )
    wire = table.wire.pj_per_bit_mm.at(bounds) * wire_factor(point.voltage_v, table.voltage_v)
    bank_bytes = device.scratchpad.capacity_bytes / device.scratchpad.banks
    column_bytes = device.accumulator.capacity_bytes / array.cols
    scratchpad = scale * sram_read_pj_per_bit(table, bank_bytes, bounds)
    accumulator = scale * sram_read_pj_per_bit(table, column_bytes, bounds)
    write_over_read = table.scratchpad.write_over_read.at(bounds)
    return ActionEnergies(
        multiplier_per_bit2=scale * table.mac.multiplier_pj_per_bit2.at(bounds),
        adder_per_bit=scale * table.mac.adder_pj_per_bit.at(bounds),
        shifter_per_bit=scale * table.shifter.pj_per_bit.at(bounds),
        register_per_bit=scale * table.register_.write_pj_per_bit.at(bounds),
        scratchpad_read_per_bit=scratchpad,
        scratchpad_write_per_bit=scratchpad * write_over_read,
        accumulator_read_per_bit=accumulator,
        accumulator_write_per_bit=accumulator * write_over_read,
        vector_multiply=scale * table.vector.multiply_pj.at(bounds),
        vector_add=scale * table.vector.add_pj.at(bounds),
        vector_lookup=scale * table.vector.lookup_pj.at(bounds),
        float_multiply=scale * FLOAT_MULTIPLY.energy * table.vector.multiply_pj.at(bounds),
        float_add=scale * FLOAT_ADD.energy * table.vector.add_pj.at(bounds),
        dram_per_bit=prices.dram.pj_per_bit.at(bounds),
        wire_per_bit=wire * device.energy.wire_mm,
        table_read_per_bit=scale
        * sram_read_pj_per_bit(table, max(codebook_bytes(array), 1), bounds),
        instruction=scale * table.instruction.pj.at(bounds),
    )
