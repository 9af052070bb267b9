"""MIRROR_PAD: the tensor with its own elements around it, as in a mirror."""

from __future__ import annotations

from itertools import product

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "the tensor with its mirror image around it"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def amounts_fit(graph: Graph, node: Node) -> bool:
    """the amounts are two per dimension, not negative, and at most its size (REFLECT: less than it)"""
    shape, amounts = graph.spec(node.inputs[0]).shape, graph.constants[node.inputs[1]]
    if amounts.shape != (len(shape), 2):
        return False
    most = np.array(shape)[:, np.newaxis] - _edge(node)
    return bool(((amounts >= 0) & (amounts <= most)).all())


RULES = (
    move.counted(2, 2), move.constant_operand(1, "the list of amounts"), amounts_fit,
    move.same_elements(DATA), move.moves_activations(DATA),
)  # fmt: skip


def _edge(node: Node) -> int:
    """1 where the edge itself is the mirror, 0 where it is seen twice."""
    return int(node.text("mode") == "REFLECT")


def _amounts(graph: Graph, node: Node) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in graph.constants[node.inputs[1]]]


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape = graph.spec(node.inputs[0]).shape
    return tuple(s + a + b for s, (a, b) in zip(shape, _amounts(graph, node), strict=True))


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (x,), amounts = inputs, _amounts(graph, node)
    result = np.zeros(infer(graph, node), x.dtype)
    for i in np.ndindex(*result.shape):
        places = []
        for place, size, (before, _) in zip(i, x.shape, amounts, strict=True):
            p = place - before
            if p < 0:
                p = -p - 1 + _edge(node)
            elif p >= size:
                p = 2 * size - 1 - _edge(node) - p
            places.append(p)
        result[i] = x[tuple(places)]
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    shape, made = graph.spec(node.inputs[0]).shape, infer(graph, node)
    across, outward, edge = move.strides(shape), move.strides(made), _edge(node)
    # (place in the ofmap, first source index, step, count) of what lies before, within and after.
    segments = [
        [s for s in ((0, before - 1 + edge, -1, before), (before, 0, 1, size),
                     (before + size, size - 1 - edge, -1, after)) if s[3]]
        for size, (before, after) in zip(shape, _amounts(graph, node), strict=True)
    ]  # fmt: skip
    pieces = [
        move.block(
            tuple(s[3] for s in chosen), [s[2] * a for s, a in zip(chosen, across, strict=True)],
            outward, [s[0] for s in chosen],
            sum(s[1] * a for s, a in zip(chosen, across, strict=True)),
        )
        for chosen in product(*segments)
    ]  # fmt: skip
    return move.moved(node, pieces)
