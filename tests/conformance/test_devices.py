"""What every shipped device must satisfy."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from simulator.energy.actions import ActionEnergies, action_energies
from simulator.energy.model import EnergyModel
from simulator.energy.prices import prices_of
from simulator.energy.scaling import idle_factor, leakage_factor
from simulator.energy.table import NO_DRAM
from simulator.hwconfig import (
    Device,
    SplitScratchpad,
    device_names,
    json_schema,
    load_device,
    numeric_keys,
)
from simulator.report.catalogue import device_table
from simulator.resources import data_folder

EXPECTED = {
    "wear", "ndp9120", "max78000", "ethos-u55-128", "ethos-u55-256", "gap9", "stm32n6", "as371", "kl720",
    "ethos-u65-512", "dpu-b4096", "nvdla-small", "nvdla-large", "edge-stick", "inferx-x1", "xr2",
    "snapdragon-888", "eyeq5", "fsd", "fsd-chip", "tpuv1", "gemmini", "eyeriss",
}  # fmt: skip


@pytest.fixture(params=device_names())
def device(request: pytest.FixtureRequest) -> Device:
    return load_device(request.param)


def test_the_catalogue_is_complete() -> None:
    assert set(device_names()) >= EXPECTED


def test_file_is_called_what_the_device_is_called(device: Device) -> None:
    path = data_folder("hwconfigs") / "devices" / f"{device.name}.toml"
    first, _, _ = path.read_text(encoding="utf-8").partition("\n")
    assert first == "#:schema ../device.schema.json"


def test_every_number_is_sourced(device: Device) -> None:
    missing = [
        key
        for key in numeric_keys(device, defaults=False)
        if not any(key == s or key.startswith(f"{s}.") for s in device.sources)
    ]
    assert missing == []


def test_title_and_description_are_there(device: Device) -> None:
    assert device.title
    assert device.device_class
    assert len(device.description) >= 40


def _half_a_unit(number: float) -> float:
    """Half a unit of the last digit that ``number`` is written with."""
    exponent = Decimal(repr(number)).normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return 0.5 * 10.0**exponent


def test_peak_is_within_1_percent_of_the_published_one(device: Device) -> None:
    published = device.published.peak_tops
    if published is None:
        pytest.skip("no peak published")
    # 0.0097 TOPS means anything from 0.00965 to 0.00975.
    tolerance = 0.01 * published + _half_a_unit(published)
    assert device.peak_tops(device.operating_point()) == pytest.approx(published, abs=tolerance)


def test_energy_of_every_action_at_every_point(device: Device) -> None:
    prices = prices_of(device)
    for point in device.operating_points:
        low, value, high = (
            action_energies(prices, device, point, b) for b in ("low", "value", "high")
        )
        for name in ActionEnergies._fields:
            if name == "dram_per_bit" and device.dram.kind == NO_DRAM:
                assert getattr(high, name) == 0
            else:
                ends = getattr(low, name), getattr(value, name), getattr(high, name)
                assert 0 < ends[0] <= ends[1] <= ends[2] < 1e5, name


def test_first_point_is_the_fastest_and_the_reference_for_power(device: Device) -> None:
    first = device.operating_point()
    for point in device.operating_points:
        assert 0 < leakage_factor(point.voltage_v, first.voltage_v) <= 1
        assert 0 < idle_factor(point, first) <= 1


def test_constant_power_stays_below_the_published_total(device: Device) -> None:
    if device.published.power_w is None:
        pytest.skip("no power published")
    static = EnergyModel(device, device.operating_point()).static
    assert 0 <= static.sleep < static.leakage + static.idle < 1000 * device.published.power_w


def test_dma_can_carry_what_the_dram_gives(device: Device) -> None:
    point = device.operating_point()
    assert device.dma.bytes_per_cycle * point.clock_mhz >= device.dram.bandwidth_mb_per_s


def test_banks_hold_at_least_a_kibibyte(device: Device) -> None:
    assert device.scratchpad.capacity_bytes / device.scratchpad.banks >= 1024


def test_split_regions_keep_the_published_totals() -> None:
    totals = {"wear": (64, 128), "edge-stick": (2048, 6144)}
    for name, (activations_kib, weights_kib) in totals.items():
        scratchpad = load_device(name).scratchpad
        assert isinstance(scratchpad, SplitScratchpad)
        assert scratchpad.ifmap_bytes + scratchpad.ofmap_bytes == activations_kib * 1024
        assert scratchpad.weight_bytes == weights_kib * 1024


def test_schema_file_is_up_to_date() -> None:
    path = data_folder("hwconfigs") / "device.schema.json"
    expected = json.dumps(json_schema(), indent=2) + "\n"
    assert path.read_text(encoding="utf-8") == expected, "write json_schema() to it again"


def test_readme_lists_every_device() -> None:
    text = (data_folder("hwconfigs") / "README.md").read_text(encoding="utf-8")
    table = text.split("<!-- npusim devices --markdown -->")[1].split("<!-- end of")[0]
    assert table.strip() == device_table(markdown=True)
