"""Quantized graphs to model files that other tools read: one file per format."""

from __future__ import annotations

from pathlib import Path

from simulator.errors import UsageError
from simulator.files import check_target, write_bytes
from simulator.graph import Graph

# The numeric profile that a file of each format stands for.
PROFILES = {".tflite": "tflite", ".onnx": "onnxruntime"}


def profile_of(path: str | Path) -> str:
    """The arithmetic of a model file to be written at ``path``, by its suffix."""
    suffix = Path(path).suffix.lower()
    if suffix not in PROFILES:
        given = f"suffix {suffix!r}" if suffix else "no suffix"
        raise UsageError(str(path), given, ", ".join(PROFILES))
    check_target(str(path))
    return PROFILES[suffix]


def model_bytes(graph: Graph) -> bytes:
    """``graph`` as a file of the format that its profile stands for."""
    if graph.profile == "tflite":
        from simulator.exporters.tflite import write_tflite

        return write_tflite(graph)
    try:
        from simulator.exporters.onnx import write_onnx
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise UsageError(
            "an .onnx file", "the package onnx is not installed", "pip install 'npusim[onnx]'"
        ) from None
    return write_onnx(graph)


def bytes_for(path: str | Path, graph: Graph) -> bytes:
    """``graph`` as the content of the file ``path``, whose suffix is that of its profile."""
    if profile_of(path) != graph.profile:
        raise UsageError(str(path), f"a model in profile {graph.profile}", "a suffix of that")
    return model_bytes(graph)


def save_model(graph: Graph, path: str | Path) -> None:
    """Write ``graph`` to ``path``."""
    write_bytes(Path(path), bytes_for(path, graph))
