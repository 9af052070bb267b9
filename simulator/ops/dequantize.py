"""DEQUANTIZE: codes to float32 numbers, on the host.

``scale * (code - zero point)`` in double, rounded to float32. The kernels of ``ruy`` do whole blocks of
eight 8-bit codes in float32 as ``f32(f32(code) * scale) + f32(-zero point * scale)``. XNNPACK equals the
reference, and takes 8-bit codes only.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.requantize_scales import float32_mantissa
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _elementwise
from simulator.profiles import RUN, SOURCE
from simulator.program.commands import Vector

SUMMARY = "codes to float32 numbers"
COMMAND = "host dequantize"
PROFILES = {"tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN}

_AT_ONCE = 8


def codes_to_numbers(graph: Graph, node: Node) -> bool:
    """the input is int8, uint8 or int16 with one scale and one zero point, the output float32"""
    source = graph.tensors[node.inputs[0]]
    if source.spec.dtype not in _elementwise.CODES or not graph.spec(node.outputs[0]).real:
        return False
    return source.quantization is not None and not source.quantization.per_channel


RULES = (common.takes(1, 1), codes_to_numbers)
infer = _elementwise.first_shape


def _block(graph: Graph, node: Node) -> int:
    """Codes taken at once in float32; 1 for none."""
    eight = graph.spec(node.inputs[0]).bits == 8
    return _AT_ONCE if graph.profile == "ruy" and eight else 0


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    params, block = graph.quantization(node.inputs[0]), _block(graph, node)
    x = inputs[0].reshape(-1)
    in_blocks = x.size - x.size % block if block else 0
    result = np.zeros(x.size, np.float32)
    for i, code in enumerate(x.tolist()):
        if i < in_blocks:
            offset = np.float32(-params.zero_point * params.scale)
            result[i] = np.float32(code) * np.float32(params.scale) + offset
        else:
            result[i] = params.scale * (code - params.zero_point)
    return result.reshape(inputs[0].shape)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    params = graph.quantization(node.inputs[0])
    mantissa, exponent = float32_mantissa(params.scale)
    command = Vector(
        name=node.name, operator=node.operator, function="dequantize", inputs=node.inputs,
        ofmap=node.outputs[0], nest=_elementwise.elementwise_nest(infer(graph, node)),
        parameters=(
            ("scale_mantissa", mantissa), ("scale_exponent", exponent),
            ("block", _block(graph, node)), ("zero_point_in", params.zero_point),
        ),
        lane=common.REQUANTIZE_LANE,
    )  # fmt: skip
    return common.Lowered((command,))
