"""TILE: the tensor again and again along each dimension."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "the tensor repeated along its dimensions"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def multiples_fit(graph: Graph, node: Node) -> bool:
    """there is a multiple per dimension, each at least 1"""
    multiples = move.integers(graph, node.inputs[1])
    return (
        len(multiples) == len(graph.spec(node.inputs[0]).shape) and min(multiples, default=1) >= 1
    )


RULES = (
    move.counted(2, 2), move.constant_operand(1, "the list of multiples"), multiples_fit,
    move.same_elements(DATA), move.moves_activations(DATA),
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape, multiples = graph.spec(node.inputs[0]).shape, move.integers(graph, node.inputs[1])
    return tuple(s * m for s, m in zip(shape, multiples, strict=True))


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return np.tile(inputs[0], move.integers(graph, node.inputs[1]))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    shape, multiples = graph.spec(node.inputs[0]).shape, move.integers(graph, node.inputs[1])
    sizes = [n for pair in zip(multiples, shape, strict=True) for n in pair]
    across = [s for stride in move.strides(shape) for s in (0, stride)]
    return move.moved(node, [move.block(tuple(sizes), across, move.strides(sizes))])
