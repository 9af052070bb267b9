"""npusim: bits, cycles and picojoules of a quantized model on an edge NPU, from one program.

>>> from simulator import load_device, load_model, simulate
>>> result = simulate(load_model("digits"), load_device("wear"))
>>> result.totals.macs
1496160
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.crosscheck import explain, verify
    from simulator.errors import NpusimError
    from simulator.hwconfig import load_device
    from simulator.npu import compile, load_model, simulate
    from simulator.result import Result
    from simulator.vectors import write_vectors
    from simulator.workload import load_dataset

__all__ = [
    "NpusimError", "Result", "compile", "explain", "load_dataset", "load_device", "load_model",
    "simulate", "verify", "write_vectors",
]  # fmt: skip

_HOMES = {
    "NpusimError": "errors",
    "Result": "result",
    "compile": "npu",
    "explain": "crosscheck",
    "load_dataset": "workload",
    "load_device": "hwconfig",
    "load_model": "npu",
    "simulate": "npu",
    "verify": "crosscheck",
    "write_vectors": "vectors",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that importing the package costs nothing.
    if name in _HOMES:
        return getattr(import_module(f"simulator.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'simulator' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
