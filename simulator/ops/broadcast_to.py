"""BROADCAST_TO: dimensions of 1 repeated up to a larger shape."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN

SUMMARY = "dimensions of 1 repeated up to a larger shape"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def shape_fits(graph: Graph, node: Node) -> bool:
    """the new shape ends in the input's, but for dimensions of 1"""
    shape, made = graph.spec(node.inputs[0]).shape, infer(graph, node)
    pairs = zip(reversed(shape), reversed(made), strict=False)
    return (
        len(made) >= len(shape) and min(made, default=1) >= 1 and all(s in (1, m) for s, m in pairs)
    )


RULES = (
    move.counted(2, 2), move.constant_operand(1, "the new shape"), shape_fits,
    move.same_elements(DATA), move.moves_activations(DATA),
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return move.integers(graph, node.inputs[1])


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return np.broadcast_to(inputs[0], infer(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    shape, made = graph.spec(node.inputs[0]).shape, infer(graph, node)
    own = [s if n > 1 else 0 for n, s in zip(shape, move.strides(shape), strict=True)]
    across = [0] * (len(made) - len(shape)) + own
    return move.moved(node, [move.block(made, across, move.strides(made))])
