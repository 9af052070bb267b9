"""RSQRT of int8 codes: an integer Newton iteration per code, done once for a table.

1 / sqrt of the code without its zero point as a 31-bit multiplier and a shift
(``GetInvSqrtQuantizedMultiplierExp``), held with 20 fraction bits, times 1 / (sqrt(s_in) * s_out) by
double rounding. The zero point itself gives the largest code; so do codes below it here, on which the
runtime stops. Source: ``elementwise.cc``, ``common.h``; all profiles alike.
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _elementwise, _table
from simulator.ops._scaling import Scaling, naive_scaled, scaling
from simulator.profiles import RUN

SUMMARY = "reciprocal of the square root"
COMMAND = "vector lookup"
PROFILES = {"tflite": RUN, "xnnpack": RUN, "ruy": RUN}
RULES = (common.takes(1, 1), _elementwise.one_type("i8"), _elementwise.quantized_codes)
infer = _elementwise.first_shape

_KEPT_BITS = 20
_HALF_SQRT_2 = 1518500250  # sqrt(2) / 2 with 31 fraction bits
_THREE_HALVES = (1 << 28) + (1 << 27)  # with 28 fraction bits


def _mul(a: int, b: int) -> int:
    return (a * b + (1 << 30)) >> 31


def _left(value: int, by: int) -> int:
    return min(max(value << by, -(1 << 31)), (1 << 31) - 1)


def _inverse_root(value: int) -> tuple[int, int]:
    """1 / sqrt(value) = multiplier * 2**(shift - 31) for 1 <= value < 2**29."""
    if value == 1:
        return (1 << 31) - 1, 0
    pairs = (31 - value.bit_length()) // 2 - 1
    right = 11 - pairs
    # In [1/4, 1), with 3 integer bits: half the input, halved once more by a rounding shift.
    half = (((value << 2 * pairs) >> 1) + 1) >> 1
    x = 1 << 28
    for _ in range(5):
        cube = _left(_mul(_mul(x, x), x), 6)
        x = _left(_mul(_THREE_HALVES, x) - _mul(half, cube), 3)
    multiplier = _mul(x, _HALF_SQRT_2)
    if right < 0:
        return multiplier << -right, 0
    return multiplier, -right


def _code(graph: Graph, node: Node) -> _table.Code:
    source, target = (graph.quantization(n) for n in (node.inputs[0], node.outputs[0]))
    root = np.sqrt(np.float32(source.scale))
    by = scaling("double_rounding", 1 / float(root * np.float32(target.scale)))
    by = by._replace(shift=by.shift - _KEPT_BITS)
    spec = graph.spec(node.outputs[0])

    def code(x: int) -> int:
        value = x - source.zero_point
        if value <= 0:
            return spec.maximum
        multiplier, shift = _inverse_root(value)
        kept = naive_scaled(Scaling("double_rounding", multiplier, shift + _KEPT_BITS), 1)
        return min(max(naive_scaled(by, kept) + target.zero_point, spec.minimum), spec.maximum)

    return code


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _table.reference(_code(graph, node), inputs[0])


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _table.lower(graph, node, _code(graph, node))
