"""Scaling over cores, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from simulator.hwconfig import Device, OperatingPoint
from simulator.report.machine_readable import about
from simulator.report.text import quantity
from simulator.result import ScalingPoint

SCHEMA_VERSION = 1
_HEADERS = (
    "cores", "latency", "speed-up", "waiting for DRAM", "commands divided",
    "inferences/s, one each", "speed-up", "waiting for DRAM",
)  # fmt: skip


def scaling_report(
    points: Sequence[ScalingPoint], model: str, device: Device, at: OperatingPoint
) -> str:
    """What ``npusim scale`` prints."""
    hertz, first = at.clock_mhz * 1e6, points[0]
    rows = []
    for p in points:
        rate, before = p.cores / p.batch_cycles, first.cores / first.batch_cycles
        rows.append([
            str(p.cores), quantity(p.latency_cycles / hertz, "s"),
            f"{first.latency_cycles / p.latency_cycles:.2f}",
            _share(p.latency_cycles - p.alone_cycles, p.latency_cycles), f"{p.divided} of {p.commands}",
            f"{rate * hertz:,.1f}", f"{rate / before:.2f}",
            _share(p.batch_cycles - p.batch_alone_cycles, p.batch_cycles),
        ])  # fmt: skip
    table = tabulate(rows, _HEADERS, disable_numparse=True, colalign=["right"] * len(_HEADERS))
    bandwidth = f"{device.dram.bandwidth_mb_per_s:g} MB/s"
    return (
        f"{model} on {device.name} at {at.clock_mhz:g} MHz, DRAM of {bandwidth} for all cores"
        f"\n\n{table}\n\nLeft: one inference divided over the cores. Right: an inference on "
        "each core. Waiting for DRAM: what\nof the time is due to other cores' transfers alone."
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def scaling_to_dict(points: Sequence[ScalingPoint], model: str, device: Device) -> dict[str, Any]:
    """Everything ``npusim scale`` says, in cycles."""
    return about(SCHEMA_VERSION, model, device) | {"points": [asdict(p) for p in points]}
