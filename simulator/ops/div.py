"""DIV of numbers; the host divides, and stops at a zero divisor where the runtime does."""

from __future__ import annotations

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _arithmetic, _elementwise
from simulator.ops import _common as common
from simulator.profiles import RUN

SUMMARY = (
    "element-wise quotient of numbers that broadcast (integers towards zero), with fused activation"
)
COMMAND = "host arithmetic"
PROFILES = {"tflite": RUN, "xnnpack": RUN, "ruy": RUN}
RULES = (
    *_arithmetic.binary_rules("i32", "f32"),
    _arithmetic.no_zero_divisor,
    common.known_activation,
)
infer = _elementwise.binary_shape
reference = _arithmetic.reference


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _arithmetic.lower(graph, node)
