"""The façade of quantization: a float model and samples to a quantized model, and what either scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from simulator.errors import UsageError
from simulator.exporters import bytes_for
from simulator.files import write_bytes
from simulator.graph import Graph
from simulator.importers import load_float_graph, load_graph
from simulator.importers._check import check_graph
from simulator.quantization.float_graph import batches, float_model, run_float
from simulator.quantization.post_training import PostTraining, quantize_model
from simulator.quantization.scheme import Scheme
from simulator.tensor import QuantParams
from simulator.workload import Dataset, model_path

Progress = Callable[[int], object]


def load_float_model(name_or_path: str | Path) -> Graph:
    """A float32 ``.tflite`` or ``.onnx`` file, for :func:`quantize_graph`."""
    return float_model(load_float_graph(model_path(name_or_path)))


def input_params(
    x: np.ndarray, scale: float | None, zero_point: int | None, like: Graph | None = None
) -> QuantParams | None:
    """The parameters of int8 codes that samples ``x`` are, or stand for; None of real numbers.

    Integers need ``scale``, and ``zero_point`` as far as it is not 0, in their own type: a pixel ``p`` is
    the number ``scale * (p - zero_point)``. Or they are codes of the input of ``like``.
    """
    if like is not None:
        found, spec = like.quantization(like.inputs[0]), like.spec(like.inputs[0])
        scale, zero_point = found.scale, found.zero_point
        if spec.dtype == "i8" and x.dtype == np.uint8:
            zero_point += 128  # pixels, to which npusim run brings int8 codes by x - 128
        elif spec.dtype == "u8" and x.dtype == np.int8:
            zero_point -= 128
    if x.dtype.kind == "f":
        if scale is not None and like is None:
            raise UsageError("input scale", f"{scale} of {x.dtype} samples", "integer samples")
        return None if like is None else like.quantization(like.inputs[0])
    if x.dtype not in (np.int8, np.uint8):
        raise UsageError("samples", f"are {x.dtype}", "float32, int8 or uint8")
    if scale is None:
        problem = f"is not given, and samples are {x.dtype}"
        raise UsageError("input scale", problem, "what a step of them stands for")
    low, high = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
    point = zero_point or 0
    if not low <= point <= high:
        raise UsageError("input zero point", str(point), f"{low} to {high}")
    return QuantParams((float(np.float32(scale)),), (point - (128 if x.dtype == np.uint8 else 0),))


def real_samples(x: np.ndarray, params: QuantParams | None) -> np.ndarray:
    """``x`` as the float model takes it, float32."""
    if x.dtype.kind == "f" or params is None:
        return x.astype(np.float32)
    codes = x.astype(np.int32) - (128 if x.dtype == np.uint8 else 0)
    return ((codes - params.zero_point) * np.float32(params.scale)).astype(np.float32)


def quantize_graph(
    graph: Graph, x: np.ndarray, scheme: Scheme, profile: str, params: QuantParams | None = None,
    progress: Progress | None = None,
) -> PostTraining:  # fmt: skip
    """``graph``, float32, quantized to ``scheme`` on samples ``x``, in the arithmetic of ``profile``.

    ``params``: those of :func:`input_params`. The result has met the rules of its operators.
    """
    found = quantize_model(graph, real_samples(x, params), scheme, profile, params, progress)
    return found if found.content else replace(found, graph=check_graph(found.graph))


def write_quantized(found: PostTraining, path: str | Path) -> Graph:
    """Write the model to ``path``; the graph that is read from what was written, before it is there."""
    return _written(found.content or bytes_for(path, found.graph), path)


def write_graph(graph: Graph, path: str | Path) -> Graph:
    """Likewise of a quantized graph."""
    return _written(bytes_for(path, graph), path)


def _written(content: bytes, path: str | Path) -> Graph:
    read = read_back(content, Path(path).name)
    write_bytes(Path(path), content)
    return read


def read_back(content: bytes, name: str) -> Graph:
    """The graph of a model file's bytes, as anyone would read it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return load_graph(path)


def scored(graph: Graph, data: Dataset, params: QuantParams | None) -> Dataset:
    """``data`` as ``graph``, quantized, takes it: as numbers, where its input is one of them."""
    if not graph.spec(graph.inputs[0]).real:
        return data
    return Dataset(data.name, real_samples(data.x, params), data.y)


def input_rule(graph: Graph, x: np.ndarray) -> str:
    """How samples ``x``, as a model was calibrated with, become codes of its quantized form."""
    unsigned = x.dtype == np.int8 and graph.spec(graph.inputs[0]).dtype == "u8"
    return "unsigned" if unsigned else "auto"


def float_top1(graph: Graph, data: Dataset, params: QuantParams | None, offset: int = 0) -> float:
    """The share of samples whose class is the largest output of float ``graph``."""
    right = 0
    start = 0
    for part in batches(graph, data.x):
        made = run_float(graph, real_samples(part, params))[graph.outputs[0]]
        labels = data.y[start : start + part.shape[0]].astype(np.int64) + offset
        right += int((made.reshape(part.shape[0], -1).argmax(axis=1) == labels).sum())
        start += part.shape[0]
    return right / data.x.shape[0]
