"""A function of codes given as a table: the code for every number the type that holds them has."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops.add import elementwise_nest
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Vector

SUMMARY = "codes of at most 8 bits through a table"
COMMAND = "vector lookup"
PROFILES = {"qonnx": RUN}


def whole_table(graph: Graph, node: Node) -> bool:
    """codes have at most 8 bits, and the table is a constant of 256 entries of the output's type"""
    codes, table = (graph.spec(n) for n in node.inputs)
    made = graph.spec(node.outputs[0])
    return (
        not codes.real and codes.bits <= 8 and graph.constant(node.inputs[1])
        and table.shape == (256,) and table.dtype == made.dtype
    )  # fmt: skip


RULES = (common.takes(2, 2), whole_table)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    table = graph.constants[node.inputs[1]]
    first = -128 if graph.spec(node.inputs[0]).signed else 0
    entries = [int(table[int(code) - first]) for code in inputs[0].reshape(-1)]
    return np.array(entries, np.int64).reshape(inputs[0].shape)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    command = Vector(
        name=node.name, operator=node.operator, function="lookup", inputs=node.inputs,
        ofmap=node.outputs[0], nest=elementwise_nest(graph.spec(node.outputs[0]).shape),
        parameters=(), lane=LaneWork(cycles=1, multiplies=0, adds=0, lookups=1),
    )  # fmt: skip
    return common.Lowered((command,))
