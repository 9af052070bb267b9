"""Shipped devices with some keys changed."""

from __future__ import annotations

from typing import Any

from simulator.hwconfig import Device, device_from_dict, load_device

TIMING_VARIANTS: dict[str, dict[str, Any]] = {
    "serial": {"array.overlap": "serial"},
    "ideal": {"array.overlap": "ideal"},
    "single": {"scratchpad.buffers": 1, "accumulator.buffers": 1},
    "triple": {"scratchpad.buffers": 3, "accumulator.buffers": 1, "dma.latency_cycles": 300},
    "narrow": {
        "scratchpad.read_bytes_per_cycle": 3, "vector.lanes": 1, "dma.latency_cycles": 0,
        "accumulator.buffers": 2,
    },
    "starved": {"dram.bandwidth_mb_per_s": 20.0, "scratchpad.buffers": 3},
    "output-stationary": {"array.dataflow": "output_stationary", "array.rows": 7, "array.cols": 13},
    "input-stationary": {
        "array.dataflow": "input_stationary", "array.rows": 13, "array.cols": 7,
        "accumulator.buffers": 3,
    },
    "fused": {
        "array.precision_scaling": "fused", "array.ifmap_bits": 16, "array.weight_bits": 16,
        "scratchpad.read_bytes_per_cycle": 24,
    },
    "memory": {
        "dma.outstanding_requests": 3, "dma.request_bytes": 256, "scratchpad.ports": "shared",
        "dma.row_by_row": True, "vector.streams_out": True, "array.stream_block": 4, "command_cycles": 9,
        "dram.efficiency": 0.9, "dram.row_bytes": 512, "dram.row_cycle_ns": 400.0, "dram.banks": 2,
        "dram.refresh_interval_ns": 3900.0, "dram.refresh_ns": 350.0, "dram.turnaround_ns": 60.0,
    },
    "bit-serial": {"array.precision_scaling": "bit_serial", "array.psum_bits": 24},
}  # fmt: skip
"""Changes that reach every branch of the timing laws; any device takes them."""


def unified(capacity_bytes: int, buffers: int = 2, resident: bool = False) -> dict[str, Any]:
    """A unified scratchpad, as the value of key ``scratchpad``."""
    return {
        "layout": "unified", "capacity_bytes": capacity_bytes, "buffers": buffers,
        "read_bytes_per_cycle": 32, "resident_weights": resident,
    }  # fmt: skip


def split(
    ifmap_bytes: int, weight_bytes: int, ofmap_bytes: int, buffers: int = 2
) -> dict[str, Any]:
    """A split scratchpad, as the value of key ``scratchpad``."""
    return {
        "layout": "split", "ifmap_bytes": ifmap_bytes, "weight_bytes": weight_bytes,
        "ofmap_bytes": ofmap_bytes, "buffers": buffers, "read_bytes_per_cycle": 32,
    }  # fmt: skip


def variant(base: str, changes: dict[str, Any]) -> Device:
    """Shipped device ``base`` with ``changes`` by dotted key; a changed number loses its source."""
    content = load_device(base).model_dump(exclude_none=True, exclude={"sources"})
    for key, value in changes.items():
        section = content
        *path, last = key.split(".")
        for part in path:
            section = section[part]
        section[last] = value
    return device_from_dict(content, f"{base} with {changes}")
