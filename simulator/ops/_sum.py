"""ADD and SUB of codes: each operand is brought to a common scale, and the sum to the output's.

``out = R(R(a << left, first) +- R(b << left, second), sum)``, every R the profile's:

* ``tflite``: 20 bits of head start (15 for int16), twice the larger scale as the common one, three double
  roundings of double ratios. int16 with scales that are powers of two, where the file asks for it: only
  the other operand is shifted right, ties away from zero.
* ``tflite_micro``: as ``tflite``, never the int16 shift; SUB divides scales in float32 (``sub_common.cc``).
* ``ruy``: as ``tflite``, but ADD's vector code rounds operands in its own way, block by block.
* ``xnnpack``: multipliers of 21 bits, one rounding at the end, ties up. A node whose ratios XNNPACK does
  not take, 2**-10 to below 2**8, goes to the kernels of ``ruy``.
* ``power_of_two``: the operands are shifted to the finer of them, one rounding at the end.
* ``dyadic``: each operand is rounded to the output's scale, then added (HAWQ-V3's residual add).

Not modelled: ADD's vector code in ``ruy`` wraps sums of 32768 codes of the output or more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.fixedpoint.requantize_scales import nearest_power_of_two
from simulator.fixedpoint.rescale import RESCALE_KINDS
from simulator.graph import Graph, Node
from simulator.ops import _arithmetic, _elementwise
from simulator.ops import _common as common
from simulator.ops._broadcast import row_length
from simulator.ops._scaling import (
    UNCHANGED,
    Blocks,
    Scaling,
    blocks_parameters,
    log2_of,
    naive_scaled,
    scaling,
)
from simulator.profiles import CHOSEN, RUN, SOURCE
from simulator.program.commands import LaneWork, Vector

PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "power_of_two": CHOSEN,
    "dyadic": CHOSEN,
}  # fmt: skip

_XNNPACK_BITS = 20


@dataclass(frozen=True)
class Sum:
    """How two operands become one code; ``blocks`` says where operands are rounded otherwise."""

    first: Scaling
    second: Scaling
    total: Scaling
    left_shift: int = 0
    blocks: Blocks | None = None
    by_xnnpack: bool = False

    def operand(self, by: Scaling, code: int, index: int) -> int:
        if self.blocks and self.blocks.holds(index):
            by = by._replace(kind=self.blocks.kind)
        return naive_scaled(by, code * 2**self.left_shift)


def shift_fits(graph: Graph, node: Node) -> bool:
    """int16 with pot_scale_int16 and powers of two as scales: one operand has the output's scale, the
    other no larger one, and operands of an ADD have the same shape"""
    found = _exponents(graph, node)
    shapes = {graph.spec(n).shape for n in node.inputs}
    return found is None or (max(found) == 0 and (len(shapes) == 1 or node.operator == "sub"))


RULES = (
    _elementwise.two_inputs, _elementwise.one_type(*_elementwise.CODES, *_elementwise.NUMBERS),
    _elementwise.quantized_codes, _elementwise.broadcasts, common.known_activation, shift_fits,
)  # fmt: skip
infer = _elementwise.binary_shape


def _exponents(graph: Graph, node: Node) -> tuple[int, int] | None:
    """Shifts (<= 0) from the operands to the output, for int16 nodes that only shift."""
    asked = dict(node.attrs).get(
        "pot_scale_int16", 0
    )  # an attribute of TensorFlow Lite files alone
    if graph.spec(node.outputs[0]).dtype != "i16" or not asked:
        return None
    logs = [log2_of(graph.quantization(n).scale) for n in (*node.inputs, node.outputs[0])]
    first, second, out = logs
    if first is None or second is None or out is None:
        return None
    return first - out, second - out


def _general(graph: Graph, node: Node, micro: bool) -> Sum:
    (s1, s2), s_out = _elementwise.scales(graph, node), graph.quantization(node.outputs[0]).scale
    left = 20 if _elementwise.eight_bits(graph, node) else 15
    twice = 2 * max(s1, s2)
    reals = s1 / twice, s2 / twice, twice / (2.0**left * s_out)
    if micro and node.operator == "sub":
        f32 = np.float32
        bottom = f32(2**left) * f32(s_out)
        reals = float(f32(s1) / f32(twice)), float(f32(s2) / f32(twice)), float(f32(twice) / bottom)
    first, second, total = (scaling("double_rounding", real) for real in reals)
    return Sum(first, second, total, left)


def _reference(graph: Graph, node: Node) -> Sum:
    exponents = _exponents(graph, node)
    if exponents is None:
        return _general(graph, node, micro=False)
    # One bit of head start makes the multiplier 2**30 exact; what is left is the shift.
    first, second = (Scaling("double_rounding", 1 << 30, e) for e in exponents)
    return Sum(first, second, UNCHANGED, 1)


def _ruy(graph: Graph, node: Node) -> Sum:
    found = _reference(graph, node)
    if node.operator == "sub" or found.total == UNCHANGED:
        return found
    shapes = [graph.spec(n).shape for n in node.inputs]
    how, row = row_length(shapes[0], shapes[1])
    dtype = graph.spec(node.outputs[0]).dtype
    blocks = None
    if dtype == "u8" or (dtype == "i8" and how == "scalar"):
        blocks = Blocks("double_rounding_down", row, 8)
    elif dtype == "i8" or how == "same":  # int16 broadcasts in the reference's loop
        blocks = Blocks("single_rounding", row, 16)
    if how == "generic":
        blocks = None
    return Sum(found.first, found.second, found.total, found.left_shift, blocks)


def _xnnpack(graph: Graph, node: Node) -> Sum:
    ratios = _elementwise.ratios(graph, node)
    taken = all(2.0**-10 <= r < 2.0**8 for r in ratios)
    if not (taken and _elementwise.eight_bits(graph, node)):
        return _ruy(graph, node)
    shift = _XNNPACK_BITS - (math.frexp(max(ratios))[1] - 1)
    first, second = (
        Scaling("single_rounding", round(math.ldexp(r, shift)), 31) for r in ratios
    )  # fmt: skip
    return Sum(first, second, Scaling("single_rounding", 1, 31 - shift), by_xnnpack=True)


def _double_ratios(graph: Graph, node: Node) -> list[float]:
    s_out = graph.quantization(node.outputs[0]).scale
    return [s / s_out for s in _elementwise.scales(graph, node)]


def _power_of_two(graph: Graph, node: Node) -> Sum:
    exponents = [math.frexp(nearest_power_of_two(r))[1] - 1 for r in _double_ratios(graph, node)]
    finest = min(*exponents, 0)
    first, second = (Scaling("power_of_two", 1, e - finest) for e in exponents)
    return Sum(first, second, Scaling("power_of_two", 1, finest))


def _dyadic(graph: Graph, node: Node) -> Sum:
    first, second = (scaling("dyadic_even", r) for r in _double_ratios(graph, node))
    return Sum(first, second, UNCHANGED)


_BY_PROFILE: dict[str, Callable[[Graph, Node], Sum]] = {
    "tflite_micro": lambda graph, node: _general(graph, node, micro=True),
    "ruy": _ruy,
    "xnnpack": _xnnpack,
    "power_of_two": _power_of_two,
    "dyadic": _dyadic,
}


def _sum_of(graph: Graph, node: Node) -> Sum:
    return _BY_PROFILE.get(graph.profile, _reference)(graph, node)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    if graph.spec(node.outputs[0]).dtype not in _elementwise.CODES:
        return _arithmetic.reference(graph, node, inputs)
    how, sign = _sum_of(graph, node), 1 if node.operator == "add" else -1
    z1, z2 = (graph.quantization(n).zero_point for n in node.inputs)
    z_out = graph.quantization(node.outputs[0]).zero_point
    low, high = _elementwise.clamp(graph, node, how.by_xnnpack)
    a, b = (v.reshape(-1) for v in _elementwise.operands(graph, node, inputs))
    result = np.zeros(a.size, np.int64)
    for i in range(a.size):
        first = how.operand(how.first, int(a[i]) - z1, i)
        second = how.operand(how.second, int(b[i]) - z2, i)
        code = naive_scaled(how.total, first + sign * second) + z_out
        result[i] = min(max(code, low), high)
    return result.reshape(infer(graph, node))


def lower(graph: Graph, node: Node, device: object) -> common.Lowered:
    if graph.spec(node.outputs[0]).dtype not in _elementwise.CODES:
        return _arithmetic.lower(graph, node)
    how, params = _sum_of(graph, node), graph.quantization(node.outputs[0])
    low, high = _elementwise.clamp(graph, node, how.by_xnnpack)
    command = Vector(
        name=node.name, operator=node.operator, function=node.operator, inputs=node.inputs,
        ofmap=node.outputs[0], nest=_elementwise.elementwise_nest(infer(graph, node)),
        parameters=(
            ("zero_point_1", graph.quantization(node.inputs[0]).zero_point),
            ("zero_point_2", graph.quantization(node.inputs[1]).zero_point),
            ("left_shift", how.left_shift),
            ("multiplier_1", how.first.multiplier), ("shift_1", how.first.shift),
            ("multiplier_2", how.second.multiplier), ("shift_2", how.second.shift),
            *blocks_parameters(how.first, how.blocks),
            ("kind_out", RESCALE_KINDS[how.total.kind]),
            ("multiplier_out", how.total.multiplier), ("shift_out", how.total.shift),
            ("zero_point_out", params.zero_point), ("clamp_min", low), ("clamp_max", high),
        ),
        lane=LaneWork(cycles=3, multiplies=3, adds=4),
    )  # fmt: skip
    return common.Lowered((command,))
