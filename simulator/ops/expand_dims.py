"""EXPAND_DIMS: with a further dimension of 1; the same bytes."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "the same bytes with a further dimension of 1"
COMMAND = "none (the tensor gets a second name), or move to a graph output"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def axis_fits(graph: Graph, node: Node) -> bool:
    """the axis is one of the output's"""
    axes = move.integers(graph, node.inputs[1])
    return len(axes) == 1 and _axis(graph, node) >= 0


RULES = (
    move.counted(2, 2), move.constant_operand(1, "the axis"), axis_fits, move.same_elements(DATA),
    move.moves_activations(DATA),
)  # fmt: skip


def _axis(graph: Graph, node: Node) -> int:
    dimensions = len(graph.spec(node.inputs[0]).shape) + 1
    return move.axis_of(move.integers(graph, node.inputs[1])[0], dimensions)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape, axis = graph.spec(node.inputs[0]).shape, _axis(graph, node)
    return (*shape[:axis], 1, *shape[axis:])


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return inputs[0].reshape(infer(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return move.renamed(graph, node)
