"""The same codes read with another quantization: what a RESHAPE to another scale does."""

from __future__ import annotations

from math import prod

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "the same codes with another scale or zero point"
COMMAND = "none (the tensor gets a second name), or move to a graph output"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def same_codes(graph: Graph, node: Node) -> bool:
    """input and output have the same type and number of elements"""
    source, target = graph.spec(node.inputs[0]), graph.spec(node.outputs[0])
    return (source.dtype, source.elements) == (target.dtype, target.elements)


def shape_fits(graph: Graph, node: Node) -> bool:
    """the new shape, if it has one, has the input's number of elements"""
    shape = infer(graph, node)
    return min(shape, default=1) >= 1 and prod(shape) == graph.spec(node.inputs[0]).elements


RULES = (move.counted(1, 1), same_codes, shape_fits, move.moves_activations(DATA))


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    given = "shape" in dict(node.attrs)
    return node.integers("shape") if given else graph.spec(node.inputs[0]).shape


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return inputs[0].reshape(infer(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return move.renamed(graph, node)
