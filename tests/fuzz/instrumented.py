"""The importers, loaded so that libFuzzer sees which branches they take; to be imported before them."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from atheris.import_hook import instrument_imports

if TYPE_CHECKING:
    from simulator.graph import Graph


def _load(room: ModuleType) -> None:
    for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
        import_module(module.name)


# First what numba compiles, which it could not if it were instrumented.
for _name in ("fixedpoint", "program", "dataflows"):
    _load(import_module(f"simulator.{_name}"))

with instrument_imports(["simulator"]):
    for _name in ("importers", "ops"):
        _load(import_module(f"simulator.{_name}"))

READ: dict[str, Callable[[bytes, str], Graph]] = {
    "tflite": import_module("simulator.importers.tflite").read_tflite,
    "onnx": import_module("simulator.importers.onnx").read_onnx,
}
