"""Area: by hand, within what is published, and rising with all that takes room; the cost of a die."""

from __future__ import annotations

import math
from typing import Any

import pytest
from variants import variant

from simulator.energy.area import AreaModel, area_mm2, die_cost_usd, pe_bits
from simulator.energy.prices import prices_of
from simulator.energy.table import load_energy_table
from simulator.hwconfig import Device, device_names, load_device


def area(device: Device, bounds: Any = "value") -> AreaModel:
    return area_mm2(prices_of(device).table, device, bounds)


# Horowitz, ISSCC 2014, as in Gholami et al., Fig. 7: um2 at 45 nm.
@pytest.mark.parametrize(
    ("bits", "multiplier", "adder"), [(8, 282, 36), (16, None, 67), (32, 3495, 137)]
)
def test_horowitz(bits: int, multiplier: float | None, adder: float) -> None:
    a = load_energy_table("45nm").area
    assert a.adder_um2_per_bit.value * bits == pytest.approx(adder, rel=0.05)
    if multiplier:
        low, high = (
            bits**2 * q for q in (a.multiplier_um2_per_bit2.low, a.multiplier_um2_per_bit2.high)
        )
        assert low * 0.99 < multiplier < high


def test_survey_claims_of_int8_against_fp32() -> None:
    """Gholami et al., Fig. 7: an INT8 addition takes 30 times less energy and 116 times less area than
    FP32's 0.9 pJ and 4184 um2."""
    table = load_energy_table("45nm")
    assert (
        0.9 / (8 * table.mac.adder_pj_per_bit.high)
        < 30
        < 0.9 / (8 * table.mac.adder_pj_per_bit.low)
    )
    assert 4184 / (8 * table.area.adder_um2_per_bit.value) == pytest.approx(116, rel=0.06)


def test_pe_registers() -> None:
    array = load_device("fsd").array
    assert pe_bits(array) == (64, 32, 8 + 8 + 32 + 8)
    assert pe_bits(array.model_copy(update={"overlap": "serial"})) == (64, 32, 48)
    narrow = array.model_copy(update={"dataflow": "input_stationary", "ifmap_bits": 16})
    assert pe_bits(narrow) == (128, 32, 16 + 8 + 32 + 16)
    assert pe_bits(array.model_copy(update={"precision_scaling": "bit_serial"}))[0] == 8


def test_published_areas_are_within_the_range() -> None:
    # Cells of NVDLA (primer.rst); TPU v1's array is 30 % of a die of at most 331 mm2, its buffers 37 %.
    for name in ("nvdla-small", "nvdla-large"):
        device = load_device(name)
        published = device.published.die_mm2
        assert published
        assert area(device, "low").total < published < area(device, "high").total
    low, high = (area(load_device("tpuv1"), bounds) for bounds in ("low", "high"))
    assert low.array < 0.30 * 331 < high.array
    assert sum(low[2:]) < 0.37 * 331 < sum(high[2:])


@pytest.mark.parametrize(
    ("key", "values", "part"),
    [
        ("array.rows", [32, 64, 96], "array"), ("array.weight_bits", [4, 8, 16], "array"),
        ("array.accumulator_bits", [24, 32, 40], "array"), ("vector.lanes", [16, 32], "vector"),
        ("scratchpad.capacity_bytes", [1 << 20, 1 << 22], "scratchpad"),
        ("accumulator.capacity_bytes", [1 << 19, 1 << 20], "accumulator"),
        ("cores", [1, 2, 4], "array"), ("energy.node_nm", [5.0, 7.0, 10.0, 14.0, 28.0, 45.0], "array"),
    ],
)  # fmt: skip
def test_more_takes_more(key: str, values: list[Any], part: str) -> None:
    sizes = [getattr(area(variant("fsd", {key: value})), part) for value in values]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == len(sizes)


def test_a_shared_scratchpad_is_there_once() -> None:
    one = area(load_device("fsd"))
    shared = area(variant("fsd", {"cores": 4, "shared_scratchpad": True}))
    private = area(variant("fsd", {"cores": 4}))
    assert shared.scratchpad == one.scratchpad
    assert private.scratchpad == pytest.approx(4 * one.scratchpad)
    assert shared.array == private.array == pytest.approx(4 * one.array)


def test_bounds_hold_the_value_of_every_part() -> None:
    for name in device_names():
        device = load_device(name)
        parts = zip(*(area(device, b) for b in ("low", "value", "high")), strict=True)
        assert all(0 < low < value < high for low, value, high in parts)


def test_die_cost_by_hand() -> None:
    table = load_energy_table("7nm")
    # 100 mm2: pi * 300^2 / 400 - pi * 300 / sqrt(200) = 640.2 dies, exp(-0.1) of them good.
    assert die_cost_usd(table, 100.0) == pytest.approx(9346 / (640.2 * math.exp(-0.1)), rel=1e-3)
    assert (
        die_cost_usd(table, 100.0, "low")
        < die_cost_usd(table, 100.0)
        < die_cost_usd(table, 100.0, "high")
    )
    assert die_cost_usd(table, 1e6) == math.inf
    sizes = [die_cost_usd(table, mm2) / mm2 for mm2 in (1.0, 10.0, 100.0, 600.0)]
    assert sizes == sorted(sizes)
