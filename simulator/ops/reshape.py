"""RESHAPE: the same bytes under another shape; costs nothing on chip."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.program.commands import Move

SUMMARY = "another shape for the same bytes"
COMMAND = "none (the tensor gets a second name), or move from a graph input to a graph output"


def same_elements(graph: Graph, node: Node) -> bool:
    """input and output have the same type, quantization and number of elements"""
    source, target = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
    return (
        source.spec.dtype == target.spec.dtype
        and source.spec.elements == target.spec.elements
        and source.quantization == target.quantization
    )


RULES = (common.takes(1, 1), same_elements)
DEVICE_RULES: tuple[common.DeviceRule, ...] = ()


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape = node.attr("shape")
    assert isinstance(shape, tuple)
    return shape


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return inputs[0].astype(np.int64).reshape(infer(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    source, target = node.inputs[0], node.outputs[0]
    if target in graph.outputs:
        # An output has a place of its own in DRAM; what another name points to may be elsewhere.
        return common.Lowered(Move(node.name, node.operator, source, target))
    return common.Lowered(None, alias_of=source)
