"""ONNX models on the datapath against ONNX Runtime, tensor by tensor, many samples at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from random_devices import small_device

from simulator.compiler import compile_graph
from simulator.crosscheck.inputs import random_inputs
from simulator.crosscheck.onnxruntime import open_runtime, pairs_saturate
from simulator.datapath.machine import Machine
from simulator.graph import Graph
from simulator.importers.onnx import read_onnx
from simulator.ops import reference_values
from simulator.program.program import Program

_DEVICE = small_device()
# Two products of uint8 codes by int8 weights stay within 16 bits where the processor sums them so.
LARGEST_WEIGHT = 64 if pairs_saturate() else 128


def _compiled(graph: Graph) -> Program:
    return compile_graph(graph, _DEVICE)


@dataclass
class Comparison:
    """``elements`` compared and ``different`` ones by tensor name in the file."""

    elements: int
    different: dict[str, int]


def compared(
    tmp: Path, content: bytes, samples: int = 1, *, seed: int = 0,
    compiled: Callable[[Graph], Program] = _compiled, feed: dict[str, np.ndarray] | None = None,
    naive: bool = True,
) -> Comparison:  # fmt: skip
    """Every tensor that exists in both. With ``naive`` the definitions are held as well, on one sample."""
    graph = read_onnx(content, "model")
    path = tmp / "model.onnx"
    path.write_bytes(content)
    runtime = open_runtime(path)
    feed = feed or random_inputs(graph, samples, seed)
    made = [name for node in graph.nodes for name in node.outputs if name]
    done = Machine(compiled(graph)).run(feed, made)
    ours = {**feed, **done.tensors}
    names = [n for n in made if graph.tensors[n].key != ""]
    if naive:
        _hold_definitions(graph, ours)
    result = Comparison(0, {})
    for sample in range(next(iter(feed.values())).shape[0]):
        given = {str(graph.tensors[n].key): v[sample] for n, v in feed.items()}
        theirs = runtime.run(given, [str(graph.tensors[n].key) for n in names])
        for name in names:
            tensor = graph.tensors[name]
            if name not in ours or str(tensor.key) not in theirs:
                continue
            value = ours[name][sample]
            value = value.transpose(tensor.file_axes) if tensor.file_axes else value
            other = theirs[str(tensor.key)]
            assert value.dtype == other.dtype, name
            assert value.shape == other.shape, name
            apart = _apart(value, other)
            result.elements += value.size
            if apart:
                result.different[name] = result.different.get(name, 0) + apart
    return result


def _apart(ours: np.ndarray, theirs: np.ndarray) -> int:
    if ours.dtype.kind != "f":
        return int((ours != theirs).sum())
    same = ours.view(np.int32) == np.ascontiguousarray(theirs).view(np.int32)
    both_nan = np.isnan(ours) & np.isnan(theirs)
    zeros = (ours == 0) & (theirs == 0)
    return int((~(same | both_nan | zeros)).sum())


def _hold_definitions(graph: Graph, ours: dict[str, np.ndarray]) -> None:
    """Each operator's naive reference on the first sample, where all its operands are known."""
    for node in graph.nodes:
        names = [n for n in node.inputs if n and not graph.constant(n)]
        if not all(n in ours for n in (*names, *node.outputs)):
            continue
        values = reference_values(graph, node, [ours[n][0] for n in names])
        for output, value in zip(node.outputs, values, strict=True):
            np.testing.assert_array_equal(ours[output][0], value, f"{node.operator} {output}")
