"""What every engine does when, as a trace file that ui.perfetto.dev and Chrome open."""

from __future__ import annotations

from typing import Any

from simulator.result import Result
from simulator.timing.spans import TRACKS


def trace_of(result: Result) -> dict[str, Any]:
    """The run in Chrome's trace event format: complete events, microseconds at the point's clock; every
    core is a process."""
    per_cycle_us = 1 / result.point.clock_mhz
    threads = {track: number for number, track in enumerate(TRACKS, 1)}
    events: list[dict[str, Any]] = []
    cores = len(result.timing.cores) or 1
    for core in range(cores):
        process = core + 1
        name = f"{result.model.name} on {result.device.name}"
        name += f", core {process} of {cores}" if cores > 1 else ""
        events.append(
            {"ph": "M", "pid": process, "tid": 0, "name": "process_name", "args": {"name": name}}
        )
        for track, tid in threads.items():
            about = {"pid": process, "tid": tid, "ph": "M"}
            events.append({**about, "name": "thread_name", "args": {"name": track}})
            events.append({**about, "name": "thread_sort_index", "args": {"sort_index": tid}})
        for span in result.spans(core):
            details: dict[str, Any] = {"layer": result.layers[span.command].name}
            if span.tile >= 0:
                details["tile"] = span.tile
            details |= {"first_cycle": span.start, "cycles": span.end - span.start}
            events.append({
                "ph": "X", "pid": process, "tid": threads[span.track], "name": span.what,
                "ts": span.start * per_cycle_us, "dur": (span.end - span.start) * per_cycle_us,
                "args": details,
            })  # fmt: skip
    return {
        "displayTimeUnit": "ns",
        "otherData": {"clock_mhz": result.point.clock_mhz, "operating_point": result.point.name},
        "traceEvents": events,
    }
