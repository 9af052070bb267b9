"""What several operators share: rules, activation ranges, naive requantizers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from simulator.fixedpoint.requantize import quantize_multiplier
from simulator.graph import Graph, Node
from simulator.program.commands import Command, LaneWork, Piece
from simulator.tensor import QuantParams, TensorSpec

Rule = Callable[[Graph, Node], bool]

# One requantization is one pass through a lane: multiply, round, shift, clamp.
REQUANTIZE_LANE = LaneWork(cycles=1, multiplies=1, adds=1)


@dataclass(frozen=True)
class Lowered:
    """What a node becomes: commands in order, and the constants they name.

    ``tensors``: tensors of its own that commands make or read beside the node's; those with a value in
    ``constants`` hold it from the start (a table, a second operand). ``aliases``: outputs that are the
    same bytes as another tensor.
    """

    commands: tuple[Command, ...]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    tensors: Mapping[str, TensorSpec] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


def whole_copy(spec: TensorSpec) -> Piece:
    """All elements of a tensor, to the same places."""
    return Piece(0, (spec.elements,), 0, (1,), 0, (1,))


def takes(fewest: int, most: int) -> Rule:
    """The rule that the operator has so many inputs, the first of them an activation."""

    def rule(graph: Graph, node: Node) -> bool:
        first = node.inputs[0]
        return fewest <= len(node.inputs) <= most and bool(first) and not graph.constant(first)

    span = str(fewest) if fewest == most else f"{fewest} to {most}"
    rule.__doc__ = f"it has {span} inputs, and the first is not a constant"
    return rule


def eight_bit(graph: Graph, node: Node) -> bool:
    """activations in and out are int8 or uint8, of the same type"""
    types = {graph.spec(n).dtype for n in (*activations(graph, node), node.outputs[0])}
    return types in ({"i8"}, {"u8"})


def per_tensor_activations(graph: Graph, node: Node) -> bool:
    """activations have one scale and one zero point"""
    names = (*activations(graph, node), *node.outputs)
    found = [graph.tensors[n].quantization for n in names]
    return all(q is not None and not q.per_channel for q in found)


def known_activation(graph: Graph, node: Node) -> bool:
    """the fused activation is NONE, RELU, RELU6 or RELU_N1_TO_1"""
    return node.attr("activation") in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def image_input(graph: Graph, node: Node) -> bool:
    """the input has four dimensions, NHWC"""
    return len(graph.spec(node.inputs[0]).shape) == 4


def activations(graph: Graph, node: Node) -> list[str]:
    """Inputs that are not constants."""
    return [n for n in node.inputs if n and not graph.constant(n)]


def convolved_size(
    size: int, kernel: int, stride: int, dilation: int, before: int, after: int
) -> int:
    """Output positions along one axis."""
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


def round_half_away(value: float) -> int:
    """Nearest integer, ties away from zero, as C's ``round``."""
    magnitude = int(np.floor(abs(value)))
    if abs(value) - magnitude >= 0.5:
        magnitude += 1
    return -magnitude if value < 0 else magnitude


def activation_range(
    spec: TensorSpec, params: QuantParams, activation: str, even: bool = False
) -> tuple[int, int]:
    """Clamp of a fused activation in output codes; bounds divide in float32, as the reference does.

    ``even``: as XNNPACK rounds them: the zero point is added first, then ties go to the even code.
    """

    def code(real: float) -> int:
        quotient = np.float32(real) / np.float32(params.scale)
        if even:
            return int(np.rint(quotient + np.float32(params.zero_point)))
        return params.zero_point + round_half_away(float(quotient))

    low, high = spec.minimum, spec.maximum
    if activation in ("RELU", "RELU6"):
        low = max(low, code(0.0))
    if activation == "RELU6":
        high = min(high, code(6.0))
    if activation == "RELU_N1_TO_1":
        low, high = max(low, code(-1.0)), min(high, code(1.0))
    return low, high


def naive_requantize(kind: str, accumulator: int, real: float) -> int:
    """The requantizers written as their real-number definitions, in exact Python arithmetic.

    ``real`` is what the kind's converter takes; the default is double rounding. Kinds that multiply by
    an integer take the low 32 bits of a wider accumulator, ``reduced_multiplier`` 48.
    """
    if kind == "none":
        return accumulator
    if kind == "float64_away":
        return round_half_away(float(accumulator) * real)
    if kind == "float32_even":
        return int(np.rint(np.float32(accumulator) * np.float32(real)))
    if kind == "power_of_two":
        return math.floor(accumulator * Fraction(real) + Fraction(1, 2))
    multiplier, shift = quantize_multiplier(real)
    half = 2**47 if kind == "reduced_multiplier" else 2**31
    accumulator = (accumulator + half) % (2 * half) - half
    if kind == "reduced_multiplier":
        reduced = min((multiplier + 2**15) // 2**16, 2**15 - 1)
        return (accumulator * reduced * 2 + 2 ** (15 - shift)) // 2 ** (16 - shift)
    if kind == "dyadic_even":
        return round(Fraction(accumulator * multiplier) / 2 ** (31 - shift))
    doubled = (accumulator * 2 ** max(shift, 0)) * multiplier
    high = (2 * doubled + 2**31) // 2**32  # nearest, ties up
    divisor = 2 ** max(-shift, 0)
    if kind == "double_rounding_up":
        return (2 * high + divisor) // (2 * divisor)
    quotient, rest = divmod(abs(high), divisor)
    quotient += 1 if 2 * rest >= divisor and divisor > 1 else 0
    return -quotient if high < 0 else quotient
