"""MUL of two tensors that broadcast: codes, or plain numbers on the host.

The product of two codes without their zero points is requantized once. The real ratio is
``f32(f32(s1 * s2) / s_out)`` in LiteRT, in double in TensorFlow Lite Micro (``mul_common.cc``). XNNPACK
takes 8-bit nodes whose ratio is 2**-16 to below 2**8.

Not modelled: the vector code of ``ruy`` keeps 16 bits of a result and so wraps what is 32768 codes or
more, where every other kernel clamps.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.rescale import RESCALE_KINDS
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _arithmetic, _elementwise
from simulator.ops import _common as common
from simulator.ops._scaling import (
    Scaling,
    double_ratio,
    float32_ratio,
    hardware_scaling,
    naive_scaled,
    scaling,
)
from simulator.profiles import CHOSEN, RUN, SOURCE
from simulator.program.commands import LaneWork, Vector

SUMMARY = "element-wise product of two tensors that broadcast, with fused activation"
COMMAND = "vector mul; host arithmetic for numbers"
PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "power_of_two": CHOSEN,
    "dyadic": CHOSEN,
}  # fmt: skip
RULES = (
    _elementwise.two_inputs, _elementwise.one_type(*_elementwise.CODES, *_elementwise.NUMBERS),
    _elementwise.quantized_codes, _elementwise.broadcasts, common.known_activation,
)  # fmt: skip
infer = _elementwise.binary_shape


def _product(graph: Graph, node: Node) -> tuple[Scaling, bool]:
    """How a product becomes a code, and whether by XNNPACK."""
    scales, s_out = _elementwise.scales(graph, node), graph.quantization(node.outputs[0]).scale
    chosen = hardware_scaling(graph.profile, scales, s_out)
    if chosen:
        return chosen, False
    single = float32_ratio(scales, s_out)
    taken = _elementwise.eight_bits(graph, node) and 2.0**-16 <= single < 2.0**8
    if graph.profile == "xnnpack" and taken:
        return scaling("float32_even", single), True
    micro = graph.profile == "tflite_micro"
    return scaling("double_rounding", double_ratio(scales, s_out) if micro else single), False


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    if graph.spec(node.outputs[0]).dtype not in _elementwise.CODES:
        return _arithmetic.reference(graph, node, inputs)
    by, by_xnnpack = _product(graph, node)
    z1, z2 = (graph.quantization(n).zero_point for n in node.inputs)
    z_out = graph.quantization(node.outputs[0]).zero_point
    low, high = _elementwise.clamp(graph, node, by_xnnpack)
    a, b = (v.reshape(-1) for v in _elementwise.operands(graph, node, inputs))
    result = np.zeros(a.size, np.int64)
    for i in range(a.size):
        code = naive_scaled(by, (int(a[i]) - z1) * (int(b[i]) - z2)) + z_out
        result[i] = min(max(code, low), high)
    return result.reshape(infer(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    if graph.spec(node.outputs[0]).dtype not in _elementwise.CODES:
        return _arithmetic.lower(graph, node)
    by, by_xnnpack = _product(graph, node)
    low, high = _elementwise.clamp(graph, node, by_xnnpack)
    command = Vector(
        name=node.name, operator=node.operator, function="mul", inputs=node.inputs,
        ofmap=node.outputs[0], nest=_elementwise.elementwise_nest(infer(graph, node)),
        parameters=(
            ("zero_point_1", graph.quantization(node.inputs[0]).zero_point),
            ("zero_point_2", graph.quantization(node.inputs[1]).zero_point),
            ("kind", RESCALE_KINDS[by.kind]), ("multiplier", by.multiplier), ("shift", by.shift),
            ("zero_point_out", graph.quantization(node.outputs[0]).zero_point),
            ("clamp_min", low), ("clamp_max", high),
        ),
        lane=LaneWork(cycles=2, multiplies=2, adds=3),
    )  # fmt: skip
    return common.Lowered((command,))
