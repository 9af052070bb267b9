"""Operators that bring codes from one scale to another: QUANTIZE of codes, RELU, RELU6."""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.requantize import quantize_multiplier
from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops.add import elementwise_nest
from simulator.program.commands import Vector


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def reference(
    graph: Graph, node: Node, x: np.ndarray, real: float, low: int, high: int
) -> np.ndarray:
    z_in = graph.quantization(node.inputs[0]).zero_point
    z_out = graph.quantization(node.outputs[0]).zero_point
    result = np.zeros(x.shape, np.int64)
    for i in np.ndindex(*x.shape):
        code = common.naive_requantize("", int(x[i]) - z_in, real) + z_out
        result[i] = min(max(code, low), high)
    return result


def lower(graph: Graph, node: Node, real: float, low: int, high: int) -> common.Lowered:
    multiplier, shift = quantize_multiplier(real)
    command = Vector(
        name=node.name, operator=node.operator, function="rescale", inputs=node.inputs[:1],
        ofmap=node.outputs[0], nest=elementwise_nest(graph.spec(node.outputs[0]).shape),
        parameters=(
            ("zero_point_in", graph.quantization(node.inputs[0]).zero_point),
            ("multiplier", multiplier), ("shift", shift),
            ("zero_point_out", graph.quantization(node.outputs[0]).zero_point),
            ("clamp_min", low), ("clamp_max", high),
        ),
        lane=common.REQUANTIZE_LANE,
    )  # fmt: skip
    return common.Lowered(command)
