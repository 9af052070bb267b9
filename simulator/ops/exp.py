"""EXP of int8 codes: a table filled in float32."""

from __future__ import annotations

import math

import numpy as np

from simulator.fixedpoint.libm import nearest
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _elementwise, _table
from simulator.profiles import RUN

SUMMARY = "exponential function"
COMMAND = "vector lookup"
PROFILES = {"tflite": RUN, "xnnpack": RUN, "ruy": RUN}
RULES = (common.takes(1, 1), _elementwise.one_type("i8"), _elementwise.quantized_codes)
infer = _elementwise.first_shape


def _code(graph: Graph, node: Node) -> _table.Code:
    return _table.float_table(graph, node, lambda x: nearest(math.exp, x))


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _table.reference(_code(graph, node), inputs[0])


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _table.lower(graph, node, _code(graph, node))
