"""Layers on the array alone (``timing.array_alone``) as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from simulator.hwconfig import DATAFLOWS
from simulator.report.machine_readable import versions
from simulator.timing.array_alone import ArrayReport

SCHEMA_VERSION = 1
_HEADERS = (
    "layer", "cycles", "overall", "mapping", "compute", "ifmap reads", "weight reads", "ofmap writes"
)  # fmt: skip

Reports = Sequence[tuple[str, ArrayReport]]


def array_alone_report(
    reports: Reports, dataflow: int, rows: int, cols: int, *, user_bandwidth: bool
) -> str:
    """What ``npusim scalesim`` prints."""
    table = tabulate(
        [_row(name, report) for name, report in reports], _HEADERS, disable_numparse=True,
        colalign=("left", *["right"] * (len(_HEADERS) - 1)),
    )  # fmt: skip
    total = sum(report.cycles for _, report in reports)
    note = ""
    if user_bandwidth:
        note = "\nThe configuration has a bandwidth of its own: stalls of the interface are not counted."
    return (
        f"{rows} x {cols} PEs, {DATAFLOWS[dataflow]}: folds back to back, memories that never stall, as "
        f"SCALE-Sim counts\n\n{table}\n\n{len(reports)} layers, {total:,} cycles{note}"
    )


def _row(name: str, report: ArrayReport) -> list[str]:
    shares = report.overall_utilization, report.mapping_efficiency, report.compute_utilization
    counts = report.ifmap_reads, report.weight_reads, report.ofmap_writes
    return [
        name, f"{report.cycles:,}", *(f"{100 * share:.2f} %" for share in shares),
        *(f"{count:,}" for count in counts),
    ]  # fmt: skip


def array_alone_to_dict(reports: Reports, dataflow: int, rows: int, cols: int) -> dict[str, Any]:
    """Everything ``npusim scalesim`` says."""
    layers = [{"layer": name, **report._asdict()} for name, report in reports]
    return {
        "schema_version": SCHEMA_VERSION, "versions": versions(), "array_rows": rows,
        "array_cols": cols, "dataflow": DATAFLOWS[dataflow], "layers": layers,
        "cycles": sum(report.cycles for _, report in reports),
    }  # fmt: skip
