"""What REDUCE_MAX and REDUCE_MIN share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.fixedpoint import reduction
from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops import _reduction
from simulator.ops._pooling import same_quantization
from simulator.program.commands import LaneWork

RULES = (*_reduction.RULES, same_quantization)


def reference(
    graph: Graph, node: Node, x: np.ndarray, extreme: Callable[[list[int]], int]
) -> np.ndarray:
    """The extreme of every row."""
    found = [extreme(row) for _, row in _reduction.rows(graph, node, x)]
    return np.array(found, np.int64).reshape(_reduction.infer(graph, node))


def lower(graph: Graph, node: Node, form: int) -> common.Lowered:
    count = _reduction.reduced_elements(graph, node)
    assert form in (reduction.MAXIMUM, reduction.MINIMUM)
    lane = LaneWork(cycles=count, multiplies=0, adds=count)
    return _reduction.lower(graph, node, "reduce", (("form", form),), lane)
