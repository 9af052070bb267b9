"""Weights of a quantized model with 0s in a pattern that arrays can skip, as a graph of its own."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from simulator.errors import UsageError
from simulator.graph import Graph
from simulator.ops._stage import operands

# Layouts with the input channels last; the first axis is the output's.
_PRODUCTS = ("conv_2d", "fully_connected")


def with_pruned(graph: Graph, pattern: str) -> Graph:
    """``graph`` with at most N of every M neighbouring input channels of its convolutions and dense layers
    not 0, for ``pattern`` N:M: the smallest weights go (of equal ones, those of later channels).

    Nothing is trained again. Weights whose channels are no multiple of M, those of grouped convolutions and
    weights that something else uses stay as they are.
    """
    match = re.fullmatch(r"([1-9]\d?):([1-9]\d?)", pattern)
    if not match or int(match[1]) >= int(match[2]):
        raise UsageError("prune", repr(pattern), "N:M with N below M, such as 2:4")
    kept, of = int(match[1]), int(match[2])
    constants = dict(graph.constants)
    for node in graph.nodes:
        names = operands(node) if node.operator in _PRODUCTS else None
        if names is None or not graph.constant(names.weights):
            continue
        others = [n for n in graph.uses(names.weights) if n.operator not in _PRODUCTS]
        values = graph.constants[names.weights]
        channels = graph.spec(node.inputs[0]).shape[-1]
        grouped = node.operator == "conv_2d" and values.shape[-1] != channels
        if others or grouped or values.shape[-1] % of:
            continue
        q = graph.quantization(names.weights)
        points = np.array(q.zero_points, np.int64)
        shape = [1] * values.ndim
        shape[q.axis] = points.size
        zeros = points.reshape(shape) if points.size > 1 else points.reshape(())
        constants[names.weights] = _pruned(values, zeros, kept, of)
    return replace(graph, constants=constants)


def _pruned(values: np.ndarray, zeros: np.ndarray, kept: int, of: int) -> np.ndarray:
    size = np.abs(values.astype(np.int64) - zeros).reshape(*values.shape[:-1], -1, of)
    order = np.argsort(-size, axis=-1, kind="stable")
    drop = np.zeros(size.shape, bool)
    np.put_along_axis(drop, order[..., kept:], True, axis=-1)
    return np.where(drop.reshape(values.shape), zeros, values).astype(values.dtype)
