"""Model files to graphs: one file per format."""

from __future__ import annotations

from pathlib import Path

from simulator.errors import ModelError
from simulator.graph import Graph
from simulator.importers._memory import memory_bound

__all__ = ["load_graph", "memory_bound"]


def load_graph(path: Path) -> Graph:
    """The canonical, checked graph of a model file, by its suffix.

    Whatever the file holds, reading it ends in a graph or in a :class:`ModelError`, and allocates at most
    ``memory_bound(size)`` bytes beyond the file itself. A MemoryError says that the machine has less.
    """
    suffix = path.suffix.lower()
    if suffix not in (".tflite", ".onnx", ".csv"):
        given = path.suffix or "without a suffix"
        raise ModelError(
            str(path), f"file type {given}", ".tflite, .onnx, .csv (a SCALE-Sim topology)"
        )
    if suffix == ".csv":
        from simulator.importers.scalesim import topology_graph

        return topology_graph(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(str(path), f"cannot be read: {error.strerror}") from None
    if suffix == ".tflite":
        from simulator.importers.tflite import read_tflite

        return read_tflite(content, path.name)
    try:
        from simulator.importers.onnx import read_onnx
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ModelError(
            str(path), "the package onnx is not installed", "pip install 'npusim[onnx]'"
        ) from None
    return read_onnx(content, path.name)
