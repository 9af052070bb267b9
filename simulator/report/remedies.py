"""The study of the remedies of Bae et al. as tables and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean, stdev
from typing import Any

from tabulate import tabulate

from simulator.npu import versions
from simulator.result import RemedyEffect, RemedyRun

SCHEMA_VERSION = 1
# Model -> layer -> bits -> by how much outliers raise the exponent.
Shifts = Mapping[str, Mapping[str, Mapping[int, int]]]
_SURE = 2.0  # standard errors from 0


def verdict(effect: RemedyEffect) -> str:
    """Whether a gain is more than chance: its mean is two standard errors or more from 0."""
    if math.isnan(effect.error) or abs(effect.mean) < _SURE * effect.error or effect.mean == 0:
        return "not told apart"
    return "helps" if effect.mean > 0 else "harms"


def study_report(
    runs: Sequence[RemedyRun], found: Sequence[RemedyEffect],
    shifts: Shifts, markdown: bool = False,
) -> str:  # fmt: skip
    """Accuracies of each model, what each remedy does, and what moves scales.

    ``shifts``: model -> layer -> bits -> by how much outliers raise the exponent.
    """
    form = "github" if markdown else "simple"
    parts = [_accuracies(runs, model, form) for model in _models(runs)]
    parts += [_effects(found, form), _movement(runs, form)]
    if shifts:
        parts.append(_shifts(shifts, form))
    return "\n\n".join(part for part in parts if part)


def _models(runs: Sequence[RemedyRun]) -> list[str]:
    return list(dict.fromkeys(run.model for run in runs))


def _bits(runs: Sequence[RemedyRun]) -> list[int]:
    return sorted({run.bits for run in runs}, reverse=True)


def _table(rows: list[list[str]], headers: list[str], form: str, words: int = 1) -> str:
    align = ("left",) * words + ("right",) * (len(headers) - words)
    return tabulate(rows, headers, tablefmt=form, disable_numparse=True, colalign=align)


def _accuracies(runs: Sequence[RemedyRun], model: str, form: str) -> str:
    ours = [run for run in runs if run.model == model]
    bits = _bits(ours)
    rows = []
    for variant in dict.fromkeys(run.variant for run in ours):
        cells = [variant]
        for width in bits:
            of = [100 * r.top1 for r in ours if (r.variant, r.bits) == (variant, width)]
            spread = f" ± {stdev(of):.2f}" if len(of) > 1 else ""
            cells.append(f"{mean(of):.2f}{spread}" if of else "")
        rows.append(cells)
    head = f"{model}: top-1 in %, ± standard deviation over seeds; {100 * ours[0].float_top1:.2f} in float"
    return f"{head}\n\n" + _table(rows, ["", *(f"{b} bits" for b in bits)], form)


def _effects(found: Sequence[RemedyEffect], form: str) -> str:
    rows = [
        [
            e.adds, e.base, str(e.bits), f"{100 * e.mean:+.2f}",
            "" if math.isnan(e.error) else f"{100 * e.error:.2f}", f"{e.gained} of {e.pairs}",
            verdict(e),
        ]
        for e in found
    ]  # fmt: skip
    if not rows:
        return ""
    headers = ["remedy", "added to", "bits", "gain in points", "standard error", "gained", ""]
    return "What each remedy does, of the same model and seed\n\n" + _table(rows, headers, form, 2)


def _movement(runs: Sequence[RemedyRun], form: str) -> str:
    rows = []
    for model in _models(runs):
        for variant in dict.fromkeys(r.variant for r in runs if r.layers and r.model == model):
            cells = [model, variant]
            for width in _bits(runs):
                layers = [
                    layer for r in runs for layer in r.layers
                    if (r.model, r.variant, r.bits) == (model, variant, width)
                ]  # fmt: skip
                cells.append(
                    f"{100 * mean(x.changes for x in layers):.1f}, {mean(x.deviation for x in layers):.2f}"
                    if layers
                    else ""
                )
            rows.append(cells)
    if not rows:
        return ""
    head = "Exponents: steps that change one in %, and deviation in the later half; means of layers"
    return f"{head}\n\n" + _table(rows, ["", "", *(f"{b} bits" for b in _bits(runs))], form, 2)


def _shifts(shifts: Shifts, form: str) -> str:
    rows = []
    for model, layers in shifts.items():
        for width in sorted(next(iter(layers.values())), reverse=True):
            of = [by_bits[width] for by_bits in layers.values()]
            raised = sum(s > 0 for s in of)
            rows.append([
                model, str(width), f"{raised} of {len(of)}", f"{mean(of):.2f}", str(max(of)), str(min(of))
            ])  # fmt: skip
    head = "By how much outliers raise the exponent of least error, before training"
    headers = ["", "bits", "layers raised", "mean", "most", "least"]
    return f"{head}\n\n" + _table(rows, headers, form)


def study_from_dict(told: Mapping[str, Any]) -> tuple[list[RemedyRun], Shifts]:
    """Runs and shifts of what :func:`study_to_dict` has made, also where it comes from a file."""
    shifts = {
        model: {name: {int(b): shift for b, shift in bits.items()} for name, bits in layers.items()}
        for model, layers in told["outlier_shifts"].items()
    }
    return [RemedyRun.from_dict(run) for run in told["runs"]], shifts


def study_to_dict(
    runs: Sequence[RemedyRun], found: Sequence[RemedyEffect],
    shifts: Shifts,
) -> dict[str, Any]:  # fmt: skip
    """Everything ``npusim remedies`` says."""
    told = []
    for effect in found:
        values = asdict(effect)
        values["error"] = None if math.isnan(effect.error) else effect.error
        told.append({**values, "verdict": verdict(effect)})
    return {
        "schema_version": SCHEMA_VERSION, "versions": versions(),
        "runs": [asdict(run) for run in runs], "effects": told,
        "outlier_shifts": {m: {n: dict(b) for n, b in of.items()} for m, of in shifts.items()},
    }  # fmt: skip
