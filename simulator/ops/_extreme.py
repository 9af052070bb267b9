"""MAXIMUM and MINIMUM: codes are compared as they are, so all three tensors share scale and zero point."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _arithmetic, _elementwise
from simulator.ops import _common as common
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Vector

PROFILES = {"tflite": RUN, "xnnpack": RUN, "ruy": RUN}


def same_quantization(graph: Graph, node: Node) -> bool:
    """all tensors have the same quantization"""
    found = {graph.tensors[n].quantization for n in (*node.inputs, node.outputs[0])}
    return len(found) == 1


RULES = (
    _elementwise.two_inputs, _elementwise.one_type(*_elementwise.CODES, *_elementwise.NUMBERS),
    same_quantization, _elementwise.broadcasts,
)  # fmt: skip
infer = _elementwise.binary_shape


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    if graph.spec(node.outputs[0]).real:
        return _arithmetic.reference(graph, node, inputs)
    a, b = _elementwise.operands(graph, node, inputs)
    larger = max if node.operator == "maximum" else min
    result = np.zeros(infer(graph, node), np.int64)
    for i in np.ndindex(*result.shape):
        result[i] = larger(int(a[i]), int(b[i]))
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    if graph.spec(node.outputs[0]).real:
        return _arithmetic.lower(graph, node)
    command = Vector(
        name=node.name, operator=node.operator, function=node.operator, inputs=node.inputs,
        ofmap=node.outputs[0], nest=_elementwise.elementwise_nest(infer(graph, node)), parameters=(),
        lane=LaneWork(cycles=1, multiplies=0, adds=1),
    )  # fmt: skip
    return common.Lowered((command,))
