"""SUM over any axes, to another scale.

LiteRT's reference for int8 and int16 leaves its output unwritten (2.3.0, by run), so these follow its
source, which is that of uint8 and of TensorFlow Lite Micro; its optimised kernel scales in float32.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint import reduction
from simulator.fixedpoint.requantize import REQUANTIZERS
from simulator.fixedpoint.requantize_scales import nearest_power_of_two
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _reduction, _reduction_codes
from simulator.ops._reduction_codes import Line, Requantized, Way, xnnpack_line
from simulator.profiles import CHOSEN, RUN, SOURCE
from simulator.program.commands import LaneWork

SUMMARY = "sum over given axes, to another scale"
COMMAND = "vector reduce"
PROFILES = {
    "tflite": f"{RUN} (u8)", "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "power_of_two": CHOSEN,
    "dyadic": CHOSEN,
}  # fmt: skip
RULES = _reduction.RULES
infer = _reduction.infer


def _optimised_line(graph: Graph, node: Node) -> Line:
    """LiteRT's optimised kernel (``optimized/reduce.h``): float32, ties away from 0."""
    source, target = graph.quantization(node.inputs[0]), graph.quantization(node.outputs[0])
    count = np.float32(_reduction.reduced_elements(graph, node))
    scale = np.float32(source.scale) / np.float32(target.scale)
    bias = np.float32(-source.zero_point) * scale * count
    return Line(scale, bias, reduction.AWAY, target.zero_point)


def _way(graph: Graph, node: Node) -> Way:
    source, target = graph.quantization(node.inputs[0]), graph.quantization(node.outputs[0])
    offset = _reduction.reduced_elements(graph, node) * source.zero_point
    ratio, kind = source.scale / target.scale, "double_rounding"
    if graph.profile == "xnnpack" and graph.spec(node.inputs[0]).bits == 8:
        return xnnpack_line(graph, node, False)
    if graph.profile in ("ruy", "xnnpack"):
        return _optimised_line(graph, node)
    if graph.profile == "power_of_two":
        ratio, kind = nearest_power_of_two(ratio), "power_of_two"
    if graph.profile == "dyadic":
        kind = "dyadic_even"
    return Requantized(kind, *REQUANTIZERS[kind].convert(ratio), offset, target.zero_point)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _reduction_codes.reference(graph, node, inputs[0], _way(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    numbers = _reduction_codes.parameters(_way(graph, node), graph.spec(node.outputs[0]))
    count = _reduction.reduced_elements(graph, node)
    lane = LaneWork(cycles=count + 1, multiplies=1, adds=count)
    return _reduction.lower(graph, node, "reduce", numbers, lane)
