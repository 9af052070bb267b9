"""What ARG_MAX and ARG_MIN share."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops import _reduction
from simulator.program.commands import LaneWork


def one_constant_axis(graph: Graph, node: Node) -> bool:
    """the axis is one constant of int32 or int64, within the input's dimensions"""
    name = node.inputs[1]
    if not graph.constant(name) or graph.spec(name).dtype not in ("i32", "i64"):
        return False
    dimensions = len(graph.spec(node.inputs[0]).shape)
    values = graph.constants[name].reshape(-1)
    return values.size == 1 and -dimensions <= int(values[0]) < dimensions


def known_types(graph: Graph, node: Node) -> bool:
    """the input is int8, uint8 or int32, the output int32 or int64"""
    types = (graph.spec(node.inputs[0]).dtype, graph.spec(node.outputs[0]).dtype)
    return types[0] in ("i8", "u8", "i32") and types[1] in ("i32", "i64")


RULES = (common.takes(2, 2), one_constant_axis, known_types)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    (axis,) = _reduction.axes(graph, node)
    shape = graph.spec(node.inputs[0]).shape
    return tuple(size for d, size in enumerate(shape) if d != axis)


def reference(graph: Graph, node: Node, x: np.ndarray, smallest: bool) -> np.ndarray:
    """The first place of the extreme, row by row."""
    wanted = min if smallest else max
    found = [row.index(wanted(row)) for _, row in _reduction.rows(graph, node, x)]
    return np.array(found, np.int64).reshape(infer(graph, node))


def lower(graph: Graph, node: Node, smallest: bool) -> common.Lowered:
    count = _reduction.reduced_elements(graph, node)
    lane = LaneWork(cycles=count, multiplies=0, adds=count)
    return _reduction.lower(graph, node, "arg_max", (("smallest", int(smallest)),), lane)
