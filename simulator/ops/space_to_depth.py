"""SPACE_TO_DEPTH: each square block of pixels becomes one pixel's channels."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "square blocks of pixels become channels"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def blocks_fit(graph: Graph, node: Node) -> bool:
    """the input has four dimensions, and height and width are multiples of the block"""
    shape, size = graph.spec(node.inputs[0]).shape, node.integer("block_size")
    return len(shape) == 4 and shape[1] % size == 0 and shape[2] % size == 0


RULES = (
    move.counted(1, 1), blocks_fit, move.same_elements(DATA), move.moves_activations(DATA)
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    batch, height, width, depth = graph.spec(node.inputs[0]).shape
    size = node.integer("block_size")
    return batch, height // size, width // size, depth * size * size


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (x,), size = inputs, node.integer("block_size")
    result = np.zeros(infer(graph, node), x.dtype)
    for b, y, xx, c in np.ndindex(*x.shape):
        channel = (y % size * size + xx % size) * x.shape[3] + c
        result[b, y // size, xx // size, channel] = x[b, y, xx, c]
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    (batch, height, width, depth), size = (
        graph.spec(node.inputs[0]).shape,
        node.integer("block_size"),
    )
    row = width * depth
    # Loops over the ofmap in order: batch, block row, block column, row and column in the block.
    sizes = (batch, height // size, width // size, size, size * depth)
    piece = move.block(sizes, (height * row, size * row, size * depth, row, 1), move.strides(sizes))
    return move.moved(node, [piece])
