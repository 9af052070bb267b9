"""SQUEEZE: without dimensions of 1; the same bytes."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "the same bytes without dimensions of 1"
COMMAND = "none (the tensor gets a second name), or move to a graph output"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def dimensions_of_one(graph: Graph, node: Node) -> bool:
    """the dimensions to leave out are the input's and have size 1"""
    shape = graph.spec(node.inputs[0]).shape
    axes = [move.axis_of(a, len(shape)) for a in node.integers("squeeze_dims")]
    return all(a >= 0 and shape[a] == 1 for a in axes)


RULES = (
    move.counted(1, 1), dimensions_of_one, move.same_elements(DATA), move.moves_activations(DATA)
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape = graph.spec(node.inputs[0]).shape
    named = {move.axis_of(a, len(shape)) for a in node.integers("squeeze_dims")}
    if not named:
        named = {d for d, size in enumerate(shape) if size == 1}
    return tuple(size for d, size in enumerate(shape) if d not in named)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return inputs[0].reshape(infer(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return move.renamed(graph, node)
