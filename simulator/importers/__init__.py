"""Model files to graphs: one file per format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from simulator.errors import ModelError
from simulator.graph import Graph
from simulator.importers._memory import memory_bound

__all__ = ["load_float_graph", "load_graph", "memory_bound", "onnx_graph"]


def load_float_graph(path: Path) -> Graph:
    """The canonical graph of a float32 ``.tflite`` or ``.onnx`` file, for ``simulator.quantization``; its
    operators have met no rules of the machine's."""
    suffix = path.suffix.lower()
    if suffix not in (".tflite", ".onnx"):
        given = path.suffix or "without a suffix"
        raise ModelError(str(path), f"file type {given}", ".tflite, .onnx")
    content = _content(path)
    if suffix == ".tflite":
        from simulator.importers.tflite import read_tflite

        return read_tflite(content, path.name, check=False)
    return _read_onnx(path)(content, path.name, check=False, real=True)


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
    content = _content(path)
    if suffix == ".tflite":
        from simulator.importers.tflite import read_tflite

        return read_tflite(content, path.name)
    return _read_onnx(path)(content, path.name)


def onnx_graph(content: bytes, name: str) -> Graph:
    """The canonical, checked graph of an ``.onnx`` file's bytes."""
    return _read_onnx(Path(name))(content, name)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(str(path), f"cannot be read: {error.strerror}") from None


def _read_onnx(path: Path) -> Callable[..., Graph]:
    """The reader of ``.onnx`` files, where the package is there."""
    try:
        from simulator.importers.onnx import read_onnx
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ModelError(
            str(path), "the package onnx is not installed", "pip install 'npusim[onnx]'"
        ) from None
    return read_onnx
