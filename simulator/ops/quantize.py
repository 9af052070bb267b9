"""QUANTIZE: float32 numbers to codes on the host, and codes of one scale, zero point or type to another.

Numbers: the reference divides by the scale in float32 and rounds ties away. XNNPACK multiplies by the
reciprocal and rounds ties to even; the kernels of ``ruy`` do that for whole blocks of eight, and divide in
double with ties away what is left. int16 goes to those in both.

Codes: the reference's double rounding of the double ratio. The kernels of ``ruy`` send ties up in whole
blocks of 16 of 8-bit codes. XNNPACK rounds the ratio, 2**-8 to 2**7, to 8 fraction bits; it takes 8-bit
codes that keep their type.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.requantize_scales import float32_mantissa
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _elementwise, _rescale
from simulator.ops._scaling import Blocks, eighths, float32_ratio, hardware_scaling, scaling
from simulator.profiles import CHOSEN, RUN, SOURCE
from simulator.program.commands import Vector

SUMMARY = "float32 numbers to codes, or codes to another scale, zero point or type"
COMMAND = "vector rescale; host quantize for numbers"
PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "power_of_two": CHOSEN,
    "dyadic": CHOSEN,
}  # fmt: skip

_ALLOWED = {
    "f32": ("i8", "u8", "i16"), "i8": ("i8", "u8", "i16"), "u8": ("i8", "u8"),
    "i16": ("i8", "i16", "i32"), "i32": ("i8", "i16"),
}  # fmt: skip
# How a number becomes a code (``datapath.functions.quantize``).
_DIVIDE, _RECIPROCAL, _DIVIDE_IN_DOUBLE = 0, 1, 2
_NUMBERS_AT_ONCE, _CODES_AT_ONCE = 8, 16


def known_types(graph: Graph, node: Node) -> bool:
    """it turns float32 to int8, uint8 or int16, int8 to those, uint8 to uint8 or int8, int16 to int8,
    int16 or int32, or int32 to int8 or int16"""
    source, target = (graph.spec(n).dtype for n in (node.inputs[0], node.outputs[0]))
    return target in _ALLOWED.get(source, ())


def one_scale(graph: Graph, node: Node) -> bool:
    """codes have one scale and one zero point, and int16 codes that stay int16 the zero point 0"""
    names = [n for n in (node.inputs[0], node.outputs[0]) if not graph.spec(n).real]
    found = [graph.tensors[n].quantization for n in names]
    if any(q is None or q.per_channel for q in found):
        return False
    if {graph.spec(n).dtype for n in names} != {"i16"} or len(names) == 1:
        return True
    return all(q is not None and q.zero_point == 0 for q in found)


RULES = (common.takes(1, 1), known_types, one_scale)
infer = _rescale.infer


def _how(graph: Graph, node: Node) -> _rescale.Rescale:
    source, target = (graph.quantization(n) for n in (node.inputs[0], node.outputs[0]))
    types = [graph.spec(n).dtype for n in (node.inputs[0], node.outputs[0])]
    low, high = graph.spec(node.outputs[0]).minimum, graph.spec(node.outputs[0]).maximum
    chosen = hardware_scaling(graph.profile, [source.scale], target.scale)
    if chosen:
        return _rescale.Rescale(chosen, low, high)
    eight = {*types} <= {"i8", "u8"}
    single = float32_ratio([source.scale], target.scale)
    taken = eight and types[0] == types[1] and 2.0**-8 <= single <= 2.0**7
    if graph.profile == "xnnpack" and taken:
        return _rescale.Rescale(eighths(single), low, high)
    by = scaling("double_rounding", source.scale / target.scale)
    blocks = None
    if graph.profile in ("ruy", "xnnpack") and eight:
        elements = graph.spec(node.outputs[0]).elements
        blocks = Blocks("double_rounding_up", elements, _CODES_AT_ONCE)
    return _rescale.Rescale(by, low, high, blocks)


def _modes(graph: Graph, node: Node) -> tuple[int, int]:
    """How whole blocks of numbers become codes, and what is left."""
    if graph.profile == "xnnpack" and _elementwise.eight_bits(graph, node):
        return _RECIPROCAL, _RECIPROCAL
    if graph.profile in ("ruy", "xnnpack"):
        return _RECIPROCAL, _DIVIDE_IN_DOUBLE
    return _DIVIDE, _DIVIDE


def _naive_code(x: np.float32, scale: float, mode: int) -> int:
    if mode == _RECIPROCAL:
        quotient = float(x * (np.float32(1) / np.float32(scale)))
    else:
        quotient = float(x / np.float32(scale)) if mode == _DIVIDE else float(x) / scale
    limited = min(max(quotient, -(2.0**31)), 2.0**31)
    return round(limited) if mode == _RECIPROCAL else common.round_half_away(limited)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    spec = graph.spec(node.outputs[0])
    if not graph.spec(node.inputs[0]).real:
        return _rescale.reference(graph, node, inputs[0], _how(graph, node))
    params, (whole, rest) = graph.quantization(node.outputs[0]), _modes(graph, node)
    x = inputs[0].reshape(-1)
    in_blocks = x.size - x.size % _NUMBERS_AT_ONCE
    result = np.zeros(x.size, np.int64)
    for i in range(x.size):
        code = _naive_code(x[i], params.scale, whole if i < in_blocks else rest)
        result[i] = min(max(code + params.zero_point, spec.minimum), spec.maximum)
    return result.reshape(inputs[0].shape)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    spec = graph.spec(node.outputs[0])
    if not graph.spec(node.inputs[0]).real:
        return _rescale.lower(graph, node, _how(graph, node))
    params, (whole, rest) = graph.quantization(node.outputs[0]), _modes(graph, node)
    mantissa, exponent = float32_mantissa(params.scale)
    command = Vector(
        name=node.name, operator=node.operator, function="quantize", inputs=node.inputs,
        ofmap=node.outputs[0], nest=_elementwise.elementwise_nest(spec.shape),
        parameters=(
            ("scale_mantissa", mantissa), ("scale_exponent", exponent), ("mode", whole),
            ("mode_rest", rest), ("block", _NUMBERS_AT_ONCE), ("zero_point_out", params.zero_point),
            ("clamp_min", spec.minimum), ("clamp_max", spec.maximum),
        ),
        lane=common.REQUANTIZE_LANE,
    )  # fmt: skip
    return common.Lowered((command,))
