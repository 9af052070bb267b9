"""What the tables predict beside what was published; nothing is fitted to any of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_models import SHARED

from simulator.cli import main
from simulator.explore.published import at_peak, on_chip_power, published_check
from simulator.hwconfig import device_names, load_device
from simulator.networks import board_convolutions
from simulator.npu import load_model, simulate
from simulator.report.figures.devices import published_marks
from simulator.report.published import published_table

# Energy in uJ at 0.80 V and 370 MHz, at 0.65 V and 240 MHz: MLPerf Tiny v1.0, closed, GreenWaves GAP9.
GAP9 = {
    "ad01_int8": (7.294, 5.252), "pretrainedResnet_quant": (40.356, 27.711),
    "kws_ref_model": (26.659, 18.561), "vww_96_int8": (58.356, 40.801),
}  # fmt: skip


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs models that are not part of the project")
@pytest.mark.parametrize("name", GAP9)
def test_gap9_between_its_points(name: str) -> None:
    """On the chip: inputs lie in its memory before that benchmark's clock starts, and so the link is left
    out."""
    device, model = load_device("gap9"), load_model(SHARED / "mlperf_tiny" / f"{name}.tflite")
    fast, slow = (simulate(model, device, operating_point=p.name) for p in device.operating_points)
    joules = [on_chip_power(r).value * r.totals.latency_s for r in (fast, slow)]
    measured = GAP9[name]
    assert joules[0] / joules[1] == pytest.approx(measured[0] / measured[1], rel=0.10)


def test_tpuv1_busy() -> None:
    """28 W idle are published and stated; what a busy array adds is the tables'. CNN0 drew 40 W."""
    device = load_device("tpuv1")
    width = round((8e6 / 16 / 9) ** 0.5)
    result = simulate(board_convolutions(16, width, 19), device, samples_at_once=8)
    watts = on_chip_power(result)
    assert 28 < watts.lowest < 40 < watts.highest
    assert watts.value == pytest.approx(40, rel=0.25)


@pytest.mark.parametrize("name", device_names())
def test_published_power_is_within_the_range(name: str) -> None:
    check = published_check(name)
    if check.within is None:
        pytest.skip("no power published")
    assert check.within
    assert check.power.lowest <= check.power.low <= check.power.value
    assert check.power.value <= check.power.high <= check.power.highest


@pytest.mark.parametrize("name", device_names())
def test_the_load_keeps_the_array_busy(name: str) -> None:
    device = load_device(name)
    peak = device.peak_tops(device.operating_point())
    assert 0.95 * peak < at_peak(device).totals.tops <= peak


def test_published_points() -> None:
    marks = published_marks()
    assert sum(mark.survey for mark in marks) == 12
    assert len({mark.name for mark in marks}) == len(marks)
    assert all(0 < mark.tops < 1000 and 0 < mark.watts < 1000 and mark.source for mark in marks)


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "fsd", "--published"]) == 0
    text = capsys.readouterr().out
    assert "36.9" in text
    assert "Power of the engine alone" in text


def test_the_readme_shows_every_device() -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    shown = readme.split("<!-- npusim devices --published --markdown -->")[1].split("<!-- end of")[
        0
    ]
    checks = [published_check(name) for name in device_names()]
    assert shown.strip() == published_table(checks, markdown=True)
