"""Quantized graphs to model files that other tools read: one file per format."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simulator.errors import UsageError
from simulator.files import check_target, write_bytes
from simulator.graph import Graph
from simulator.quantizers import Quantized

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
    _onnx()
    from simulator.exporters.onnx import write_onnx

    return write_onnx(graph)


def dynamic_bytes(graph: Graph, layers: Mapping[str, tuple[Quantized, np.ndarray | None]]) -> bytes:
    """Float ``graph`` as an ``.onnx`` file whose products find the ranges of their inputs as they run;
    ``layers``: symmetric weights of 8 bits and the float32 bias, if any, of each product by name."""
    _onnx()
    from simulator.exporters.onnx_dynamic import write_dynamic

    return write_dynamic(graph, layers)


class ActivationQuantizer(NamedTuple):
    """``clip(rint(x / scale) + zero_point)`` in so many bits, signed or not; signed codes about a zero
    point of 0 are as many below it as above."""

    scale: float
    zero_point: int
    bits: int
    signed: bool


def qonnx_bytes(
    graph: Graph, layers: Mapping[str, tuple[Quantized, np.ndarray | None]],
    activations: Mapping[str, ActivationQuantizer],
) -> bytes:  # fmt: skip
    """Float ``graph`` as a QONNX file; ``layers`` as for :func:`dynamic_bytes`, uniform of any width;
    ``activations``: the quantizers of the input and of every output."""
    _onnx()
    from simulator.exporters.qonnx import write_qonnx

    return write_qonnx(graph, layers, activations)


def _onnx() -> None:
    """An error now where there is no onnx."""
    if find_spec("onnx") is None:
        raise UsageError(
            "an .onnx file", "the package onnx is not installed", "pip install 'npusim[onnx]'"
        )


def bytes_for(path: str | Path, graph: Graph) -> bytes:
    """``graph`` as the content of the file ``path``, whose suffix is that of its profile."""
    if profile_of(path) != graph.profile:
        raise UsageError(str(path), f"a model in profile {graph.profile}", "a suffix of that")
    return model_bytes(graph)


def save_model(graph: Graph, path: str | Path) -> None:
    """Write ``graph`` to ``path``."""
    write_bytes(Path(path), bytes_for(path, graph))
