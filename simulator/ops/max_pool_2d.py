"""MAX_POOL_2D: the largest code inside the image."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _pooling
from simulator.profiles import RUN, SOURCE
from simulator.program.commands import LaneWork

SUMMARY = "maximum over a window; padding does not count"
COMMAND = "vector max_pool"
PROFILES = {"tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN}
RULES = _pooling.RULES
infer = _pooling.infer


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    low, high = _pooling.clamp_range(graph, node)
    result = np.zeros(infer(graph, node), np.int64)
    for index, taps in _pooling.windows(graph, node, inputs[0]):
        result[index] = min(max(*taps, low) if taps else low, high)
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    taps = node.integer("kernel_h") * node.integer("kernel_w")
    return _pooling.lower(graph, node, "max_pool", LaneWork(cycles=taps, multiplies=0, adds=taps))
