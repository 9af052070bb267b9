"""Power over operating points and over time, as text, JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from tabulate import tabulate

from simulator.hwconfig import Device
from simulator.report.machine_readable import about
from simulator.report.text import quantity
from simulator.result import PowerPoint, PowerTrace

SCHEMA_VERSION = 1


def power_report(
    points: Sequence[PowerPoint], model: str, device: Device, rate_per_s: float | None,
    tdp_w: float | None,
) -> str:  # fmt: skip
    """What ``npusim power`` prints."""
    limit = tdp_w if tdp_w is not None else device.power.tdp_w
    headers = [
        "point", "V", "MHz", "latency", "energy", "low", "high", "average", "peak", "asleep", "TOPS/W",
    ]  # fmt: skip
    if limit is not None:
        headers.append(f"inferences/s in {quantity(limit, 'W')}")
    if rate_per_s is not None:
        headers += ["busy", f"at {rate_per_s:g}/s"]
    rows = []
    for p in points:
        row = [
            p.point.name, f"{p.point.voltage_v:g}", f"{p.point.clock_mhz:.4g}", quantity(p.latency_s, "s"),
            *(quantity(1e-12 * e, "J") for e in (p.energy_pj, p.energy_low_pj, p.energy_high_pj)),
            quantity(p.average_w, "W"), quantity(p.trace.peak_w, "W"), quantity(p.sleep_w, "W"),
            f"{p.tops_per_watt:.3g}",
        ]  # fmt: skip
        if limit is not None:
            row.append("none" if p.sustained_per_s is None else f"{p.sustained_per_s:,.1f}")
        if rate_per_s is not None:
            row += [
                "too slow" if p.duty is None else f"{100 * p.duty:.1f} %",
                "" if p.at_rate_w is None else quantity(p.at_rate_w, "W"),
            ]
        rows.append(row)
    align = ["left", *["right"] * (len(headers) - 1)]
    table = tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=align)
    text = f"{model} on {device.name}\n\n{table}"
    kept = [p for p in points if p.at_rate_w is not None]
    if rate_per_s is not None:
        if kept:
            best = min(kept, key=lambda p: p.at_rate_w or 0)
            text += (
                f"\n\nLeast power at {rate_per_s:g} inferences/s: {best.point.name}, "
                f"{quantity(best.at_rate_w or 0, 'W')}."
            )
        else:
            text += f"\n\nNo point keeps up {rate_per_s:g} inferences/s."
    interval = quantity(points[0].trace.interval_s, "s")
    last = f"Peak: over {interval} at the first point. Between inferences only SRAM keeps its bits."
    return f"{text}\n\n{last}"


def power_to_dict(points: Sequence[PowerPoint], model: str, device: Device) -> dict[str, Any]:
    """Everything ``npusim power`` says."""
    return about(SCHEMA_VERSION, model, device) | {"points": [_point_to_dict(p) for p in points]}


def _point_to_dict(p: PowerPoint) -> dict[str, Any]:
    """All but its power over time, of which there is the peak."""
    content = {f.name: getattr(p, f.name) for f in fields(p) if f.name != "trace"}
    trace = {"peak_w": p.trace.peak_w, "interval_s": p.trace.interval_s}
    return content | {"point": p.point.model_dump()} | trace


def power_csv(trace: PowerTrace) -> str:
    """Power over time: a row for every interval, in microseconds and milliwatts."""
    names = list(trace.watts)
    lines = [",".join(["start_us", *(f"{name}_mw" for name in names), "total_mw"])]
    for index, total in enumerate(trace.total):
        values = [trace.watts[name][index] for name in names]
        start = f"{1e6 * index * trace.interval_s:.6g}"
        lines.append(",".join([start, *(f"{1e3 * v:.6g}" for v in [*values, total])]))
    return "\n".join(lines) + "\n"
