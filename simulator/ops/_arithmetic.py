"""Arithmetic of plain numbers, int32, int64 and float32, on the host: ADD, SUB, MUL, DIV, FLOOR_DIV, ...

Integers wrap as C's do on every machine TensorFlow Lite runs on; float32 operations round once each.
A fused activation clamps numbers to its real bounds, and float32 to its finite numbers in any case.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import ARITHMETIC
from simulator.ops import _common as common
from simulator.ops import _elementwise
from simulator.program.commands import LaneWork, Parameters, Vector


def no_zero_divisor(graph: Graph, node: Node) -> bool:
    """an integer divisor that is a constant has no zeros"""
    name = node.inputs[1]
    return graph.spec(name).real or not graph.constant(name) or bool(graph.constants[name].all())


def binary_rules(*types: str) -> tuple[common.Rule, ...]:
    """Rules of an operator on two tensors of numbers of these types."""
    return (_elementwise.two_inputs, _elementwise.one_type(*types), _elementwise.broadcasts)


def _bounds(node: Node) -> tuple[float | None, float | None]:
    if "activation" not in dict(node.attrs):
        return None, None
    return _elementwise.real_bounds(node.text("activation"))


def _clamps(node: Node) -> Parameters:
    named = zip(("clamp_min", "clamp_max"), _bounds(node), strict=True)
    return tuple((name, int(bound)) for name, bound in named if bound is not None)


def lower(graph: Graph, node: Node) -> common.Lowered:
    shape = graph.spec(node.outputs[0]).shape
    command = Vector(
        name=node.name, operator=node.operator, function="arithmetic", inputs=node.inputs,
        ofmap=node.outputs[0], nest=_elementwise.elementwise_nest(shape),
        parameters=(("operation", ARITHMETIC.index(node.operator)), *_clamps(node)),
        lane=LaneWork(cycles=1, multiplies=0, adds=1),
    )  # fmt: skip
    return common.Lowered((command,))


def _naive_integer(operator: str, a: int, b: int, bits: int) -> int:
    if operator == "floor_div":
        value = a // b
    elif operator == "div":
        value = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    else:
        value = {"add": a + b, "sub": a - b, "mul": a * b}[operator]
    return (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


def _naive_real(operator: str, a: float, b: float) -> float:
    """One operation in double on float32 numbers; rounding that to float32 is the float32 operation."""
    if operator == "maximum":
        return max(a, b)
    if operator == "minimum":
        return min(a, b)
    if operator in ("add", "sub", "mul"):
        return {"add": a + b, "sub": a - b, "mul": a * b}[operator]
    if b == 0:
        if operator == "floor_div":
            raise ZeroDivisionError
        return math.nan if a == 0 else math.copysign(math.inf, a) * math.copysign(1, b)
    return math.floor(a / b) if operator == "floor_div" else a / b


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    spec = graph.spec(node.outputs[0])
    a, b = (v.reshape(-1) for v in _elementwise.operands(graph, node, inputs))
    low, high = _bounds(node)
    result = np.zeros(a.size, spec.container)
    for i in range(a.size):
        if spec.real:
            largest = float(np.finfo(np.float32).max)
            with np.errstate(over="ignore"):
                value = float(np.float32(_naive_real(node.operator, float(a[i]), float(b[i]))))
            if node.operator not in ("maximum", "minimum", "floor_div") and value == value:
                value = min(max(value, -largest if low is None else low), high or largest)
            result[i] = value
            continue
        number = _naive_integer(node.operator, int(a[i]), int(b[i]), spec.bits)
        number = max(number, int(low)) if low is not None else number
        result[i] = min(number, int(high)) if high is not None else number
    return result.reshape(_elementwise.binary_shape(graph, node))
