"""GATHER: slices along an axis, chosen by indices.

Constant indices become a Move. With indices that come at run time the host does it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN
from simulator.program.commands import Piece

SUMMARY = "slices along an axis, chosen by indices"
COMMAND = "move (constant indices), or host gather"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)
_INDICES = ("i16", "i32", "i64")


class Sizes(NamedTuple):
    """The input as (batches, outer, along, inner), its indices as (batches, chosen)."""

    batches: int
    outer: int
    along: int
    chosen: int
    inner: int


def axes_fit(graph: Graph, node: Node) -> bool:
    """the axis is one of the input's; input and indices agree in the batch dimensions before it"""
    shape, chosen = graph.spec(node.inputs[0]).shape, graph.spec(node.inputs[1]).shape
    axis, batch = _axis(graph, node), _batch_dims(graph, node)
    return 0 <= batch <= min(axis, len(chosen)) and shape[:batch] == chosen[:batch]


def indices_fit(graph: Graph, node: Node) -> bool:
    """indices are i16, i32 or i64, and constant ones lie within the axis"""
    name = node.inputs[1]
    if graph.spec(name).dtype not in _INDICES:
        return False
    along = graph.spec(node.inputs[0]).shape[_axis(graph, node)]
    return not graph.constant(name) or all(0 <= v < along for v in move.integers(graph, name))


RULES = (
    move.counted(2, 2), axes_fit, indices_fit, move.same_elements(DATA), move.moves_activations(DATA)
)  # fmt: skip


def _axis(graph: Graph, node: Node) -> int:
    return move.axis_of(node.integer("axis"), len(graph.spec(node.inputs[0]).shape))


def _batch_dims(graph: Graph, node: Node) -> int:
    given = node.integer("batch_dims")
    return given + len(graph.spec(node.inputs[1]).shape) if given < 0 else given


def _sizes(graph: Graph, node: Node) -> Sizes:
    shape, chosen = graph.spec(node.inputs[0]).shape, graph.spec(node.inputs[1]).shape
    axis, batch = _axis(graph, node), _batch_dims(graph, node)
    return Sizes(
        math.prod(shape[:batch]), math.prod(shape[batch:axis]), shape[axis], math.prod(chosen[batch:]),
        math.prod(shape[axis + 1 :]),
    )  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape, chosen = graph.spec(node.inputs[0]).shape, graph.spec(node.inputs[1]).shape
    axis, batch = _axis(graph, node), _batch_dims(graph, node)
    return (*shape[:axis], *chosen[batch:], *shape[axis + 1 :])


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    values = move.all_values(graph, node.inputs[1:], inputs[1:])
    x, (indices,) = inputs[0], values
    axis, batch = _axis(graph, node), _batch_dims(graph, node)
    result = np.zeros(infer(graph, node), x.dtype)
    for i in np.ndindex(*result.shape):
        behind = axis + indices.ndim - batch
        index = int(indices[(*i[:batch], *i[axis:behind])])
        result[i] = x[(*i[:axis], index, *i[behind:])]
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    sizes, made = _sizes(graph, node), infer(graph, node)
    if not graph.constant(node.inputs[1]):
        parameters = tuple(sizes._asdict().items())
        return move.on_host(node, "gather", made, parameters)
    rows = graph.constants[node.inputs[1]].reshape(sizes.batches, sizes.chosen)
    inner, along, chosen = sizes.inner, sizes.along * sizes.inner, sizes.chosen * sizes.inner
    pieces = [
        Piece(
            0, (sizes.outer, count, inner),
            b * sizes.outer * along + first * inner, (along, step * inner, 1),
            b * sizes.outer * chosen + place * inner, (chosen, inner, 1),
        )
        for b, row in enumerate(rows)
        for place, first, step, count in move.progressions([int(v) for v in row])
    ]  # fmt: skip
    return move.moved(node, pieces)
