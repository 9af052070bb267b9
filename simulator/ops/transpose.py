"""TRANSPOSE: dimensions in another order."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "dimensions in another order"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def permutation(graph: Graph, node: Node) -> bool:
    """the permutation names every dimension once"""
    return sorted(node.integers("perm")) == list(range(len(graph.spec(node.inputs[0]).shape)))


RULES = (
    move.counted(1, 1), permutation, move.same_elements(DATA), move.moves_activations(DATA)
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape = graph.spec(node.inputs[0]).shape
    return tuple(shape[a] for a in node.integers("perm"))


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return np.transpose(inputs[0], node.integers("perm"))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    shape, made = graph.spec(node.inputs[0]).shape, infer(graph, node)
    across = move.strides(shape)
    source_strides = [across[a] for a in node.integers("perm")]
    return move.moved(node, [move.block(made, source_strides, move.strides(made))])
