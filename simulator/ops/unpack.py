"""UNPACK: an output for each index of an axis."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "a tensor for each index of an axis"
COMMAND = "a move per output"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def an_output_each(graph: Graph, node: Node) -> bool:
    """the axis is one of the input's, with as many indices as there are outputs"""
    shape, axis = graph.spec(node.inputs[0]).shape, _axis(graph, node)
    return axis >= 0 and shape[axis] == len(node.outputs) == node.integer("num")


RULES = (
    move.counted(1, 1), an_output_each, move.same_elements(DATA), move.moves_activations(DATA)
)  # fmt: skip


def _axis(graph: Graph, node: Node) -> int:
    return move.axis_of(node.integer("axis"), len(graph.spec(node.inputs[0]).shape))


def infer(graph: Graph, node: Node) -> list[tuple[int, ...]]:
    shape, axis = graph.spec(node.inputs[0]).shape, _axis(graph, node)
    return [(*shape[:axis], *shape[axis + 1 :])] * len(node.outputs)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    return [inputs[0].take(i, _axis(graph, node)) for i in range(len(node.outputs))]


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    # An axis of 1 changes no place, so outputs are laid out as if they kept it.
    return move.parts(graph, node, node.inputs[0], _axis(graph, node), [1] * len(node.outputs))
