"""SPACE_TO_BATCH_ND: each position within a block of pixels becomes an image of its own."""

from __future__ import annotations

import math

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.ops._blocks import block_fits, blocks_of, offsets, overlap
from simulator.profiles import RUN

SUMMARY = "every so many-th pixel of a padded image to an image of its own"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def whole_blocks(graph: Graph, node: Node) -> bool:
    """the padded image is made of whole blocks"""
    blocks, space = blocks_of(graph, node), graph.spec(node.inputs[0]).shape[1:-1]
    sizes = zip(space, blocks.edges, blocks.block, strict=True)
    return all((s + a + b) % n == 0 for s, (a, b), n in sizes)


RULES = (
    move.counted(3, 3), move.constant_operand(1, "the block", ("i32",)),
    move.constant_operand(2, "the list of amounts", ("i32",)), block_fits, whole_blocks,
    move.same_elements(DATA), move.moves_activations(DATA),
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    batch, *space, depth = graph.spec(node.inputs[0]).shape
    blocks = blocks_of(graph, node)
    sizes = zip(space, blocks.edges, blocks.block, strict=True)
    made = [(s + a + b) // n for s, (a, b), n in sizes]
    return (batch * math.prod(blocks.block), *made, depth)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (x,), blocks = inputs, blocks_of(graph, node)
    result = np.full(infer(graph, node), move.zero_code(graph, node.outputs[0]), x.dtype)
    for i in np.ndindex(*x.shape):
        image, places = 0, []
        for place, (before, _), size in zip(i[1:-1], blocks.edges, blocks.block, strict=True):
            image = image * size + (place + before) % size
            places.append((place + before) // size)
        result[(image * x.shape[0] + i[0], *places, i[-1])] = x[i]
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    shape, made, blocks = (
        graph.spec(node.inputs[0]).shape,
        infer(graph, node),
        blocks_of(graph, node),
    )
    across, outward = move.strides(shape), move.strides(made)
    pieces = []
    for image, position in enumerate(offsets(blocks)):
        found = [
            overlap(small, large, size, offset, before)
            for small, large, size, offset, (before, _) in zip(
                made[1:-1], shape[1:-1], blocks.block, position, blocks.edges, strict=True
            )
        ]
        if all(f.length > 0 for f in found):
            stepped = [n * s for n, s in zip(blocks.block, across[1:-1], strict=True)]
            pieces.append(move.block(
                (shape[0], *(f.length for f in found), shape[-1]), (across[0], *stepped, 1), outward,
                (image * shape[0], *(f.first for f in found), 0),
                sum(f.place * s for f, s in zip(found, across[1:-1], strict=True)),
            ))  # fmt: skip
    return move.moved(node, pieces, fill=move.zero_code(graph, node.outputs[0]))
