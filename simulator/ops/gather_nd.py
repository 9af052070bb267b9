"""GATHER_ND: slices of the tensor, each at an index of several dimensions.

Constant indices become a Move. With indices that come at run time the host does it.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN
from simulator.program.commands import Piece

SUMMARY = "slices of the tensor at indices of several dimensions"
COMMAND = "move (constant indices), or host gather_nd"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)
_INDICES = ("i16", "i32", "i64")


def depth_fits(graph: Graph, node: Node) -> bool:
    """indices are i16, i32 or i64, and the last of their dimensions is at most the input's dimensions"""
    shape, indices = graph.spec(node.inputs[0]).shape, graph.spec(node.inputs[1])
    return (
        indices.dtype in _INDICES and bool(indices.shape) and 1 <= indices.shape[-1] <= len(shape)
    )  # fmt: skip


def indices_fit(graph: Graph, node: Node) -> bool:
    """constant indices lie within the input"""
    name, shape = node.inputs[1], graph.spec(node.inputs[0]).shape
    if not graph.constant(name):
        return True
    rows = graph.constants[name].reshape(-1, graph.spec(name).shape[-1])
    return all(0 <= int(v) < size for row in rows for v, size in zip(row, shape, strict=False))


RULES = (
    move.counted(2, 2), depth_fits, indices_fit, move.same_elements(DATA),
    move.moves_activations(DATA),
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape, indices = graph.spec(node.inputs[0]).shape, graph.spec(node.inputs[1]).shape
    return (*indices[:-1], *shape[indices[-1] :])


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (indices,) = move.all_values(graph, node.inputs[1:], inputs[1:])
    result = np.zeros(infer(graph, node), inputs[0].dtype)
    for i in np.ndindex(*indices.shape[:-1]):
        result[i] = inputs[0][tuple(int(v) for v in indices[i])]
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    shape, indices = graph.spec(node.inputs[0]).shape, graph.spec(node.inputs[1]).shape
    made, depth = infer(graph, node), indices[-1]
    inner = math.prod(shape[depth:])
    if not graph.constant(node.inputs[1]):
        parameters = (("depth", depth), ("inner", inner))
        return move.on_host(node, "gather_nd", made, (*parameters, *move.sizes_of(shape)))
    across = [s // inner for s in move.strides(shape)[:depth]]
    rows = graph.constants[node.inputs[1]].reshape(-1, depth)
    places = [sum(int(v) * s for v, s in zip(row, across, strict=True)) for row in rows]
    pieces = [
        Piece(0, (count, inner), first * inner, (step * inner, 1), place * inner, (inner, 1))
        for place, first, step, count in move.progressions(places)
    ]
    return move.moved(node, pieces)
