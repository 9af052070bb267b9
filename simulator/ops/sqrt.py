"""SQRT of float32 numbers, on the host; correctly rounded, as IEEE 754 asks of every processor.

XNNPACK approximates it with AVX-512 and is a unit off now and then: that is not modelled.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _arithmetic, _elementwise
from simulator.ops import _common as common
from simulator.profiles import RUN

SUMMARY = "square root of float32 numbers"
COMMAND = "host arithmetic"
PROFILES = {"tflite": RUN, "ruy": RUN}
RULES = (common.takes(1, 1), _elementwise.one_type("f32"))
infer = _elementwise.first_shape


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    values = [math.sqrt(v) if v >= 0 else math.nan for v in inputs[0].reshape(-1).tolist()]
    return np.array(values, np.float32).reshape(inputs[0].shape)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _arithmetic.lower(graph, node)
