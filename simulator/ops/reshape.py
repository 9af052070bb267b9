"""RESHAPE: the same bytes under another shape; costs nothing on chip."""

from __future__ import annotations

from math import prod

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "another shape for the same bytes"
COMMAND = "none (the tensor gets a second name), or move from a graph input to a graph output"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def shape_known(graph: Graph, node: Node) -> bool:
    """the new shape is a constant, with at most one -1, and has the input's number of elements"""
    if len(node.inputs) != 1:
        return False
    shape = node.integers("shape")
    return min(shape, default=1) >= 1 and prod(shape) == graph.spec(node.inputs[0]).elements


RULES = (shape_known, move.same_elements(DATA), move.moves_activations(DATA))


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return node.integers("shape")


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return inputs[0].reshape(infer(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return move.renamed(graph, node)
