"""STRIDED_SLICE: every so many-th element of each dimension.

``begin``, ``end`` and ``strides`` have an entry per dimension of the input, resolved: ``begin`` is an
index, ``end`` is exclusive and, backwards, -1 to go down to index 0. ``shape`` is the output's where
dimensions of 1 come or go.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "every so many-th element, forwards or backwards, of a range of each dimension"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def within(graph: Graph, node: Node) -> bool:
    """begin, end and strides have an entry per dimension, each a range within it that is not empty"""
    shape, dimensions = graph.spec(node.inputs[0]).shape, len(graph.spec(node.inputs[0]).shape)
    keys = ("begin", "end", "strides")
    if any(len(node.integers(key)) != dimensions for key in keys) or 0 in node.integers("strides"):
        return False
    return all(
        len(r) > 0 and min(r[0], r[-1]) >= 0 and max(r[0], r[-1]) < size
        for r, size in zip(_ranges(node), shape, strict=True)
    )


def shape_fits(graph: Graph, node: Node) -> bool:
    """the output has the elements taken"""
    return math.prod(infer(graph, node)) == math.prod(len(r) for r in _ranges(node))


RULES = (
    move.counted(1, 1), within, shape_fits, move.same_elements(DATA), move.moves_activations(DATA)
)  # fmt: skip


def _ranges(node: Node) -> list[range]:
    """The indices of each dimension, in order."""
    columns = (node.integers(key) for key in ("begin", "end", "strides"))
    return [range(b, e, s) for b, e, s in zip(*columns, strict=True)]


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    if "shape" in dict(node.attrs):
        return node.integers("shape")
    return tuple(len(r) for r in _ranges(node))


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    values = (inputs[0][i] for i in product(*_ranges(node)))
    return np.fromiter(values, inputs[0].dtype).reshape(infer(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    found = _ranges(node)
    # Dimensions of 1 that come or go change no place, so the ofmap is laid out as if all stayed.
    piece = move.window(
        graph.spec(node.inputs[0]).shape,
        [r.start for r in found], [r.step for r in found], [len(r) for r in found],
    )  # fmt: skip
    return move.moved(node, [piece])
