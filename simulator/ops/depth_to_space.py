"""DEPTH_TO_SPACE: the channels of a pixel become a square block of pixels."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "channels become square blocks of pixels"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def channels_fit(graph: Graph, node: Node) -> bool:
    """the input has four dimensions, and its channels are a multiple of the square of the block"""
    shape, size = graph.spec(node.inputs[0]).shape, node.integer("block_size")
    return len(shape) == 4 and shape[3] % size**2 == 0


RULES = (
    move.counted(1, 1), channels_fit, move.same_elements(DATA), move.moves_activations(DATA)
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    batch, height, width, depth = graph.spec(node.inputs[0]).shape
    size = node.integer("block_size")
    return batch, height * size, width * size, depth // size**2


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (x,), size = inputs, node.integer("block_size")
    result = np.zeros(infer(graph, node), x.dtype)
    for b, y, xx, c in np.ndindex(*result.shape):
        channel = (y % size * size + xx % size) * result.shape[3] + c
        result[b, y, xx, c] = x[b, y // size, xx // size, channel]
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    (batch, height, width, depth), size = (
        graph.spec(node.inputs[0]).shape,
        node.integer("block_size"),
    )
    pixel, row = depth // size, width * depth
    # Loops over the ofmap in order: batch, pixel row, row in the block, pixel column, a row of a block.
    sizes = (batch, height, size, width, pixel)
    piece = move.block(sizes, (height * row, row, pixel, depth, 1), move.strides(sizes))
    return move.moved(node, [piece])
