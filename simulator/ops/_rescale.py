"""Operators that bring codes from one scale to another: QUANTIZE of codes, and the RELUs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops._elementwise import elementwise_nest
from simulator.ops._scaling import Blocks, Scaling, blocks_parameters, naive_scaled
from simulator.program.commands import Vector


class Rescale(NamedTuple):
    """The way to the other scale, the clamp there, and where vectorised code rounds otherwise."""

    by: Scaling
    low: int
    high: int
    blocks: Blocks | None = None


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def reference(graph: Graph, node: Node, x: np.ndarray, how: Rescale) -> np.ndarray:
    z_in = graph.quantization(node.inputs[0]).zero_point
    z_out = graph.quantization(node.outputs[0]).zero_point
    result = np.zeros(x.size, np.int64)
    for i, code in enumerate(x.reshape(-1).tolist()):
        by = how.by
        if how.blocks and how.blocks.holds(i):
            by = by._replace(kind=how.blocks.kind)
        result[i] = min(max(naive_scaled(by, code - z_in) + z_out, how.low), how.high)
    return result.reshape(x.shape)


def lower(graph: Graph, node: Node, how: Rescale) -> common.Lowered:
    command = Vector(
        name=node.name, operator=node.operator, function="rescale", inputs=node.inputs[:1],
        ofmap=node.outputs[0], nest=elementwise_nest(graph.spec(node.outputs[0]).shape),
        parameters=(
            ("zero_point_in", graph.quantization(node.inputs[0]).zero_point),
            *blocks_parameters(how.by, how.blocks),
            ("multiplier", how.by.multiplier), ("shift", how.by.shift),
            ("zero_point_out", graph.quantization(node.outputs[0]).zero_point),
            ("clamp_min", how.low), ("clamp_max", how.high),
        ),
        lane=common.REQUANTIZE_LANE,
    )  # fmt: skip
    return common.Lowered((command,))
