"""PACK: tensors of one shape along a new axis."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN
from simulator.program.commands import Piece

SUMMARY = "tensors of one shape side by side along a new axis"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(None)


def one_shape(graph: Graph, node: Node) -> bool:
    """all inputs have the same shape, and the new axis is one of the output's"""
    shapes = {graph.spec(n).shape for n in node.inputs}
    return len(shapes) == 1 and _axis(graph, node) >= 0


RULES = (
    move.counted(1, move.MOST_INPUTS), one_shape, move.same_elements(DATA), move.moves_activations(DATA)
)  # fmt: skip


def _axis(graph: Graph, node: Node) -> int:
    return move.axis_of(node.integer("axis"), len(graph.spec(node.inputs[0]).shape) + 1)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape, axis = graph.spec(node.inputs[0]).shape, _axis(graph, node)
    return (*shape[:axis], len(node.inputs), *shape[axis:])


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return np.stack(move.all_values(graph, node.inputs, inputs), _axis(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    shape, axis, made = graph.spec(node.inputs[0]).shape, _axis(graph, node), infer(graph, node)
    across = move.strides(made)
    kept = (*across[:axis], *across[axis + 1 :])
    pieces = [
        Piece(i, shape, 0, move.strides(shape), i * across[axis], kept)
        for i in range(len(node.inputs))
    ]
    return move.moved(node, pieces, node.inputs)
