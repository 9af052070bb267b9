"""GELU of 8-bit codes: a table filled in float32, by erfc or by the approximation with tanh."""

from __future__ import annotations

import math

import numpy as np

from simulator.fixedpoint.libm import nearest
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _elementwise, _table
from simulator.profiles import RUN

SUMMARY = "Gaussian error linear unit, exact or approximated with tanh"
COMMAND = "vector lookup"
PROFILES = {"tflite": RUN, "xnnpack": RUN, "ruy": RUN}
RULES = (
    common.takes(1, 1), _elementwise.one_type("i8", "u8"), _elementwise.quantized_codes
)  # fmt: skip
infer = _elementwise.first_shape

_F = np.float32
_MINUS_SQRT_HALF = _F(-math.sqrt(0.5))
_SQRT_2_BY_PI = _F(math.sqrt(2 / math.pi))


def _exact(x: np.float32) -> np.float32:
    return _F(0.5) * x * nearest(math.erfc, x * _MINUS_SQRT_HALF)


def _approximate(x: np.float32) -> np.float32:
    inner = _SQRT_2_BY_PI * (x + _F(0.044715) * x * x * x)
    return _F(0.5) * x * (_F(1) + nearest(math.tanh, inner))


def _code(graph: Graph, node: Node) -> _table.Code:
    return _table.float_table(graph, node, _approximate if node.integer("approximate") else _exact)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _table.reference(_code(graph, node), inputs[0])


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _table.lower(graph, node, _code(graph, node))
