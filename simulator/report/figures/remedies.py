"""Figures of the study of remedies: accuracies, gains with their errors, and what moves scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np

from simulator.result import RemedyEffect, RemedyRun


def accuracy_figure(plt: Any, runs: Sequence[RemedyRun], variants: Sequence[str]) -> Any:
    """Top-1 of each model over bits, a line for each of ``variants``; bars are one standard deviation over
    seeds."""
    models = list(dict.fromkeys(run.model for run in runs))
    figure, grid = plt.subplots(1, len(models), figsize=(6.5 * len(models), 5), squeeze=False)
    for axes, model in zip(grid[0], models, strict=True):
        ours = [run for run in runs if run.model == model]
        for number, variant in enumerate(variants):
            of: dict[int, list[float]] = {}
            for run in ours:
                if run.variant == variant:
                    of.setdefault(run.bits, []).append(100 * run.top1)
            if not of:
                continue
            bits = sorted(of)
            axes.errorbar(
                [b + 0.05 * (number - len(variants) / 2) for b in bits], [mean(of[b]) for b in bits],
                [stdev(of[b]) if len(of[b]) > 1 else 0.0 for b in bits],
                label=variant, marker="o", markersize=4, capsize=3, linewidth=1.2,
                linestyle="--" if variant in ("untrained", "lsq") else "-",
            )  # fmt: skip
        axes.axhline(100 * ours[0].float_top1, color="black", linewidth=0.8)
        axes.annotate(
            "float", (1, 100 * ours[0].float_top1), (-4, -10), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", fontsize=8,
        )  # fmt: skip
        axes.set_title(model)
        axes.set_xlabel("bits of weights")
        axes.set_xticks(sorted({run.bits for run in ours}))
        axes.set_ylabel("top-1 in %")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    return figure


def gains_figure(plt: Any, found: Sequence[RemedyEffect]) -> Any:
    """What each remedy adds to its base in each width, with two standard errors."""
    names = list(dict.fromkeys((e.base, e.adds) for e in found))
    bits = sorted({e.bits for e in found}, reverse=True)
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(names) + 1.5))
    high = 0.8 / len(bits)
    for number, width in enumerate(bits):
        of = {(e.base, e.adds): e for e in found if e.bits == width}
        places = [i for i, name in enumerate(names) if name in of]
        gains = [100 * of[names[i]].mean for i in places]
        errors = [200 * float(np.nan_to_num(of[names[i]].error)) for i in places]
        shifted = [i + (number - (len(bits) - 1) / 2) * high for i in places]
        axes.barh(shifted, gains, high, xerr=errors, label=f"{width} bits", capsize=2)
    axes.set_yticks(range(len(names)), [f"{base}: {adds}" for base, adds in names])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("gain in top-1, points; bars: two standard errors")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    return figure


def layers_figure(
    plt: Any, runs: Sequence[RemedyRun], variants: Sequence[str],
    shifts: Mapping[str, Mapping[str, Mapping[int, int]]], bits: int,
) -> Any:  # fmt: skip
    """Layer by layer: by how much outliers raise the exponent, and how often training changes it."""
    models = list(shifts)
    figure, grid = plt.subplots(2, len(models), figsize=(7 * len(models), 6.5), squeeze=False)
    for column, model in enumerate(models):
        layers = list(shifts[model])
        raised, moved = grid[0][column], grid[1][column]
        raised.bar(range(len(layers)), [shifts[model][name][bits] for name in layers], color="grey")
        raised.set_title(f"{model}, {bits} bits")
        raised.set_ylabel("exponent: all weights\nless those within 2 deviations")
        for variant in variants:
            of: dict[str, list[float]] = {}
            for run in runs:
                if (run.model, run.variant, run.bits) == (model, variant, bits):
                    for layer in run.layers:
                        of.setdefault(layer.layer, []).append(100 * layer.changes)
            places = [i for i, name in enumerate(layers) if name in of]
            means = [mean(of[layers[i]]) for i in places]
            moved.plot(places, means, marker=".", linewidth=0.8, label=variant)
        moved.set_ylabel("steps that change the exponent, %")
        moved.legend(fontsize=8)
        raised.yaxis.get_major_locator().set_params(integer=True)
        for axes in (raised, moved):
            axes.set_xlim(-0.7, len(layers) - 0.3)
            axes.set_xticks(
                range(len(layers)), [_short(n) for n in layers], rotation=90, fontsize=7
            )
            axes.grid(axis="y", alpha=0.3)
    figure.tight_layout()
    return figure


def _short(name: str) -> str:
    return name.removesuffix("/norm")
