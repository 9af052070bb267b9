"""Figures of the study of remedies, from the runs that ship with its networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from simulator.explore.remedies import effects
from simulator.report.figures import draw
from simulator.report.figures.remedies import accuracy_figure, gains_figure, layers_figure
from simulator.report.remedies import study_from_dict
from simulator.resources import data_folder


def test_what_is_drawn_is_what_the_runs_say(tmp_path: Path) -> None:
    told = json.loads((data_folder("workloads") / "mobilenets" / "remedies.json").read_text())
    runs, shifts = study_from_dict(told)
    found = effects(runs)
    # The effects that were printed beside the runs follow from them.
    stated = {(e["variant"], e["bits"]): e["mean"] for e in told["effects"]}
    assert stated == {(e.variant, e.bits): pytest.approx(e.mean, abs=1e-4) for e in found}
    figures = []
    names = ["msqe", "gradient", "no such variant"]
    for i, make in enumerate((
        lambda plt: accuracy_figure(plt, runs, names), lambda plt: gains_figure(plt, found),
        lambda plt: layers_figure(plt, runs, names, shifts, 3),
    )):  # fmt: skip

        def kept(plt: object, make: object = make) -> object:
            figures.append(make(plt))  # type: ignore[operator]
            return figures[-1]

        target = tmp_path / f"{i}.png"
        draw(kept, str(target))
        assert target.stat().st_size > 10_000
    accuracy, gains, layers = figures
    for axes, model in zip(accuracy.axes, ("mobilenet_v1", "mobilenet_v2"), strict=True):
        line = axes.containers[0].lines[0]
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
            of = [100 * r.top1 for r in runs
                  if (r.model, r.variant, r.bits) == (model, "msqe", round(x))]  # fmt: skip
            assert y == pytest.approx(sum(of) / len(of))
    assert {t.get_text() for t in gains.axes[0].get_yticklabels()} >= {"gradient: lower error"}
    heights = [bar.get_height() for bar in layers.axes[0].patches]
    assert heights == [bits[3] for bits in shifts["mobilenet_v1"].values()]
