"""Model files to graphs: one file per format."""

from __future__ import annotations

from pathlib import Path

from simulator.errors import ModelError
from simulator.graph import Graph


def load_graph(path: Path) -> Graph:
    """The canonical, checked graph of a model file, by its suffix."""
    if path.suffix.lower() == ".tflite":
        from simulator.importers.tflite import read_tflite

        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(str(path), f"cannot be read: {error.strerror}") from None
        return read_tflite(content, path.name)
    raise ModelError(str(path), f"file type {path.suffix or 'without a suffix'}", ".tflite")
