"""From the sum of a reduction to a code: the ways that MEAN and SUM share, as parameters and naively.

Each way is a few numbers; :func:`parameters` names them for the function ``reduce``, :func:`naive_code`
evaluates them in plain integers, or in the float32 operations of the runtime.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from simulator.fixedpoint import float32, reduction
from simulator.fixedpoint.requantize import KINDS
from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops import _reduction
from simulator.program.commands import Parameters
from simulator.tensor import TensorSpec


class Requantized(NamedTuple):
    """(sum - offset) through a requantizer; channels from ``tail_from`` on through ``tail_kind``."""

    kind: str
    multiplier: int
    shift: int
    offset: int
    zero_point: int
    tail_kind: str = ""
    tail_from: int = 0


class Quotient(NamedTuple):
    """(sum - offset) * 2**exponent / divisor, rounded as ``rounding`` of ``fixedpoint.reduction`` says."""

    exponent: int
    divisor: int
    rounding: int
    offset: int
    zero_point: int


class Line(NamedTuple):
    """scale * sum + bias in float32: the sum, the product and the result are each rounded."""

    scale: np.float32
    bias: np.float32
    ties: int
    zero_point: int


Way = Requantized | Quotient | Line


def parameters(way: Way, spec: TensorSpec) -> Parameters:
    """What the function ``reduce`` is told; ``spec`` is the output's."""
    ends = (
        ("zero_point_out", way.zero_point), ("clamp_min", spec.minimum), ("clamp_max", spec.maximum)
    )  # fmt: skip
    if isinstance(way, Requantized):
        kind = KINDS[way.kind]
        return (
            ("form", reduction.REQUANTIZED), ("offset", way.offset), ("requantizer", kind),
            ("tail_requantizer", KINDS[way.tail_kind] if way.tail_kind else kind),
            ("tail_from", way.tail_from), ("multiplier", way.multiplier), ("shift", way.shift), *ends,
        )  # fmt: skip
    if isinstance(way, Quotient):
        return (
            ("form", reduction.QUOTIENT), ("offset", way.offset), ("left", max(way.exponent, 0)),
            ("divisor", way.divisor << max(-way.exponent, 0)), ("rounding", way.rounding), *ends,
        )  # fmt: skip
    scale, bias = float32.pair_of(way.scale), float32.pair_of(way.bias)
    return (
        ("form", reduction.FLOAT32), ("offset", 0), ("scale_mantissa", scale[0]),
        ("scale_exponent", scale[1]), ("bias_mantissa", bias[0]), ("bias_exponent", bias[1]),
        ("ties", way.ties), *ends,
    )  # fmt: skip


def _half_even(value: Fraction) -> int:
    return round(value)


def _half_up(value: Fraction) -> int:
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def _half_away(value: Fraction) -> int:
    return _half_up(value) if value >= 0 else -_half_up(-value)


def _naive_requantized(kind: str, accumulator: int, multiplier: int, shift: int) -> int:
    if kind == "dyadic_even":
        return _half_even(Fraction(accumulator * multiplier) * Fraction(2) ** (shift - 31))
    if kind == "power_of_two":
        return _half_up(Fraction(accumulator) * Fraction(2) ** shift)
    wrapped = (accumulator * 2 ** max(shift, 0) + 2**31) % 2**32 - 2**31
    high = _half_up(Fraction(wrapped * multiplier, 2**31))
    last = _half_up if kind == "double_rounding_up" else _half_away
    return last(Fraction(high, 2 ** max(-shift, 0)))


def naive_code(way: Way, spec: TensorSpec, total: int, channel: int) -> int:
    """The code of one sum."""
    if isinstance(way, Requantized):
        kind = way.tail_kind if way.tail_kind and channel >= way.tail_from else way.kind
        value = _naive_requantized(kind, total - way.offset, way.multiplier, way.shift)
    elif isinstance(way, Quotient):
        exact = Fraction(total - way.offset, way.divisor) * Fraction(2) ** way.exponent
        value = int(exact) if way.rounding == reduction.TOWARDS_ZERO else _half_away(exact)
    else:
        real = np.float32(total) * way.scale + way.bias
        if way.ties == reduction.TO_EVEN:
            value = int(np.rint(real))
        else:
            value = common.round_half_away(float(real))
    return min(max(value + way.zero_point, spec.minimum), spec.maximum)


def reference(graph: Graph, node: Node, x: np.ndarray, way: Way) -> np.ndarray:
    """All codes of a reduction."""
    spec = graph.spec(node.outputs[0])
    channels = spec.shape[-1] if spec.shape else 1
    codes = [
        naive_code(way, spec, sum(row), place % channels)
        for place, row in _reduction.rows(graph, node, x)
    ]
    return np.array(codes, np.int64).reshape(_reduction.infer(graph, node))


def xnnpack_line(graph: Graph, node: Node, mean: bool) -> Line:
    """XNNPACK's reduction of 8-bit codes: raw codes are summed, zero points enter as a float32 bias."""
    source, target = graph.quantization(node.inputs[0]), graph.quantization(node.outputs[0])
    count = _reduction.reduced_elements(graph, node)
    share = np.float32(1) / np.float32(count if mean else 1)
    scale = np.float32(source.scale) / np.float32(target.scale) * share
    bias = np.float32(target.zero_point) - np.float32(count * source.zero_point) * scale
    return Line(scale, bias, reduction.TO_EVEN, 0)
