"""SOFTMAX over the last dimension, in gemmlowp's fixed point as the reference kernel runs it."""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.softmax import input_scaling
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.program.commands import LaneWork, Vector
from simulator.program.nest import untiled

SUMMARY = "softmax over the last dimension"
COMMAND = "vector softmax"


def unit_output(graph: Graph, node: Node) -> bool:
    """the output has scale 1/256 and the smallest code as zero point"""
    params, spec = graph.quantization(node.outputs[0]), graph.spec(node.outputs[0])
    return params.scale == 1 / 256 and params.zero_point == spec.minimum


def scale_within_reach(graph: Graph, node: Node) -> bool:
    """beta times the input's scale is above 2**-26, so that a code is at least one step of Q5.26"""
    return _beta(node) * graph.quantization(node.inputs[0]).scale > 2.0**-26


RULES = (
    common.takes(1, 1), common.eight_bit, common.per_tensor_activations, unit_output,
    scale_within_reach,
)  # fmt: skip
DEVICE_RULES = (common.needs_function("softmax"),)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def _beta(node: Node) -> float:
    beta = node.attr("beta")
    assert isinstance(beta, int | float)
    return float(beta)


def _high_mul(a: int, b: int) -> int:
    return (2 * a * b + 2**31) // 2**32


def _divide(value: int, exponent: int) -> int:
    quotient, rest = divmod(abs(value), 2**exponent)
    quotient += 1 if exponent and 2 * rest >= 2**exponent else 0
    return -quotient if value < 0 else quotient


def _exp(a: int) -> int:
    """exp of a non-positive Q5.26 as Q0.31: barrel of exp(-2**k) after a polynomial on [-1/4, 0)."""
    if a == 0:
        return 2**31 - 1
    fraction = a % 2**24 - 2**24
    x = fraction * 32 + 2**28
    x2 = _high_mul(x, x)
    x3, x4 = _high_mul(x2, x), _high_mul(x2, x2)
    inner = _divide(_high_mul(_divide(x4, 2) + x3, 715827883) + x2, 1)
    value = 1895147668 + _high_mul(1895147668, x + inner)
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
    for bit, factor in enumerate(factors):
        if (fraction - a) >> (24 + bit) & 1:
            value = _high_mul(value, factor)
    return value


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    spec = graph.spec(node.outputs[0])
    multiplier, shift, smallest = input_scaling(
        _beta(node), graph.quantization(node.inputs[0]).scale
    )
    rows = inputs[0].reshape(-1, inputs[0].shape[-1])
    result = np.zeros(rows.shape, np.int64)
    for r, row in enumerate(rows):
        differences = [int(v) - int(row.max()) for v in row]
        exps = [
            _exp(_high_mul(d * 2**shift, multiplier)) if d >= smallest else None
            for d in differences
        ]
        total = sum(_divide(e, 12) for e in exps if e is not None)
        headroom = 32 - total.bit_length()
        half = (total * 2**headroom) // 2  # half of 1 + f in Q0.31
        x = 1515870810 + _high_mul(half, -1010580540)
        for _ in range(3):
            x += _high_mul(x, 2**29 - _high_mul(half, x)) * 4
        reciprocal = min(2 * x, 2**31 - 1)
        for c, e in enumerate(exps):
            code = 0 if e is None else _divide(_high_mul(reciprocal, e), 35 - headroom)
            result[r, c] = min(code + spec.minimum, spec.maximum)
    return result.reshape(inputs[0].shape)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    shape = graph.spec(node.inputs[0]).shape
    depth, rows = shape[-1], graph.spec(node.inputs[0]).elements // shape[-1]
    multiplier, shift, smallest = input_scaling(
        _beta(node), graph.quantization(node.inputs[0]).scale
    )
    spec = graph.spec(node.outputs[0])
    command = Vector(
        name=node.name, operator=node.operator, function="softmax", inputs=node.inputs,
        ofmap=node.outputs[0],
        # A row is one indivisible reduction: k = n = depth.
        nest=untiled(out=(1, rows), n=depth, k=depth, ifmap=(1, rows)),
        parameters=(
            ("multiplier", multiplier), ("shift", shift), ("smallest", smallest),
            ("minimum", spec.minimum), ("maximum", spec.maximum),
        ),
        # Counted from the reference: maximum 1, scaling 1, exponential 5 + up to 7 factors, sum 1,
        # reciprocal 7 per row (taken per element), product 1; the exponential is evaluated twice.
        lane=LaneWork(cycles=35, multiplies=32, adds=20),
    )  # fmt: skip
    return common.Lowered(command)
