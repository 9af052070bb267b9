"""Figures over devices and operating points: throughput against power, over cores, power over time."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from simulator.errors import NpusimError
from simulator.report.text import si_prefix
from simulator.resources import data_folder
from simulator.result import PowerPoint, PowerTrace, ScalingPoint

_LINES_TOPS_PER_WATT = (0.1, 1, 10)
_DARKER = 0.75  # than the colour map's, so that names are readable


class Mark(NamedTuple):
    """A published point of ``hwconfigs/published.csv``; ``of`` says what draws the power."""

    name: str
    tops: float
    watts: float
    of: str
    survey: bool
    source: str


def published_marks() -> list[Mark]:
    """Every published point: the survey's twelve and others."""
    path = data_folder("hwconfigs") / "published.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return [
            Mark(
                r["name"], float(r["tops"]), float(r["watts"]), r["of"], r["survey"] == "yes", r["source"]
            )
            for r in rows
        ]  # fmt: skip
    except (KeyError, ValueError, TypeError) as error:
        raise NpusimError(str(path), f"not a table of published points: {error}") from None


def throughput_power(
    plt: Any,
    curves: Mapping[str, Sequence[PowerPoint]],
    model: str,
    peaks: dict[str, tuple[float, float]],
) -> Any:
    """Each of ``curves`` is a device over its operating points on ``model``: TOPS that it reaches against
    watts that it draws. ``peaks``: (watts, TOPS) of each device at full load. Published points beside them.
    """
    figure, axes = plt.subplots(figsize=(13, 9))
    colours = plt.get_cmap("tab20")
    marks = published_marks()
    for mark in marks:
        axes.scatter(
            mark.watts, mark.tops, s=46 if mark.survey else 26, color="black" if mark.survey else "grey",
            marker="^" if mark.survey else "v", zorder=3,
        )  # fmt: skip
    texts: list[tuple[float, float, str, Any]] = [
        (m.watts, m.tops, m.name, "black" if m.survey else "grey") for m in marks
    ]
    for number, (name, points) in enumerate(curves.items()):
        colour = tuple(_DARKER * part for part in colours(number % 20)[:3])
        ordered = sorted(points, key=lambda p: p.point.voltage_v)
        watts, tops = [p.average_w for p in ordered], [p.tops for p in ordered]
        axes.plot(watts, tops, color=colour, linewidth=1.8, marker=".", markersize=4, zorder=4)
        if name in peaks:
            axes.scatter(
                *peaks[name], s=60, facecolor="none", edgecolor=colour, linewidth=1.6, zorder=4
            )
            texts.append((*peaks[name], name, colour))
            axes.plot(
                [watts[-1], peaks[name][0]], [tops[-1], peaks[name][1]], color=colour, linewidth=0.6,
                linestyle=":", zorder=2,
            )  # fmt: skip
        else:
            texts.append((watts[-1], tops[-1], name, colour))
    axes.set_xscale("log")
    axes.set_yscale("log")
    _efficiency_lines(axes)
    _place_labels(figure, axes, texts)
    for label, look in {
        f"{model}, over operating points": {"color": "tab:blue", "marker": ".", "linewidth": 1.8},
        "the device at its peak, without DRAM": {
            "color": "tab:blue", "marker": "o", "linestyle": "", "fillstyle": "none",
        },
        "published, Gholami et al. 2021, Fig. 9": {"color": "black", "marker": "^", "linestyle": ""},
        "published elsewhere": {"color": "grey", "marker": "v", "linestyle": ""},
    }.items():  # fmt: skip
        axes.plot([], [], label=label, **look)
    axes.legend(loc="upper left", frameon=False)
    axes.set_xlabel("power in W (published: of the engine, the chip or the board)")
    axes.set_ylabel("TOPS (1 MAC = 2 operations)")
    axes.set_title(f"Throughput against power: peak, and achieved on {model}")
    axes.grid(visible=True, which="major", linewidth=0.3)
    return figure


def _efficiency_lines(axes: Any) -> None:
    """Lines of equal TOPS/W across what is shown."""
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    for ratio in _LINES_TOPS_PER_WATT:
        ends = np.array([low, high])
        axes.plot(ends, ratio * ends, color="lightgrey", linewidth=0.8, zorder=1)
        x = min(high, top / ratio)
        axes.annotate(
            f"{ratio:g} TOPS/W", (x, x * ratio), xytext=(-4, -12), textcoords="offset points",
            ha="right", color="grey", fontsize=8, rotation=30, rotation_mode="anchor",
        )  # fmt: skip
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)


