"""PAD with zeros: a copy with rows, columns or channels of the zero point around it."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.ops import _padding
from simulator.profiles import RUN

SUMMARY = "the tensor with zeros (its zero point) around it"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)

RULES = (
    move.counted(2, 2), _padding.constant_amounts, move.same_elements(DATA),
    move.moves_activations(DATA),
)  # fmt: skip
infer = _padding.infer


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _padding.padded(graph, node, inputs[0], move.zero_code(graph, node.outputs[0]))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return move.moved(
        node, [_padding.inner(graph, node)], fill=move.zero_code(graph, node.outputs[0])
    )
