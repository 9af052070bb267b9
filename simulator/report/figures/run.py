"""Figures of one run: engines over time, layers under the roof, where cycles and energy go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from simulator.energy.model import COMPONENTS
from simulator.errors import UsageError
from simulator.report.text import ends, quantity, short_name, si_prefix
from simulator.result import Layer, Result
from simulator.timing.result import CAUSES
from simulator.timing.spans import COMMANDS, TRACKS, Span

_MOST_SPANS = 20_000  # of a chart: more are thinner than a pixel
_MOST_LABELS = 180


def _title(result: Result) -> str:
    point = result.point
    return (
        f"{result.model.name} on {result.device.name} at {point.clock_mhz:g} MHz: "
        f"{1e3 * result.totals.latency_s:.3g} ms, {result.totals.cycles:,} cycles"
    )


def _without_seams(spans: list[Span]) -> list[Span]:
    """What an engine does without a pause as one span, which has no borders to be drawn lighter."""
    found: list[Span] = []
    last: dict[str, int] = {}  # place of each engine's last span
    for span in sorted(spans, key=lambda s: s.start):
        before = found[last[span.track]] if span.track in last else None
        if (
            before
            and (before.what, before.end) == (span.what, span.start)
            and span.track != COMMANDS
        ):
            found[last[span.track]] = before._replace(end=span.end)
            continue
        last[span.track] = len(found)
        found.append(span)
    return found


def _gantt(plt: Any, result: Result) -> Any:
    """Engines from top to bottom, time from left to right, a colour for every operator."""
    spans = _without_seams(result.spans())
    to_ms = 1e-3 / result.point.clock_mhz
    step = -(-len(spans) // _MOST_SPANS)
    shown = [s for i, s in enumerate(spans) if s.track == COMMANDS or i % step == 0]
    whats = list(dict.fromkeys(s.what for s in shown))
    colours = plt.get_cmap("tab20")
    figure, axes = plt.subplots(figsize=(12, 4))
    tracks = [track for track in TRACKS if any(s.track == track for s in spans)]
    for place, track in enumerate(tracks):
        for number, what in enumerate(whats):
            bars = [
                (s.start * to_ms, (s.end - s.start) * to_ms)
                for s in shown
                if (s.track, s.what) == (track, what)
            ]
            if bars:
                # Spans are thinner than a pixel at times. With an edge they would be as wide as a line,
                # and snapped to pixels some would vanish: unsnapped, a pixel is as dark as it is busy.
                axes.broken_barh(
                    bars, (place - 0.4, 0.8), facecolor=colours(number % 20), edgecolor="white",
                    linewidth=0.4 if track == COMMANDS else 0, snap=False,
                )  # fmt: skip
    patches = [
        plt.Rectangle((0, 0), 1, 1, color=colours(number % 20)) for number in range(len(whats))
    ]
    axes.legend(patches, whats, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    axes.set_yticks(range(len(tracks)), tracks)
    axes.set_ylim(len(tracks) - 0.5, -0.5)
    axes.set_xlim(0, result.totals.cycles * to_ms)
    axes.set_xlabel("time in ms")
    thinned = f"; every {step}th span of the engines" if step > 1 else ""
    axes.set_title(_title(result) + thinned)
    return figure


def _roofline(plt: Any, result: Result) -> Any:
    """Products by what they do for a byte of DRAM traffic, under peak and bandwidth."""
    products = [layer for layer in result.layers if layer.macs > 0]
    if not products:
        raise UsageError(
            "plot", f"{result.model.name} has no product on the array", "gantt, cycles"
        )
    peak = result.totals.peak_tops
    gb_per_s = min(
        result.device.dram.bandwidth_mb_per_s / 1e3,
        result.device.dma.bytes_per_cycle * result.point.clock_mhz / 1e3,
    )
    figure, axes = plt.subplots(figsize=(8, 5.5))
    moving = [layer for layer in products if layer.dram_bytes > 0]
    intensities = [2 * layer.macs / layer.dram_bytes for layer in moving]
    ridge = 1e3 * peak / gb_per_s
    low, high = min([*intensities, ridge]) / 3, max([*intensities, ridge]) * 10
    x = np.geomspace(low, high, 200)
    axes.plot(x, np.minimum(peak, x * gb_per_s / 1e3), color="black", linewidth=1.5)
    axes.annotate(
        f"{peak:.3g} TOPS", (high, peak), textcoords="offset points", xytext=(-4, 5), ha="right"
    )
    axes.annotate(f"{gb_per_s:.3g} GB/s", (low * 1.2, low * 1.2 * gb_per_s / 1e3),
                  textcoords="offset points", xytext=(12, -4))  # fmt: skip
    colours = plt.get_cmap("tab10")
    operators = list(dict.fromkeys(layer.operator for layer in products))
    for number, operator in enumerate(operators):
        own = [layer for layer in products if layer.operator == operator]
        xs = [2 * la.macs / la.dram_bytes if la.dram_bytes else high / 1.5 for la in own]
        sizes = [20 + 380 * la.cycles / result.totals.cycles for la in own]
        axes.scatter(xs, [la.tops for la in own], s=sizes, alpha=0.6, color=colours(number % 10))
        axes.scatter([], [], s=40, alpha=0.6, color=colours(number % 10), label=operator)
    on_chip = len(products) - len(moving)
    if on_chip:
        axes.axvline(high / 2.2, color="grey", linewidth=0.8, linestyle=":")
        axes.text(
            high / 1.5, 0.01, f"{on_chip} without\nDRAM traffic", ha="center", va="bottom", fontsize=8,
            color="grey", transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    least = min([*(layer.tops for layer in products), low * gb_per_s / 1e3])
    axes.set_ylim(least / 3, 2 * peak)
    axes.set_xlabel("operations for a byte of DRAM traffic (1 MAC = 2 operations)")
    axes.set_ylabel("TOPS")
    axes.set_title(
        _title(result) + "\narea of a mark: its layer's share of the cycles", fontsize=10
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    axes.grid(visible=True, which="major", linewidth=0.3)
    return figure


def _cycles(plt: Any, result: Result) -> Any:
    """Layers from top to bottom, where their cycles go from left to right."""
    layers = result.layers
    shares = np.array([
        [layer.cycles_by_cause[cause] / max(layer.cycles, 1) for cause in CAUSES]
        for layer in layers
    ])  # fmt: skip
    columns = np.column_stack([[layer.utilization for layer in layers], shares])
    figure, axes = plt.subplots(figsize=(8.5, 1.5 + 0.22 * min(len(layers), _MOST_LABELS)))
    image = axes.imshow(columns, aspect="auto", vmin=0, vmax=1, cmap="viridis")
    axes.axvline(0.5, color="white", linewidth=3)
    names = ["utilization", *(cause.replace("_", " ") for cause in CAUSES)]
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
    every = -(-len(layers) // _MOST_LABELS)
    axes.set_yticks(range(0, len(layers), every), [_label(la, result) for la in layers[::every]])
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(
        _title(result) + "\nof a layer's cycles; in brackets its share of all", fontsize=10
    )
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    return figure


def _label(layer: Layer, result: Result) -> str:
    return f"{short_name(layer.name)} ({layer.cycles / result.totals.cycles:.1%})"


def _energy(plt: Any, result: Result) -> Any:
    """Layers from top to bottom, their energy from left to right by what takes it."""
    layers, t = result.layers, result.totals
    shown = [c for c in COMPONENTS if result.energy_by_component_pj[c] > 0]
    largest = max(layer.energy_pj for layer in layers)
    scale, prefix = si_prefix(1e-12 * largest) or (1e-12, "p")
    figure, axes = plt.subplots(figsize=(9, 1.5 + 0.24 * min(len(layers), _MOST_LABELS)))
    colours, places = plt.get_cmap("tab20"), np.arange(len(layers))
    left = np.zeros(len(layers))
    for number, component in enumerate(shown):
        widths = np.array(
            [1e-12 * layer.energy_by_component_pj[component] / scale for layer in layers]
        )
        share = result.energy_by_component_pj[component] / t.energy_pj
        label = f"{component} {share:.1%}"
        axes.barh(places, widths, left=left, color=colours(number % 20), label=label, height=0.75)
        left += widths
    every = -(-len(layers) // _MOST_LABELS)
    labels = [f"{short_name(la.name)} ({la.energy_pj / t.energy_pj:.1%})" for la in layers[::every]]
    axes.set_yticks(places[::every], labels)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"energy in {prefix}J; in brackets a layer's share of all")
    axes.set_title(
        f"{result.model.name} on {result.device.name}: {quantity(1e-12 * t.energy_pj, 'J')} "
        f"({ends(t.energy_low_pj, t.energy_high_pj, 1e-12, 'J')})",
        fontsize=10,
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    axes.grid(visible=True, axis="x", linewidth=0.3)
    return figure


FIGURES: dict[str, Callable[[Any, Result], Any]] = {
    "gantt": _gantt, "roofline": _roofline, "cycles": _cycles, "energy-breakdown": _energy,
}  # fmt: skip
