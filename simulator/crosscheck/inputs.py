"""Inputs for both sides: random ones that reach every code and its edges, or a data set's samples."""

from __future__ import annotations

import numpy as np

from simulator.datapath.inputs import to_codes
from simulator.errors import DataError
from simulator.graph import Graph
from simulator.program.program import Program
from simulator.tensor import QuantParams, TensorSpec
from simulator.workload import Dataset, samples_as

_BEYOND = 0.1  # of the quantizer's range, on either side
_TIES = 0.25  # part of the elements that lie exactly between two codes


def random_inputs(graph: Graph, samples: int, seed: int) -> dict[str, np.ndarray]:
    """(samples, *shape) for each input; sample i depends on ``seed`` and i alone.

    Codes are drawn evenly over the whole range of their type. Real inputs are drawn evenly over the range
    of the quantizer that reads them and a tenth more on either side, a quarter of them as exact ties
    between two codes; where none reads them, over -1 .. 1.
    """
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in graph.inputs}
    for sample in range(samples):
        rng = np.random.default_rng([seed, sample])
        for name, rows in drawn.items():
            rows.append(_one(rng, graph, name))
    return {name: np.stack(rows) for name, rows in drawn.items()}


def _one(rng: np.random.Generator, graph: Graph, name: str) -> np.ndarray:
    spec = graph.spec(name)
    if not spec.real:
        kind = spec.container
        return rng.integers(spec.minimum, spec.maximum, spec.shape, kind, endpoint=True)
    reader = _quantizer(graph, name)
    if reader is None:
        return rng.uniform(-1, 1, spec.shape).astype(np.float32)
    codes, params = reader
    low = (codes.minimum - params.zero_point) * params.scale
    high = (codes.maximum - params.zero_point) * params.scale
    more = _BEYOND * (high - low)
    values = rng.uniform(low - more, high + more, spec.shape)
    halves = rng.integers(codes.minimum - 1, codes.maximum + 1, spec.shape) + 0.5
    ties = (halves - params.zero_point) * params.scale
    return np.where(rng.random(spec.shape) < _TIES, ties, values).astype(np.float32)


def _quantizer(graph: Graph, name: str) -> tuple[TensorSpec, QuantParams] | None:
    """Type and parameters of the first codes that the real tensor ``name`` becomes."""
    waiting, seen = [name], set[str]()
    while waiting:
        tensor = waiting.pop(0)
        seen.add(tensor)
        for node in graph.uses(tensor):
            for output in (n for n in node.outputs if n and n not in seen):
                made = graph.tensors[output]
                if made.spec.real:
                    waiting.append(output)
                elif made.quantization is not None and not made.quantization.per_channel:
                    return made.spec, made.quantization
    return None


def data_inputs(
    graph: Graph, program: Program, data: Dataset, rule: str, samples: int
) -> dict[str, np.ndarray]:
    """The first ``samples`` of a data set as the model's only input."""
    if len(graph.inputs) != 1:
        raise DataError(data.name, f"the model has {len(graph.inputs)} inputs", "one")
    (name,) = graph.inputs
    spec, x = graph.spec(name), data.x[:samples]
    if spec.real and x.dtype.kind == "f":
        return {name: samples_as(x, spec.shape, data.name).astype(np.float32)}
    return {name: to_codes(x, program.placements[name], rule, data.name)}
