"""SLICE: a block of the tensor."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "a block of the tensor"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def within(graph: Graph, node: Node) -> bool:
    """begin and size have a number per dimension and lie within the input"""
    shape, begin, size = graph.spec(node.inputs[0]).shape, *_block(node)
    if (len(begin), len(size)) != (len(shape), len(shape)):
        return False
    return all(b >= 0 and 1 <= n <= s - b for s, b, n in zip(shape, begin, size, strict=True))


RULES = (
    move.counted(1, 1), within, move.same_elements(DATA), move.moves_activations(DATA)
)  # fmt: skip


def _block(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return node.integers("begin"), node.integers("size")


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return node.integers("size")


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    pairs = zip(*_block(node), strict=True)
    return inputs[0][tuple(slice(b, b + n) for b, n in pairs)]


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    shape, begin, size = graph.spec(node.inputs[0]).shape, *_block(node)
    return move.moved(node, [move.window(shape, begin, [1] * len(shape), size)])
