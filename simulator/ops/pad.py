"""PAD with the zero point: a copy with rows, columns or channels around it."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.program.commands import Move

SUMMARY = "the tensor with zeros (its zero point) around it"
COMMAND = "move"


def constant_amounts(graph: Graph, node: Node) -> bool:
    """the amounts are a constant with two numbers, not negative, per dimension"""
    if node.inputs[1] not in graph.constants:
        return False
    amounts = graph.constants[node.inputs[1]]
    return amounts.shape == (len(graph.spec(node.inputs[0]).shape), 2) and bool(
        (amounts >= 0).all()
    )


def same_quantization(graph: Graph, node: Node) -> bool:
    """input and output have the same 8-bit type and quantization"""
    source, target = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
    return (
        source.spec.dtype in ("i8", "u8")
        and source.spec.dtype == target.spec.dtype
        and source.quantization == target.quantization
    )


RULES = (common.takes(2, 2), constant_amounts, same_quantization)
DEVICE_RULES: tuple[common.DeviceRule, ...] = ()


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    amounts = graph.constants[node.inputs[1]]
    shape = graph.spec(node.inputs[0]).shape
    return tuple(int(s + a + b) for s, (a, b) in zip(shape, amounts, strict=True))


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    result = np.full(infer(graph, node), graph.quantization(node.outputs[0]).zero_point, np.int64)
    starts = graph.constants[node.inputs[1]][:, 0]
    for i in np.ndindex(*inputs[0].shape):
        result[tuple(int(a) + b for a, b in zip(starts, i, strict=True))] = inputs[0][i]
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    amounts = graph.constants[node.inputs[1]]
    command = Move(
        node.name, node.operator, node.inputs[0], node.outputs[0],
        tuple(int(a) for a in amounts[:, 0]), tuple(int(a) for a in amounts[:, 1]),
        graph.quantization(node.outputs[0]).zero_point,
    )  # fmt: skip
    return common.Lowered(command)
