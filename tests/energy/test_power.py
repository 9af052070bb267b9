"""Operating points, duty cycles, limits, and power over time that sums to the energy."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import every_command
import numpy as np
import pytest
from real_models import graph_of
from variants import variant

from simulator.cli import main
from simulator.energy.model import EnergyModel
from simulator.errors import DeviceError, UsageError
from simulator.explore.power import (
    _share_of_intervals,
    power_over_time,
    power_points,
    voltage_points,
)
from simulator.hwconfig import Device, device_names, load_device
from simulator.npu import simulate
from simulator.timing.spans import ARRAY, Span


def test_power_over_time_is_the_energy() -> None:
    runs = [
        (graph_of("digits"), load_device(name)) for name in ("wear", "gap9", "fsd-chip", "gemmini")
    ]
    runs.append(
        (every_command.network(), every_command.device(softmax=False, scratchpad_bytes=512))
    )
    for model, device in runs:
        result = simulate(model, device)
        for intervals in (1, 7, 200):
            trace = power_over_time(result, intervals)
            assert trace.interval_s * intervals == pytest.approx(result.totals.latency_s)
            for component, watts in trace.watts.items():
                joules = float(watts.sum()) * trace.interval_s
                assert joules == pytest.approx(1e-12 * result.energy_by_component_pj[component])
                assert watts.min() >= -1e-12
            assert trace.total.mean() == pytest.approx(result.totals.average_power_w)
            assert trace.total.max() >= result.totals.average_power_w * (1 - 1e-9)


def test_the_array_draws_while_it_works() -> None:
    """Where no span of the array lies, no MAC is paid."""
    result = simulate(graph_of("digits"), load_device("wear"))
    trace = power_over_time(result, 100)
    busy = np.zeros(result.totals.cycles, bool)
    for span in result.spans():
        if span.track == ARRAY:
            busy[span.start : span.end] = True
    idle = [not part.any() for part in np.array_split(busy, 100)]
    edges = np.linspace(0, result.totals.cycles, 101)
    for number, nothing in enumerate(idle):
        inside = busy[int(edges[number]) : int(np.ceil(edges[number + 1]))]
        if nothing and not inside.any():
            assert trace.watts["mac"][number] == pytest.approx(0, abs=1e-12)
    assert any(idle)


def test_share_of_intervals_against_counting_cycles() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        starts = rng.integers(0, 90, 12)
        spans = [Span(ARRAY, "", 0, 0, int(s), int(s + rng.integers(0, 10))) for s in starts]
        counted = np.zeros(100)
        for s in spans:
            counted[s.start : s.end] += 1
        if not counted.sum():
            continue
        expected = counted.reshape(20, 5).sum(axis=1) / counted.sum()
        found = _share_of_intervals(spans, np.linspace(0, 100, 21))
        assert np.allclose(found, expected)
    empty = _share_of_intervals([Span(ARRAY, "", 0, 0, 5, 5)], np.linspace(0, 100, 5))
    assert np.allclose(empty, 0.25)


def test_points_over_voltages() -> None:
    for name in device_names():
        found = voltage_points(load_device(name), 6)
        assert len(found) >= 2
        for low, high in pairwise(found):
            assert low.voltage_v < high.voltage_v
            assert low.clock_mhz < high.clock_mhz


def test_points_between_published_ones_lie_on_the_line() -> None:
    device = load_device("gap9")
    found = voltage_points(device, 4)
    assert [p.voltage_v for p in found] == pytest.approx([0.65, 0.7, 0.75, 0.8])
    assert [p.clock_mhz for p in found] == pytest.approx(
        [240, 240 + 130 / 3, 240 + 260 / 3, 370], abs=1e-3
    )


def test_energy_falls_and_time_rises_with_the_voltage() -> None:
    points = power_points(graph_of("digits"), load_device("fsd"), points=6)
    for low, high in pairwise(points):
        assert low.energy_pj < high.energy_pj
        assert low.latency_s > high.latency_s
        assert low.average_w < high.average_w
        assert low.sleep_w < high.sleep_w
        assert low.tops_per_watt > high.tops_per_watt


def test_at_a_rate_by_hand() -> None:
    (fast, slow) = power_points(graph_of("digits"), load_device("gap9"), rate_per_s=1000)
    for p in (fast, slow):
        assert p.duty == pytest.approx(1000 * p.latency_s)
        assert p.duty is not None
        assert p.at_rate_w == pytest.approx(1000 * p.energy_pj * 1e-12 + (1 - p.duty) * p.sleep_w)
    (too_fast, too_slow) = power_points(graph_of("digits"), load_device("gap9"), rate_per_s=15_000)
    assert too_fast.duty is not None
    assert too_slow.duty is too_slow.at_rate_w is None


def test_within_a_power_by_hand() -> None:
    device = load_device("gap9")
    free = power_points(graph_of("digits"), device)
    limited = power_points(graph_of("digits"), device, tdp_w=free[0].average_w / 2)
    for before, p in zip(free, limited, strict=True):
        assert before.sustained_per_s == pytest.approx(1 / before.latency_s)
        assert p.sustained_per_s is not None
        limit = free[0].average_w / 2
        drawn = p.sustained_per_s * p.latency_s
        if p.average_w <= limit:
            assert drawn == pytest.approx(1)
        else:
            assert drawn * p.average_w + (1 - drawn) * p.sleep_w == pytest.approx(limit)
    nothing = power_points(graph_of("digits"), device, tdp_w=1e-9)
    assert nothing[0].sustained_per_s is None
    own = variant("gap9", {"power.tdp_w": 0.01})
    assert power_points(graph_of("digits"), own)[0].sustained_per_s != free[0].sustained_per_s


def test_stated_powers_are_those_of_the_first_point() -> None:
    """Points of lower voltage do not move what the file states."""
    device = load_device("tpuv1")
    points = power_points(graph_of("digits"), device, points=3)
    nominal = EnergyModel(device, device.operating_point()).static.idle
    for p in points:
        scaled = nominal * p.point.clock_mhz / 700 * (p.point.voltage_v / 0.9) ** 2
        assert 1e-3 * scaled < p.average_w < 1e-3 * scaled * 1.5


def test_what_is_not_a_rate_or_a_limit() -> None:
    model, device = graph_of("digits"), load_device("wear")
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"rate_per_s": 0.0}, "rate"), ({"tdp_w": -1.0}, "tdp"), ({"points": 1}, "points"),
        ({"rate_per_s": float("nan")}, "rate"), ({"intervals": 0}, "intervals"),
    )  # fmt: skip
    for arguments, where in wrong:
        with pytest.raises(UsageError) as caught:
            power_points(model, device, **arguments)
        assert caught.value.where == where


def test_a_device_without_room_for_a_clock() -> None:
    low: Device = variant("wear", {
        "operating_points": ({"name": "a", "voltage_v": 0.36, "clock_mhz": 1.0},), "energy.node_nm": 65.0,
    })  # fmt: skip
    with pytest.raises(DeviceError, match="no two voltages between"):
        voltage_points(low, 4)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv, out = tmp_path / "power.csv", tmp_path / "power.json"
    arguments = ["--rate", "100", "--tdp", "0.02", "--trace", str(csv), "--json", str(out)]
    assert main(["power", "digits", "--device", "gap9", *arguments]) == 0
    text = capsys.readouterr().out
    assert "Least power at 100 inferences/s: efficiency" in text
    rows = csv.read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("start_us,mac_mw,")
    assert len(rows) == 201
    assert out.stat().st_size > 500
    assert main(["energy", "digits", "--device", "wear"]) == 0
    text = capsys.readouterr().out
    for words in (
        "dram.pj_per_bit",
        "TOPS/W",
        "scratchpad",
        "TOPS/mm²",
        "USD",
        "err independently",
    ):
        assert words in text
    assert main(["power", "digits", "--device", "wear", "--rate", "1e6"]) == 0
    assert "No point keeps up 1e+06 inferences/s." in capsys.readouterr().out
