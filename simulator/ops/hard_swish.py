"""HARD_SWISH of 8-bit codes: a 16-bit fixed-point computation per code, done once for a table.

x * relu6(x + 3) / 6 with x on a 128 times finer scale: one 16-bit multiplier brings it to the output's
scale, another maps [-3, 3] to [-1, 1]; their product, cut towards zero, is shifted to the output.
Source: ``reference/hard_swish.h`` and ``HardSwishPrepare`` in ``activations.cc``; all profiles alike.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.requantize import quantize_multiplier
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _elementwise, _table
from simulator.profiles import RUN

SUMMARY = "x * relu6(x + 3) / 6"
COMMAND = "vector lookup"
PROFILES = {"tflite": RUN, "xnnpack": RUN, "ruy": RUN}

_F = np.float32


def _multiplier(ratio: np.float32) -> tuple[int, int]:
    """A 15-bit multiplier and a shift: the 31-bit one rounded half up by 16 bits, saturated."""
    multiplier, shift = quantize_multiplier(float(ratio))
    return min((multiplier + (1 << 15)) >> 16, 32767), shift


def _ratios(graph: Graph, node: Node) -> tuple[np.float32, np.float32]:
    fine = _F(1 / 128) * _F(graph.quantization(node.inputs[0]).scale)
    return fine / _F(graph.quantization(node.outputs[0]).scale), fine / (_F(3) / _F(32768))


def output_no_finer(graph: Graph, node: Node) -> bool:
    """the output's scale is at least 1/128 of the input's"""
    return _multiplier(_ratios(graph, node)[0])[1] <= 0


RULES = (
    common.takes(1, 1), _elementwise.one_type("i8", "u8"), _elementwise.quantized_codes,
    output_no_finer,
)  # fmt: skip
infer = _elementwise.first_shape


def _saturate(value: int) -> int:
    return min(max(value, -(2**15)), 2**15 - 1)


def _high_mul(a: int, b: int) -> int:
    return (a * b + (1 << 14)) >> 15


def _divide(value: int, exponent: int) -> int:
    magnitude = (abs(value) + ((1 << exponent) >> 1)) >> exponent
    return -magnitude if value < 0 else magnitude


def _code(graph: Graph, node: Node) -> _table.Code:
    (out_by, out_shift), (gate_by, gate_shift) = map(_multiplier, _ratios(graph, node))
    z_in, z_out = (graph.quantization(n).zero_point for n in (node.inputs[0], node.outputs[0]))
    spec = graph.spec(node.outputs[0])

    def code(x: int) -> int:
        fine = (x - z_in) * 128
        gate = fine
        if gate_shift > 0:
            gate = _saturate(gate << (gate_shift - 1))
        gate = _high_mul(gate, gate_by)
        if gate_shift > 0:
            gate = _saturate(gate * 2)
        gate = (_divide(gate, max(-gate_shift, 0)) + (1 << 15)) >> 1
        product = gate * _high_mul(fine, out_by)
        cut = (abs(product) >> 15) * (1 if product >= 0 else -1)
        return min(max(_divide(cut, -out_shift) + z_out, spec.minimum), spec.maximum)

    return code


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _table.reference(_code(graph, node), inputs[0])


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _table.lower(graph, node, _code(graph, node))
