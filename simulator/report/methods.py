"""Methods of quantization as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from simulator.npu import versions
from simulator.report.text import quantity, short_name, size
from simulator.result import MethodRow, MixedPrecision

SCHEMA_VERSION = 1


def methods_table(rows: Sequence[MethodRow], markdown: bool = False) -> str:
    """A row for each method and its bits: what it costs on each device, whose array has its hardware."""
    devices = [cost.device for row in rows for cost in row.costs]
    devices = list(dict.fromkeys(devices))
    table = []
    for row in rows:
        cells = [row.method, str(row.bits), f"{100 * row.top1:.2f}"]
        cells += [size(row.costs[0].weight_bytes) if row.costs else "", row.hardware]
        for cost in row.costs:
            host = f" ({cost.on_host} on the host)" if cost.on_host else ""
            cells += [
                quantity(cost.latency_s, "s") + host, quantity(1e-12 * cost.energy_pj, "J"),
                f"{cost.tops_per_watt:.3g}", f"{cost.area_mm2:.3g}",
            ]  # fmt: skip
        table.append(cells + [""] * (5 + 4 * len(devices) - len(cells)))
    headers = ["method", "bits", "top-1 in %", "weights", "array has"]
    for device in devices:
        headers += [f"{device}: latency", "energy", "TOPS/W", "mm²"]
    form = "github" if markdown else "simple"
    align = ("left", "right", "right", "right", "left", *("right",) * (4 * len(devices)))
    return tabulate(table, headers, tablefmt=form, disable_numparse=True, colalign=align)


def methods_to_dict(rows: Sequence[MethodRow], model: str, dataset: str) -> dict[str, Any]:
    """Everything ``npusim methods`` says."""
    return {
        "schema_version": SCHEMA_VERSION, "versions": versions(), "model": model, "dataset": dataset,
        "rows": [asdict(row) for row in rows],
    }  # fmt: skip


def mixed_report(found: MixedPrecision) -> str:
    """Bits of each layer with what they cost, and how the whole stands to its limits."""
    rows = [
        [
            short_name(row.name), str(row.bits), f"{row.loss:.3g}", f"{row.cycles:,.0f}",
            quantity(1e-12 * row.energy_pj, "J"), size(int(row.weight_bytes)),
        ]
        for row in found.layers
    ]  # fmt: skip
    headers = ["layer", "bits", "loss alone", "cycles", "energy", "weights"]
    table = tabulate(rows, headers, disable_numparse=True, colalign=("left", *("right",) * 5))
    lines = [table, "", f"on {found.device}, of what the most bits for every layer take:"]
    for name, part in found.parts.items():
        limit = found.limits.get(name)
        asked = "" if limit is None else f", at most {100 * limit:.1f} % asked for"
        lines.append(f"{name:<9} {100 * part:.1f} %{asked}")
    if not found.within:
        lines.append("No choice that was tried keeps to all limits; this is the last.")
    return "\n".join(lines)
