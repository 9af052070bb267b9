"""What PAD and PADV2 share: a copy of the tensor with something else around it."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.ops._movement import block, strides
from simulator.program.commands import Piece


def constant_amounts(graph: Graph, node: Node) -> bool:
    """the amounts are a constant with two numbers, not negative, per dimension"""
    if not graph.constant(node.inputs[1]) or graph.spec(node.inputs[1]).real:
        return False
    amounts = graph.constants[node.inputs[1]]
    dimensions = len(graph.spec(node.inputs[0]).shape)
    return amounts.shape == (dimensions, 2) and bool((amounts >= 0).all())


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    amounts = graph.constants[node.inputs[1]]
    shape = graph.spec(node.inputs[0]).shape
    return tuple(s + int(a) + int(b) for s, (a, b) in zip(shape, amounts, strict=True))


def before(graph: Graph, node: Node) -> list[int]:
    """Elements before the tensor's own along each dimension."""
    return [int(b) for b in graph.constants[node.inputs[1]][:, 0]]


def padded(graph: Graph, node: Node, x: np.ndarray, value: int | float) -> np.ndarray:
    """``x`` with ``value`` around it."""
    amounts = [(int(a), int(b)) for a, b in graph.constants[node.inputs[1]]]
    return np.pad(x, amounts, constant_values=value)


def inner(graph: Graph, node: Node) -> Piece:
    """The copy of the whole input to its place."""
    shape = graph.spec(node.inputs[0]).shape
    return block(shape, strides(shape), strides(infer(graph, node)), before(graph, node))


def border(graph: Graph, node: Node, source: int) -> list[Piece]:
    """What lies around it, all from the only element of ``source``; every place once."""
    made, shape = infer(graph, node), graph.spec(node.inputs[0]).shape
    starts, across, pieces = before(graph, node), strides(made), []
    for d, (size, start) in enumerate(zip(shape, starts, strict=True)):
        # Earlier dimensions: within the tensor, later ones: everywhere.
        for first, count in ((0, start), (start + size, made[d] - start - size)):
            if count:
                places = (*starts[:d], first, *(0 for _ in made[d + 1 :]))
                sizes = (*shape[:d], count, *made[d + 1 :])
                pieces.append(block(sizes, [0] * len(made), across, places, source=source))
    return pieces
