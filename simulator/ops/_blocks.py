"""What SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND share: the block, and what is padded or cropped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from simulator.graph import Graph, Node
from simulator.ops._movement import integers


class Blocks(NamedTuple):
    """Per spatial dimension: size of the block, and what lies before and after in the space."""

    block: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]


def block_fits(graph: Graph, node: Node) -> bool:
    """the input has three or four dimensions; the block has one number, at least 1, and the amounts two,
    not negative, per dimension between batch and channels"""
    space = len(graph.spec(node.inputs[0]).shape) - 2
    block, amounts = graph.spec(node.inputs[1]), graph.spec(node.inputs[2])
    if space not in (1, 2) or block.shape != (space,) or amounts.shape != (space, 2):
        return False
    least = min(integers(graph, node.inputs[2]))
    return min(integers(graph, node.inputs[1])) >= 1 and least >= 0


def blocks_of(graph: Graph, node: Node) -> Blocks:
    """The block and the amounts of a node."""
    edges = tuple((int(a), int(b)) for a, b in graph.constants[node.inputs[2]])
    return Blocks(integers(graph, node.inputs[1]), edges)


class Overlap(NamedTuple):
    """Along one dimension: positions of small tensors ``first`` to ``first + length``, which are every
    block's elements of the large one from ``place`` on."""

    first: int
    length: int
    place: int


def overlap(small: int, large: int, size: int, offset: int, before: int) -> Overlap:
    """Where element ``offset`` of each block of ``size`` meets a large tensor that starts ``before``
    elements into the first block."""
    first = max(-((offset - before) // size), 0)
    place = first * size + offset - before
    count = min(small - first, max(-((place - large) // size), 0))
    return Overlap(first, count, place)


def offsets(blocks: Blocks) -> Iterator[tuple[int, ...]]:
    """Every position within a block, in the order of the batches they go to."""
    return np.ndindex(*blocks.block)
