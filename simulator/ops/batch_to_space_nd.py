"""BATCH_TO_SPACE_ND: images of a batch become the positions within blocks of pixels."""

from __future__ import annotations

import math

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.ops._blocks import block_fits, blocks_of, offsets, overlap
from simulator.profiles import RUN

SUMMARY = "images of a batch interleaved to larger ones, and cropped"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def whole_batches(graph: Graph, node: Node) -> bool:
    """the batch is a multiple of the block's elements, and the crops leave something"""
    batch, least = graph.spec(node.inputs[0]).shape[0], min(infer(graph, node))
    return batch % math.prod(blocks_of(graph, node).block) == 0 and least >= 1


RULES = (
    move.counted(3, 3), move.constant_operand(1, "the block", ("i32",)),
    move.constant_operand(2, "the list of crops", ("i32",)), block_fits, whole_batches,
    move.same_elements(DATA), move.moves_activations(DATA),
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    batch, *space, depth = graph.spec(node.inputs[0]).shape
    blocks = blocks_of(graph, node)
    sizes = zip(space, blocks.edges, blocks.block, strict=True)
    made = [s * n - a - b for s, (a, b), n in sizes]
    return (batch // math.prod(blocks.block), *made, depth)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (x,), blocks = inputs, blocks_of(graph, node)
    result = np.zeros(infer(graph, node), x.dtype)
    for i in np.ndindex(*result.shape):
        image, places = 0, []
        for place, (before, _), size in zip(i[1:-1], blocks.edges, blocks.block, strict=True):
            image = image * size + (place + before) % size
            places.append((place + before) // size)
        result[i] = x[(image * result.shape[0] + i[0], *places, i[-1])]
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
                shape[1:-1], made[1:-1], blocks.block, position, blocks.edges, strict=True
            )
        ]
        if all(f.length > 0 for f in found):
            stepped = [n * s for n, s in zip(blocks.block, outward[1:-1], strict=True)]
            start = (image * made[0], *(f.first for f in found), 0)
            piece = move.block(
                (made[0], *(f.length for f in found), made[-1]), across, (outward[0], *stepped, 1),
                source_start=sum(b * s for b, s in zip(start, across, strict=True)),
            )  # fmt: skip
            offset = sum(f.place * s for f, s in zip(found, outward[1:-1], strict=True))
            pieces.append(piece._replace(ofmap_offset=offset))
    return move.moved(node, pieces)
