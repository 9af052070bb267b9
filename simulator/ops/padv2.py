"""PADV2: a copy with rows, columns or channels of a given value around it."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.ops import _padding
from simulator.profiles import RUN

SUMMARY = "the tensor with a constant around it"
COMMAND = "move"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def constant_value(graph: Graph, node: Node) -> bool:
    """the value is a constant of one element, of the input's type and, of codes, quantization"""
    name = node.inputs[2]
    if not graph.constant(name) or graph.spec(name).elements != 1:
        return False
    source, value = graph.tensors[node.inputs[0]], graph.tensors[name]
    alike = source.quantization == value.quantization or source.spec.dtype not in move.CODES
    return source.spec.dtype == value.spec.dtype and alike


RULES = (
    move.counted(3, 3), _padding.constant_amounts, constant_value, move.same_elements(DATA),
    move.moves_activations(DATA),
)  # fmt: skip
infer = _padding.infer


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (value,) = graph.constants[node.inputs[2]].reshape(-1)
    return _padding.padded(graph, node, inputs[0], value)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    inner = _padding.inner(graph, node)
    if graph.spec(node.outputs[0]).real:  # a Move fills with integers only
        pieces = [inner, *_padding.border(graph, node, 1)]
        return move.moved(node, pieces, (node.inputs[0], node.inputs[2]))
    (value,) = move.integers(graph, node.inputs[2])
    return move.moved(node, [inner], fill=value)
