"""AVERAGE_POOL_2D: the sum of the codes inside the image, divided by their number, ties away from 0."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _pooling
from simulator.profiles import RUN, SOURCE
from simulator.program.commands import LaneWork

SUMMARY = "mean over a window; padding does not count"
COMMAND = "vector average_pool"
PROFILES = {"tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN}
RULES = _pooling.RULES
infer = _pooling.infer


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    low, high = _pooling.clamp_range(graph, node)
    result = np.zeros(infer(graph, node), np.int64)
    for index, taps in _pooling.windows(graph, node, inputs[0]):
        quotient, rest = divmod(abs(sum(taps)), len(taps))
        quotient += 1 if 2 * rest >= len(taps) else 0
        result[index] = min(max(quotient if sum(taps) > 0 else -quotient, low), high)
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    taps = node.integer("kernel_h") * node.integer("kernel_w")
    # One addition per tap and one multiplication by the reciprocal of the count.
    lane = LaneWork(cycles=taps + 1, multiplies=1, adds=taps)
    return _pooling.lower(graph, node, "average_pool", lane)
