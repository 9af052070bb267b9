"""SPLIT and SPLIT_V: parts along an axis, an output each."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "parts along an axis, an output each"
COMMAND = "a move per output"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def sizes_fit(graph: Graph, node: Node) -> bool:
    """the axis is one of the input's, and the sizes, one per output, add up to its"""
    shape, (axis, sizes) = graph.spec(node.inputs[0]).shape, _parts(node)
    return (
        0 <= axis < len(shape)
        and len(sizes) == len(node.outputs)
        and min(sizes) >= 1
        and sum(sizes) == shape[axis]
    )


RULES = (
    move.counted(1, 1), sizes_fit, move.same_elements(DATA), move.moves_activations(DATA)
)  # fmt: skip


def _parts(node: Node) -> tuple[int, tuple[int, ...]]:
    """(axis, the size along it of every output)."""
    return node.integer("axis"), node.integers("sizes")


def infer(graph: Graph, node: Node) -> list[tuple[int, ...]]:
    axis, sizes = _parts(node)
    return [move.along(graph.spec(node.inputs[0]).shape, axis, size) for size in sizes]


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    axis, sizes = _parts(node)
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [inputs[0].take(range(e - n, e), axis) for n, e in zip(sizes, ends, strict=True)]


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return move.parts(graph, node, node.inputs[0], *_parts(node))
