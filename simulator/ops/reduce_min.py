"""REDUCE_MIN: the smallest code over any axes."""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint import reduction
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _reduced_extreme, _reduction
from simulator.profiles import RUN, SOURCE

SUMMARY = "smallest element over given axes"
COMMAND = "vector reduce"
PROFILES = {"tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN}
RULES = _reduced_extreme.RULES
infer = _reduction.infer


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _reduced_extreme.reference(graph, node, inputs[0], min)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _reduced_extreme.lower(graph, node, reduction.MINIMUM)