def _place_labels(figure: Any, axes: Any, texts: Sequence[tuple[float, float, str, Any]]) -> None:
    """Names beside their marks, each where it covers no other and stays within the frame."""
    figure.canvas.draw()
    frame = axes.get_window_extent()
    taken: list[Any] = []
    spots = (
        (7, 3, "left"), (-7, 3, "right"), (7, -11, "left"), (-7, -11, "right"), (0, 9, "center"),
        (0, -17, "center"), (14, 14, "left"), (-14, 14, "right"), (14, -22, "left"), (-14, -22, "right"),
    )  # fmt: skip
    marks = [axes.transData.transform((x, y)) for x, y, _, _ in texts]
    for x, y, name, colour in sorted(texts, key=lambda item: (item[1], item[0])):
        least: tuple[int, Any] | None = None
        for dx, dy, align in spots:
            text = axes.annotate(
                name, (x, y), xytext=(dx, dy), textcoords="offset points", ha=align, color=colour,
                fontsize=8 if colour == "black" else 7,
            )  # fmt: skip
            box = text.get_window_extent()
            over = sum(box.overlaps(other) for other in taken)
            over += int(box.x0 < frame.x0 or box.x1 > frame.x1)
            over += sum(
                box.x0 - 3 < px < box.x1 + 3 and box.y0 - 3 < py < box.y1 + 3 for px, py in marks
            )
            if least is None or over < least[0]:
                if least is not None:
                    least[1].remove()
                least = over, text
            else:
                text.remove()
            if over == 0:
                break
        assert least is not None
        taken.append(least[1].get_window_extent())


def power_figure(plt: Any, trace: PowerTrace, title: str) -> Any:
    """Power over one inference, components on top of each other, its average and its peak."""
    parts = {name: watts for name, watts in trace.watts.items() if watts.any()}
    largest = float(trace.total.max())
    factor, prefix = si_prefix(largest) or (1.0, "")
    scale, unit = 1 / factor, f"{prefix}W"
    count = len(trace.total)
    times = 1e3 * trace.interval_s * np.arange(count + 1)
    figure, axes = plt.subplots(figsize=(11, 4.5))
    order = sorted(parts, key=lambda name: float(parts[name].std()))  # what is steady lies below
    stacked = np.cumsum([scale * parts[name] for name in order], axis=0)
    below = np.zeros(count)
    colours = plt.get_cmap("tab20")
    for number, name in enumerate(order):
        axes.stairs(
            stacked[number],
            times,
            baseline=below,
            fill=True,
            color=colours(number % 20),
            label=name,
        )
        below = stacked[number]
    average = float(trace.total.mean())
    words = f"average, {scale * average:.3g} {unit}"
    axes.axhline(scale * average, color="black", linewidth=0.8, linestyle="--", label=words)
    axes.set_xlim(0, times[-1])
    axes.set_ylim(0, 1.08 * scale * largest)
    axes.set_xlabel("time in ms")
    axes.set_ylabel(f"power in {unit}")
    axes.set_title(f"{title}; peak {scale * largest:.3g} {unit}", fontsize=10)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False
    )
    return figure


def scaling_figure(plt: Any, points: Sequence[ScalingPoint], title: str) -> Any:
    """Speed-ups over cores, against the first of ``points``; dotted, had every core the DRAM to itself."""
    cores = [p.cores for p in points]
    first = points[0]
    figure, axes = plt.subplots(figsize=(7, 5))
    axes.plot(cores, [n / cores[0] for n in cores], color="grey", linewidth=0.8, label="ideal")
    ways = {
        "an inference on each core": [
            (
                first.batch_cycles / first.cores,
                p.batch_cycles / p.cores,
                p.batch_alone_cycles / p.cores,
            )
            for p in points
        ],
        "one inference divided": [
            (first.latency_cycles, p.latency_cycles, p.alone_cycles) for p in points
        ],
    }
    for number, (label, cycles) in enumerate(ways.items()):
        look = {"color": plt.get_cmap("tab10")(number), "marker": "o", "markersize": 5}
        axes.plot(cores, [one / free for one, _, free in cycles], linestyle=":", **look)
        axes.plot(cores, [one / now for one, now, _ in cycles], label=label, **look)
    axes.plot([], [], color="black", linestyle=":", label="had each core the DRAM to itself")
    axes.set_xticks(cores, [str(n) for n in cores])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("cores")
    axes.set_ylabel(f"speed-up over {cores[0]} core{'s' * (cores[0] > 1)}")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False)
    axes.grid(visible=True, linewidth=0.3)
    return figure
