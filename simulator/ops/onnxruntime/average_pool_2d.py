"""AVERAGE_POOL_2D as QLinearAveragePool.

Codes are dequantized to float32 and summed row by row, the sum divided by the count and by the output's
scale; the zero point is added before rounding. A window over the whole image without padding is
QLinearGlobalAveragePool: the sum of the codes scaled once, the zero point added after rounding.

Averages that the runtime leaves in float32, in an order that is not known, are computed here as these.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.float32 import pair_of
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _pooling
from simulator.ops.onnxruntime._functions import code_offset, one_type
from simulator.ops.onnxruntime._global_mean import global_codes, lower_global
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Vector
from simulator.program.nest import untiled

SUMMARY = "mean over a window, padding left out or counted as 0, to another scale"
COMMAND = "vector average_pool_float; vector reduce for whole images"
PROFILES = {"onnxruntime": RUN}


def no_activation(graph: Graph, node: Node) -> bool:
    """no activation is fused"""
    return dict(node.attrs).get("activation", "NONE") == "NONE"


RULES = (common.takes(1, 1), common.image_input, one_type, no_activation)
infer = _pooling.infer


def _whole_image(graph: Graph, node: Node) -> bool:
    _, height, width, _ = graph.spec(node.inputs[0]).shape
    padded = any(node.integer(f"pad_{side}") for side in ("top", "left", "bottom", "right"))
    return (node.integer("kernel_h"), node.integer("kernel_w")) == (height, width) and not padded


def _counts_padding(node: Node) -> bool:
    return bool(dict(node.attrs).get("count_include_pad", 0))


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    if _whole_image(graph, node):
        return global_codes(graph, node, inputs[0], (1, 2)).reshape(infer(graph, node))
    source, target = graph.quantization(node.inputs[0]), graph.quantization(node.outputs[0])
    spec, offset = graph.spec(node.outputs[0]), code_offset(node)
    result = np.zeros(infer(graph, node), np.int64)
    for index, taps in _pooling.windows(graph, node, inputs[0]):
        total = np.float32(0)
        for tap in taps:
            total = total + np.float32(tap - source.zero_point) * np.float32(source.scale)
        whole = node.integer("kernel_h") * node.integer("kernel_w")
        mean = total / np.float32(whole if _counts_padding(node) else len(taps))
        zero = np.float32(target.zero_point + offset)
        code = int(np.rint(mean / np.float32(target.scale) + zero)) - offset
        result[index] = min(max(code, spec.minimum), spec.maximum)
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    if _whole_image(graph, node):
        return lower_global(graph, node, (1, 2))
    batch, height, width, channels = graph.spec(node.inputs[0]).shape
    _, out_h, out_w, _ = infer(graph, node)
    source, target = graph.quantization(node.inputs[0]), graph.quantization(node.outputs[0])
    scales = pair_of(source.scale), pair_of(target.scale)
    spec = graph.spec(node.outputs[0])
    kernel = node.integer("kernel_h"), node.integer("kernel_w")
    taps = kernel[0] * kernel[1]
    command = Vector(
        name=node.name, operator=node.operator, function="average_pool_float", inputs=node.inputs,
        ofmap=node.outputs[0],
        nest=untiled(
            batch=batch, out=(out_h, out_w), groups=channels, kernel=kernel,
            stride=(node.integer("stride_h"), node.integer("stride_w")),
            pad=(node.integer("pad_top"), node.integer("pad_left")), ifmap=(height, width),
        ),
        parameters=(
            ("zero_point_in", source.zero_point), ("scale_mantissa", scales[0][0]),
            ("scale_exponent", scales[0][1]), ("divisor_mantissa", scales[1][0]),
            ("divisor_exponent", scales[1][1]), ("all_taps", int(_counts_padding(node))),
            ("offset", code_offset(node)), ("zero_point_out", target.zero_point),
            ("clamp_min", spec.minimum), ("clamp_max", spec.maximum),
        ),
        # A subtraction, a product and a sum per tap; two divisions, a sum and a rounding at the end.
        lane=LaneWork(cycles=3 * taps + 4, multiplies=taps + 2, adds=2 * taps + 2),
    )  # fmt: skip
    return common.Lowered((command,))
