"""ABS of int8 codes: the distance from the zero point, rescaled by double rounding where scales differ."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _elementwise, _table
from simulator.ops._scaling import float32_ratio, hardware_scaling, naive_scaled, scaling
from simulator.profiles import CHOSEN, RUN

SUMMARY = "absolute value"
COMMAND = "vector lookup"
PROFILES = {"tflite": RUN, "xnnpack": RUN, "ruy": RUN, "power_of_two": CHOSEN, "dyadic": CHOSEN}
RULES = (common.takes(1, 1), _elementwise.one_type("i8"), _elementwise.quantized_codes)
infer = _elementwise.first_shape


def _code(graph: Graph, node: Node) -> _table.Code:
    source, target = (graph.quantization(n) for n in (node.inputs[0], node.outputs[0]))
    by = hardware_scaling(graph.profile, [source.scale], target.scale) or scaling(
        "double_rounding", float32_ratio([source.scale], target.scale)
    )
    spec = graph.spec(node.outputs[0])

    def code(x: int) -> int:
        value = naive_scaled(by, abs(x - source.zero_point)) + target.zero_point
        return min(max(value, spec.minimum), spec.maximum)

    return code


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _table.reference(_code(graph, node), inputs[0])


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _table.lower(graph, node, _code(graph, node))
