"""Figures of a run: what is drawn is what the run says, and files are whole or not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.cli import main
from simulator.explore.power import efficiency_curves, peaks, power_over_time
from simulator.explore.scaling import scaling
from simulator.hwconfig import load_device
from simulator.npu import load_model, simulate
from simulator.report.figures.devices import (
    power_figure,
    published_marks,
    scaling_figure,
    throughput_power,
)
from simulator.report.figures.run import FIGURES
from simulator.result import Result
from simulator.timing.result import CAUSES

plt: Any = pytest.importorskip("matplotlib.pyplot")
DEVICE = "wear"


@pytest.fixture(scope="module")
def result() -> Result:
    return simulate(load_model("digits"), load_device(DEVICE))


@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize(
    ("suffix", "starts"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF")]
)
def test_files(
    kind: str, suffix: str, starts: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"figure{suffix}"
    assert main(["plot", kind, "digits", "--device", DEVICE, "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_bytes().startswith(starts)
    assert list(tmp_path.iterdir()) == [path]


def test_gantt_shows_the_engines_over_the_whole_run(result: Result) -> None:
    figure = FIGURES["gantt"](plt, result)
    axes = figure.axes[0]
    tracks = [label.get_text() for label in axes.get_yticklabels()]
    assert tracks == ["commands", "DRAM bus", "array", "vector unit"]  # the host has nothing to do
    assert axes.get_xlim() == pytest.approx((0, 1e3 * result.totals.latency_s))
    shown = {text.get_text() for text in axes.get_legend().get_texts()}
    assert {layer.operator for layer in result.layers} < shown
    busy = dict.fromkeys(tracks, 0.0)  # ms, by where the bars are and how wide
    for bars in axes.collections:
        for path in bars.get_paths():
            box = path.get_extents()
            busy[tracks[round((box.y0 + box.y1) / 2)]] += box.width
    for track in tracks:
        cycles = sum(s.end - s.start for s in result.spans() if s.track == track)
        assert busy[track] == pytest.approx(1e-3 * cycles / result.point.clock_mhz)
    plt.close(figure)


def test_roofline_has_a_mark_for_every_product(result: Result) -> None:
    figure = FIGURES["roofline"](plt, result)
    axes = figure.axes[0]
    marks = [tuple(place) for dots in axes.collections for place in dots.get_offsets().tolist()]
    products = [layer for layer in result.layers if layer.macs]
    assert sorted(y for _, y in marks) == pytest.approx(sorted(la.tops for la in products))
    roof = axes.lines[0]
    assert max(roof.get_ydata()) == result.totals.peak_tops
    moving = {
        layer.tops: 2 * layer.macs / layer.dram_bytes for layer in products if layer.dram_bytes
    }
    for x, y in marks:
        if y in moving:
            assert x == pytest.approx(moving[y])
            bound = x * result.device.dram.bandwidth_mb_per_s / 1e6
            assert y <= 1.001 * min(bound, result.totals.peak_tops)
    plt.close(figure)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_figures_of_power(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, devices in (("power", [DEVICE]), ("throughput-power", [DEVICE, "gap9"])):
        path = tmp_path / f"{kind}{suffix}"
        chosen = [word for name in devices for word in ("--device", name)]
        assert main(["plot", kind, "digits", *chosen, "-o", str(path)]) == 0
        assert capsys.readouterr().out == f"{path}\n"
        assert path.stat().st_size > 10_000


def test_throughput_power_has_every_mark_and_curve() -> None:
    devices = [load_device(name) for name in (DEVICE, "gap9", "fsd")]
    model = load_model("digits")
    curves, best = efficiency_curves(model, devices), peaks(devices)
    figure = throughput_power(plt, curves, model.name, best)
    axes = figure.axes[0]
    marks = {tuple(place) for dots in axes.collections for place in dots.get_offsets().tolist()}
    for mark in published_marks():
        assert (mark.watts, mark.tops) in marks
    for device in devices:
        assert best[device.name] in marks
        ordered = sorted(curves[device.name], key=lambda p: p.point.voltage_v)
        drawn = [
            line for line in axes.lines
            if list(line.get_xdata()) == [p.average_w for p in ordered]
            and list(line.get_ydata()) == [p.tops for p in ordered]
        ]  # fmt: skip
        assert len(drawn) == 1
    names = {text.get_text() for text in axes.texts}
    assert {d.name for d in devices} | {m.name for m in published_marks()} <= names
    assert axes.get_xscale() == axes.get_yscale() == "log"
    plt.close(figure)


def test_power_stacks_to_the_total(result: Result) -> None:
    trace = power_over_time(result, 50)
    figure = power_figure(plt, trace, "")
    axes = figure.axes[0]
    tops = [patch.get_data().values for patch in axes.patches]
    assert tops[-1] == pytest.approx(1e3 * trace.total)
    assert axes.lines[0].get_ydata()[0] == pytest.approx(1e3 * result.totals.average_power_w)
    plt.close(figure)


def test_energy_of_every_layer_is_drawn(result: Result) -> None:
    figure = FIGURES["energy-breakdown"](plt, result)
    widths = np.zeros(len(result.layers))
    for bar in figure.axes[0].patches:
        widths[round(bar.get_y() + bar.get_height() / 2)] += bar.get_width()
    energies = [1e-3 * layer.energy_pj for layer in result.layers]
    scale = energies[0] / widths[0]
    assert widths * scale == pytest.approx(energies)
    plt.close(figure)


def test_scaling_shows_what_the_report_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scaling.svg"
    assert (
        main(["scale", "digits", "--device", DEVICE, "--cores", "1,2", "--figure", str(path)]) == 0
    )
    assert "speed-up" in capsys.readouterr().out
    assert path.read_bytes().startswith(b"<?xml")
    points = scaling(load_model("digits"), load_device(DEVICE), [1, 2, 4], shared_scratchpad=True)
    figure = scaling_figure(plt, points, "")
    ideal, _, each, _, divided, _ = figure.axes[0].lines
    assert list(ideal.get_ydata()) == [1, 2, 4]
    rate = [points[0].batch_cycles / (p.batch_cycles / p.cores) for p in points]
    assert list(each.get_ydata()) == pytest.approx(rate)
    assert list(divided.get_ydata()) == pytest.approx(
        [points[0].latency_cycles / p.latency_cycles for p in points]
    )
    plt.close(figure)


def test_cycles_of_a_layer_sum_to_one(result: Result) -> None:
    figure = FIGURES["cycles"](plt, result)
    image = figure.axes[0].images[0].get_array()
    assert image.shape == (len(result.layers), 1 + len(CAUSES))
    assert image[:, 1:].sum(axis=1).tolist() == pytest.approx([1] * len(result.layers))
    assert image[:, 0].tolist() == [layer.utilization for layer in result.layers]
    plt.close(figure)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pie", "digits"], "plot: no figure 'pie'; allowed: gantt, roofline, cycles, energy-breakdown"),
        (["gantt", "digits", "-o", "x.jpg"], "x.jpg: a figure of type .jpg; allowed: .png, .svg, .pdf"),
        (["gantt", "digits", "-o", "no/x.png"], "no/x.png: cannot be written: there is no folder 'no'"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", *arguments, "--device", DEVICE]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith(f"npusim: {said}")


def test_without_matplotlib(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['matplotlib'] = None; from simulator.cli import main; "
        f"sys.exit(main(['plot', 'gantt', 'digits', '--device', 'wear', '-o', r'{tmp_path / 'x.png'}']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    said = (
        "npusim: plot: the package matplotlib is not installed; allowed: pip install 'npusim[plot]'"
    )
    assert ended.stderr.splitlines()[-1] == said
    assert not list(tmp_path.iterdir())
