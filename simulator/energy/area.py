"""Silicon area of a device and what a die of it costs, from its energy table."""

from __future__ import annotations

import math
from typing import NamedTuple

from simulator.energy.actions import FLOAT_ADD, FLOAT_MULTIPLY, codebook_bytes
from simulator.energy.counts import shifted_bits, stage_parts
from simulator.energy.scaling import area_factor
from simulator.energy.table import Bounds, EnergyTable
from simulator.fixedpoint.requantize import REQUANTIZERS
from simulator.hwconfig import Array, Device

_MM2 = 1e-6  # of a square micrometre
_SHIFTER_OVER_ADDER = 2.0  # 520 and 278 um2 at 32 bits (gem5-Aladdin, power_func.h)
_LANE_BITS = 32
_WAFER_MM = 300.0


class AreaModel(NamedTuple):
    """Square millimetres of the parts of a device, all cores together; what lies around them (interfaces
    to DRAM, processors, pads) is in none of them."""

    array: float
    vector: float
    scratchpad: float
    accumulator: float

    @property
    def logic(self) -> float:
        return self.array + self.vector

    @property
    def total(self) -> float:
        return sum(self)


def pe_bits(array: Array) -> tuple[int, int, int]:
    """(multiplier bits squared, adder bits, register bits) of a PE.

    It keeps an ifmap, a weight and a sum, and the stationary operand of the next fold where loading
    overlaps. Bit-serial PEs have a row of a multiplier. Multiplexers of fused and sparse PEs are left out,
    as in their energy.
    """
    if array.multiplier == "shift":
        word = shifted_bits(array)
        added = array.sum_bits + word * (array.shift_terms - 1)
        added += round(_SHIFTER_OVER_ADDER * word * array.shift_terms)
        return 0, added, _kept_bits(array)
    serial = array.precision_scaling == "bit_serial"
    multiplier = array.ifmap_bits * (1 if serial else array.weight_bits)
    return multiplier, array.sum_bits, _kept_bits(array)


def _kept_bits(array: Array) -> int:
    stationary = array.ifmap_bits if array.dataflow == "input_stationary" else array.weight_bits
    shadow = stationary if array.overlap != "serial" else 0
    return array.ifmap_bits + array.weight_bits + array.sum_bits + shadow


def column_bits(array: Array) -> tuple[int, int]:
    """(multiplier bits squared, register bits) of what stands at each column besides its PEs: the factor of
    groups behind it, the table of weights before it."""
    return array.sum_bits * array.group_factor_bits, 8 * codebook_bytes(array)


def area_mm2(table: EnergyTable, device: Device, bounds: Bounds = "value") -> AreaModel:
    """The parts of ``device`` at its node, or the ``low`` or ``high`` end of each.

    A lane of the vector unit is a multiplier and an adder of 32 bits, its requantizer (the largest that a
    profile asks for) and two registers; with float32, another of either; with a reducer of ranges, two
    comparators and registers.
    """
    a, array = table.area, device.array
    at_node = _MM2 * area_factor(device.energy.node_nm, table.node_nm, device.name)
    multiplier, adder, register = (
        x.at(bounds)
        for x in (a.multiplier_um2_per_bit2, a.adder_um2_per_bit, a.register_um2_per_bit)
    )
    logic = at_node * a.overhead.at(bounds)
    squared, added, kept = pe_bits(array)
    pe = squared * multiplier + added * adder + kept * register
    factor, table_bits = column_bits(array)
    column = factor * multiplier + table_bits * register
    stages = [stage_parts(kind, array.accumulator_bits) for kind in REQUANTIZERS]
    lane = multiplier * max(s[0] for s in stages) + multiplier * _LANE_BITS**2
    lane += adder * (max(s[1] for s in stages) + _LANE_BITS)
    lane += adder * _SHIFTER_OVER_ADDER * max(s[2] for s in stages) + 2 * _LANE_BITS * register
    sram = at_node * 8 * a.sram_um2_per_bit.at(bounds)
    scratchpads, accumulators = device.sram_bytes
    if device.vector.float32:
        lane += (
            multiplier * FLOAT_MULTIPLY.area * _LANE_BITS**2 + adder * FLOAT_ADD.area * _LANE_BITS
        )
    if device.vector.range_reducer:
        lane += 2 * (adder + register) * _LANE_BITS  # two comparators, and what they have found
    return AreaModel(
        array=device.cores * array.cols * (array.rows * pe + column) * logic,
        vector=device.cores * device.vector.lanes * lane * logic,
        scratchpad=scratchpads * sram,
        accumulator=accumulators * sram,
    )


def die_cost_usd(table: EnergyTable, die_mm2: float, bounds: Bounds = "value") -> float:
    """What a good die of ``die_mm2`` costs of a wafer: those that fit on 300 mm, less those with a fault
    (Poisson). Packaging, test and masks are not in it; infinite where no die fits."""
    diameter = _WAFER_MM
    on_wafer = math.pi * diameter**2 / (4 * die_mm2) - math.pi * diameter / math.sqrt(2 * die_mm2)
    if on_wafer < 1:
        return math.inf
    good = math.exp(-table.cost.defects_per_cm2.at(bounds) * die_mm2 / 100)
    return table.cost.wafer_usd.at(bounds) / (on_wafer * good)
