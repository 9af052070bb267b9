"""LOGISTIC and TANH of int16 codes: a table of the logistic function and linear interpolation.

Entry i is logistic(i / 24) with 16 fraction bits, up to i = 255, beyond which the function is taken for 1;
tanh(x) = 2 logistic(2x) - 1. The input is multiplied by 3/4 to reach 10.7 rather than 8.

LiteRT's optimised kernels, on which XNNPACK's profile falls back, do so only where the scale is not 2**-12
(TANH: nor 2**-11); there they evaluate gemmlowp's 16-bit functions.
Source: ``reference/integer_ops/logistic.h``, ``tanh.h``, ``optimized_ops.h``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simulator.fixedpoint import gemmlowp
from simulator.fixedpoint.tables import activation_scaling, sigmoid_table
from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops import _elementwise
from simulator.ops._scaling import log2_of
from simulator.program.commands import LaneWork, Vector
from simulator.tensor import TensorSpec

_ENTRIES = 256


class _Interpolation(NamedTuple):
    """``fraction_bits`` of the scaled input interpolate; then an offset by sign, and a shift."""

    multiplier: int
    shift: int
    fraction_bits: int
    saturated: int
    offset_positive: int
    offset_negative: int
    shift_out: int


def output_is_q15(graph: Graph, node: Node) -> bool:
    """an int16 output has the scale 2**-15"""
    spec, params = graph.spec(node.outputs[0]), graph.quantization(node.outputs[0])
    return spec.dtype != "i16" or params.scale == 2.0**-15


def _interpolation(graph: Graph, node: Node) -> _Interpolation:
    scale = graph.quantization(node.inputs[0]).scale
    multiplier, shift = activation_scaling(scale)
    if node.operator == "logistic":
        return _Interpolation(multiplier, shift, 9, 0x7FFF << 10, 512, (1 << 25) + 511, 10)
    half = 1 << 23
    return _Interpolation(multiplier, shift, 8, 0xFFFF << 8, 128 - half, half + 127, 8)


def _left_shift(graph: Graph, node: Node) -> int | None:
    """From the input to Q3.12, where the profile evaluates gemmlowp's functions; None where it looks up."""
    if graph.profile not in ("ruy", "xnnpack"):
        return None
    log = log2_of(graph.quantization(node.inputs[0]).scale)
    shifts = (0,) if node.operator == "logistic" else (0, 1)
    return log + 12 if log is not None and log + 12 in shifts else None


def _gemmlowp(graph: Graph, node: Node, left_shift: int) -> common.Lowered:
    command = Vector(
        name=node.name, operator=node.operator, function="sigmoid", inputs=node.inputs,
        ofmap=node.outputs[0],
        nest=_elementwise.elementwise_nest(graph.spec(node.outputs[0]).shape),
        parameters=(("tanh", int(node.operator == "tanh")), ("left_shift", left_shift)),
        # Counted from the source: exponential 5 products and up to 5 factors, 3 Newton steps of 2.
        lane=LaneWork(cycles=17, multiplies=17, adds=20),
    )  # fmt: skip
    return common.Lowered((command,))


def _naive_gemmlowp(node: Node, x: np.ndarray, left_shift: int) -> np.ndarray:
    function = gemmlowp.logistic if node.operator == "logistic" else gemmlowp.tanh
    codes = [min(max(v << left_shift, -32768), 32767) for v in x.reshape(-1).tolist()]
    return np.array([int(function(v, 3, 16)) for v in codes], np.int64).reshape(x.shape)


def reference(graph: Graph, node: Node, x: np.ndarray) -> np.ndarray:
    left_shift = _left_shift(graph, node)
    if left_shift is not None:
        return _naive_gemmlowp(node, x, left_shift)
    by, entries = _interpolation(graph, node), sigmoid_table().tolist()
    result = np.zeros(x.shape, np.int64)
    for i in np.ndindex(*x.shape):
        scaled = math.floor(int(x[i]) * by.multiplier / 2**by.shift + (0.5 if by.shift else 0))
        index, fraction = divmod(abs(scaled), 2**by.fraction_bits)
        value = by.saturated
        if index < _ENTRIES - 1:
            step = entries[index + 1] - entries[index]
            value = entries[index] * 2**by.fraction_bits + fraction * step
        value = by.offset_positive + value if scaled >= 0 else by.offset_negative - value
        result[i] = value // 2**by.shift_out
    return result


def lower(graph: Graph, node: Node) -> common.Lowered:
    left_shift = _left_shift(graph, node)
    if left_shift is not None:
        return _gemmlowp(graph, node, left_shift)
    name = f"{node.name}/table"
    command = Vector(
        name=node.name, operator=node.operator, function="interpolate",
        inputs=(node.inputs[0], name), ofmap=node.outputs[0],
        nest=_elementwise.elementwise_nest(graph.spec(node.outputs[0]).shape),
        parameters=tuple(_interpolation(graph, node)._asdict().items()),
        lane=LaneWork(cycles=3, multiplies=2, adds=4, lookups=2),
    )  # fmt: skip
    return common.Lowered(
        (command,), {name: sigmoid_table().astype(np.uint16)},
        tensors={name: TensorSpec((_ENTRIES,), "u16")},
    )  # fmt: skip
