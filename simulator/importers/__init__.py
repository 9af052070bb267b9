"""Model files to graphs: one file per format.

A file may come from anywhere. Whatever its bytes, it is read or refused with a :class:`ModelError`, in time
that grows with its size, and within ``MEMORY_BYTES + MEMORY_PER_BYTE * size`` bytes of memory beside the
packages: shapes that a file only states allocate nothing, and constants that are computed from others have
limits of their own (``graph.passes``).
"""

from __future__ import annotations

from pathlib import Path

from simulator.errors import ModelError
from simulator.graph import Graph

MEMORY_BYTES = 1 << 30
MEMORY_PER_BYTE = 64


def load_graph(path: Path) -> Graph:
    """The canonical, checked graph of a model file, by its suffix."""
    _check_suffix(path, str(path))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(str(path), f"cannot be read: {error.strerror}") from None
    return load_bytes(content, str(path))


def _check_suffix(path: Path, where: str) -> None:
    if path.suffix.lower() not in (".tflite", ".onnx"):
        given = path.suffix or "without a suffix"
        raise ModelError(where, f"file type {given}", ".tflite, .onnx")


def load_bytes(content: bytes, name: str) -> Graph:
    """The same of a file's bytes; ``name`` is its path, or what errors are to call it, with the suffix."""
    path = Path(name)
    _check_suffix(path, name)
    if path.suffix.lower() == ".tflite":
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
