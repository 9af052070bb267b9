"""ARG_MAX: where along an axis the largest code is; of equal ones the first."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _arg
from simulator.ops import _common as common
from simulator.profiles import RUN, SOURCE

SUMMARY = "place of the largest element along an axis"
COMMAND = "vector arg_max"
PROFILES = {"tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN}
RULES = _arg.RULES
infer = _arg.infer


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _arg.reference(graph, node, inputs[0], False)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _arg.lower(graph, node, False)
