"""Small random devices: odd arrays and scratchpads so tight that layers must be tiled and spilled."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.compiler import compile_graph
from simulator.errors import CompileError
from simulator.graph import Graph
from simulator.hwconfig import DATAFLOWS, Device, device_from_dict
from simulator.program.program import Program

_ARRAYS = ((7, 13), (1, 1), (3, 5), (16, 16), (8, 4), (2, 31), (31, 2), (32, 32))
_SCALINGS = ("none", "none", "fused", "bit_serial")
_OVERLAPS = ("serial", "pipelined", "ideal")


def device_dict(rows: int = 8, cols: int = 8, scratchpad_bytes: int = 1 << 20) -> dict[str, Any]:
    """A plain device as nested values, for a test to change."""
    return {
        "schema_version": 1, "name": "small", "title": "small", "device_class": "test",
        "array": {"rows": rows, "cols": cols},
        "scratchpad": {
            "layout": "unified", "capacity_bytes": scratchpad_bytes, "read_bytes_per_cycle": 64,
        },
        "accumulator": {"capacity_bytes": 1 << 16},
        "vector": {"lanes": 4},
        "dma": {"bytes_per_cycle": 8},
        "dram": {"kind": "lpddr4", "bandwidth_mb_per_s": 1000},
        "host": {"operations_per_s": 1e9, "call_latency_s": 1e-6, "operation_pj": 10},
        "operating_points": [{"name": "nominal", "voltage_v": 0.8, "clock_mhz": 100.0}],
        "energy": {"node_nm": 28, "wire_mm": 1.0},
        "power": {"leakage_mw": 1, "idle_mw": 1},
    }  # fmt: skip


def small_device(**array: Any) -> Device:
    """A roomy device with these keys of ``[array]``."""
    content = device_dict()
    content["array"].update(array)
    return device_from_dict(content, "test")


def _random_scratchpad(rng: np.random.Generator, room: int) -> dict[str, Any]:
    common = {
        "buffers": int(rng.integers(1, 4)),
        "read_bytes_per_cycle": int(rng.choice([1, 16, 256])),
        "resident_weights": bool(rng.integers(2)),
    }
    if rng.integers(2):
        return {"layout": "unified", "capacity_bytes": room, **common}
    parts = [max(64, int(room * part)) for part in rng.dirichlet([3, 2, 2])]
    names = ("ifmap_bytes", "weight_bytes", "ofmap_bytes")
    return {"layout": "split", **dict(zip(names, parts, strict=True)), **common}


def random_device(rng: np.random.Generator, room: int, **array: Any) -> Device:
    """A device with ``room`` bytes of scratchpad; ``array`` overrides keys of ``[array]``."""
    content = device_dict()
    rows, cols = _ARRAYS[rng.integers(len(_ARRAYS))]
    content["array"] = {
        "rows": rows, "cols": cols, "dataflow": DATAFLOWS[rng.integers(3)],
        "overlap": _OVERLAPS[rng.integers(3)],
        "zero_point": ("subtract", "fold")[rng.integers(2)],
        "precision_scaling": _SCALINGS[rng.integers(4)],
        **array,
    }  # fmt: skip
    content["scratchpad"] = _random_scratchpad(rng, room)
    content["accumulator"] = {
        "capacity_bytes": int(rng.choice([64, 512, 8192])), "buffers": int(rng.integers(1, 4))
    }  # fmt: skip
    content["vector"]["lanes"] = int(rng.choice([1, 3, 16]))
    _random_surroundings(np.random.default_rng([room, rows, cols]), content)
    return device_from_dict(content, "test")


def _random_surroundings(rng: np.random.Generator, content: dict[str, Any]) -> None:
    """What takes time and cannot change a value, in half of the devices: memory, cores, commands."""
    if rng.integers(2):
        return
    burst = int(rng.choice([1, 8, 64]))
    content["dma"] |= {
        "burst_bytes": burst, "request_bytes": burst * int(rng.choice([1, 2, 4])),
        "latency_cycles": int(rng.choice([0, 50])), "row_by_row": bool(rng.integers(2)),
    }  # fmt: skip
    if rng.integers(2):
        content["dma"]["outstanding_requests"] = int(rng.choice([1, 8]))
    content["dram"] |= {
        "row_bytes": 256, "row_cycle_ns": 50.0, "banks": int(rng.choice([1, 8])),
        "refresh_ns": 100.0, "refresh_interval_ns": 1000.0, "turnaround_ns": 20.0,
    }  # fmt: skip
    content["scratchpad"] |= {"ports": "shared", "banks": int(rng.choice([1, 4]))}
    content["array"]["stream_block"] = int(rng.choice([1, 8]))
    content["vector"]["streams_out"] = bool(rng.integers(2))
    content |= {
        "command_cycles": 20, "cores": int(rng.choice([1, 2, 5])),
        "shared_scratchpad": bool(rng.integers(2)),
    }  # fmt: skip


def compile_tightly(rng: np.random.Generator, graph: Graph, **array: Any) -> Program:
    """``graph`` on a random device that only just holds it: the room grows until it compiles."""
    room = int(rng.choice([256, 1024, 4096, 1 << 20]))
    while True:
        try:
            return compile_graph(graph, random_device(rng, room, **array))
        except CompileError:
            room *= 2
            assert room < 1 << 28, "no device is large enough"
