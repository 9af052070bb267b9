"""ADD, SUB, MUL, DIV, PRELU in ONNX Runtime's float32: of codes on the vector unit, else on the host.

* QLinearAdd (x86 with FMA3): ``v = fma(a, ra, fma(b, rb, F))`` with ``ra = f32(sa / sy)``, ``rb``
  likewise and ``F = f32(zy - fma(ra, za, f32(rb * zb)))``; ``rint(v)``. The kernel for NEON has
  integer multipliers and gives other codes.
* QLinearMul: ``rint(f32(f32(p * s) + zy))`` with ``p`` the product of the codes without their zero points
  and ``s = f32(f32(sa * sb) / sy)``: the zero point is added before rounding. In both, int8 codes that the
  runtime turned into uint8 ones count 128 more, as do their zero points.
* Everything else is computed between DequantizeLinear and QuantizeLinear: ``f32((a - za) * sa)``, likewise
  b, the operation rounded once, ``rint(f32(v / sy)) + zy``.

The vector unit does this in integers (``fixedpoint.float32``), operation by operation.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from simulator.fixedpoint.float32 import bits_of, pair_of
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops._common import activation_range
from simulator.ops.add import elementwise_nest
from simulator.ops.onnxruntime._functions import EIGHT_BITS, code_offset
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Parameters, Vector

COMMAND = "vector float_codes; host float_binary for numbers"
PROFILES = {"onnxruntime": RUN}
OPERATIONS = ("add", "sub", "mul", "div", "prelu")
SUM, PRODUCT, REAL = range(3)
_LANES = {
    # Two fused multiply-adds and a rounding; a product, a sum and a rounding; two dequantizations (a
    # subtraction and a product each), the operation, a division and a sum.
    SUM: LaneWork(cycles=3, multiplies=2, adds=3),
    PRODUCT: LaneWork(cycles=3, multiplies=2, adds=4),
    REAL: LaneWork(cycles=7, multiplies=4, adds=5),
}
_REACH = 2.0**40
_REAL_BOUNDS = {
    "NONE": (-np.inf, np.inf), "RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)
}  # fmt: skip


def two_inputs(graph: Graph, node: Node) -> bool:
    """it has two inputs, of which at most one is a constant"""
    return len(node.inputs) == 2 and all(node.inputs) and bool(common.activations(graph, node))


def broadcasts(graph: Graph, node: Node) -> bool:
    """the inputs' shapes broadcast: from the last on, dimensions are equal or one of them is 1; PRELU has
    the first one's shape"""
    pairs = zip(*(reversed(graph.spec(n).shape) for n in node.inputs), strict=False)
    if not all(a == b or 1 in (a, b) for a, b in pairs):
        return False
    return node.operator != "prelu" or infer(graph, node) == graph.spec(node.inputs[0]).shape


def codes_or_numbers(graph: Graph, node: Node) -> bool:
    """inputs and output are 8-bit or 16-bit codes (in profile qonnx of at most 8 bits) with one scale and
    zero point each, or float32 all"""
    names = (*node.inputs, node.outputs[0])
    if all(graph.spec(n).real for n in names):
        return True
    narrow = graph.profile == "qonnx"
    return all(
        not t.spec.real and t.quantization and not t.quantization.per_channel
        and (t.spec.bits <= 8 if narrow else t.spec.dtype in (*EIGHT_BITS, "i16", "u16"))
        for t in (graph.tensors[n] for n in names)
    )  # fmt: skip


def scales_within_reach(graph: Graph, node: Node) -> bool:
    """scales of codes are within 2**40 of each other, so that nothing overflows float32"""
    names = (*node.inputs, node.outputs[0])
    if graph.spec(names[0]).real:
        return True
    scales = [graph.quantization(n).scale for n in names]
    return (
        max(scales) <= _REACH * min(scales) and max(scales) <= _REACH and min(scales) >= 1 / _REACH
    )


def no_zero_divisor(graph: Graph, node: Node) -> bool:
    """DIV of codes: the divisor is a constant that has no zeros"""
    if node.operator != "div" or graph.spec(node.inputs[0]).real:
        return True
    name = node.inputs[1]
    zero = graph.quantization(name).zero_point
    return graph.constant(name) and not (graph.constants[name] == zero).any()


def known_activation(graph: Graph, node: Node) -> bool:
    """the fused activation is NONE, RELU, RELU6 or RELU_N1_TO_1"""
    return _activation(node) in _REAL_BOUNDS


RULES = (
    two_inputs, codes_or_numbers, broadcasts, scales_within_reach, no_zero_divisor, known_activation
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return np.broadcast_shapes(*(graph.spec(n).shape for n in node.inputs))


def form_of(graph: Graph, node: Node) -> int:
    """Whether the runtime joins the node, and to what."""
    types = {graph.spec(n).dtype for n in (*node.inputs, node.outputs[0])}
    alone = dict(node.attrs).get("arithmetic") == "float" or graph.profile == "qonnx"
    if alone or types not in ({"i8"}, {"u8"}) or node.operator not in ("add", "mul"):
        return REAL
    return SUM if node.operator == "add" else PRODUCT


# --- by definition, in exact arithmetic ----------------------------------------------------------


def rounded(exact: Fraction) -> Fraction:
    """The float32 nearest to ``exact``, ties to even."""
    if not exact:
        return exact
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** exponent > size:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - 23, -149)
    return round(exact / unit) * unit


def _f32(value: float) -> Fraction:
    return Fraction(float(np.float32(value)))


def _naive_sum(a: int, b: int, scales: list[Fraction], zeros: list[int]) -> int:
    first, second = (rounded(s / scales[2]) for s in scales[:2])
    inner = rounded(first * zeros[0] + rounded(second * zeros[1]))
    start = rounded(zeros[2] - inner)
    return round(rounded(a * first + rounded(b * second + start)))


def _naive_product(a: int, b: int, scales: list[Fraction], zeros: list[int]) -> int:
    scale = rounded(rounded(scales[0] * scales[1]) / scales[2])
    return round(rounded(rounded((a - zeros[0]) * (b - zeros[1]) * scale) + zeros[2]))


def _naive_real(operator: str, a: int, b: int, scales: list[Fraction], zeros: list[int]) -> int:
    x, y = rounded((a - zeros[0]) * scales[0]), rounded((b - zeros[1]) * scales[1])
    if operator == "prelu":
        value = x if x >= 0 else rounded(x * y)
    elif operator == "div":
        value = rounded(x / y)
    else:
        value = rounded({"add": x + y, "sub": x - y, "mul": x * y}[operator])
    return round(rounded(value / scales[2])) + zeros[2]


def _numbers(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    a, b = operands(graph, node, inputs)
    made = binary(node.operator, a, b)
    low, high = _REAL_BOUNDS[_activation(node)]
    return np.minimum(np.maximum(made, np.float32(low)), np.float32(high))


def binary(operator: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The operation on float32 arrays."""
    with np.errstate(all="ignore"):
        if operator == "prelu":
            return np.where(a >= 0, a, a * b)
        functions = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
        return functions[operator](a, b)


def operands(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The values of both inputs, constants from the graph, broadcast to the output's shape."""
    given = iter(inputs)
    found = [graph.constants[n] if graph.constant(n) else next(given) for n in node.inputs]
    return [np.broadcast_to(v, infer(graph, node)) for v in found]


def _clamp(graph: Graph, node: Node) -> tuple[int, int]:
    name, known = node.outputs[0], dict(node.attrs)
    low, high = activation_range(graph.spec(name), graph.quantization(name), _activation(node))
    # A quantizer's own range may be narrower than its type's.
    least, most = known.get("least", low), known.get("most", high)
    assert isinstance(least, int)
    assert isinstance(most, int)
    return max(low, least), min(high, most)


def _activation(node: Node) -> str:
    return str(dict(node.attrs).get("activation", "NONE"))


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    if graph.spec(node.outputs[0]).real:
        return _numbers(graph, node, inputs)
    form, names = form_of(graph, node), (*node.inputs, node.outputs[0])
    scales = [_f32(graph.quantization(n).scale) for n in names]
    offset = code_offset(node)
    zeros = [graph.quantization(n).zero_point + offset for n in names]
    low, high = _clamp(graph, node)
    result = np.zeros(infer(graph, node), np.int64)
    a, b = operands(graph, node, inputs)
    for i in np.ndindex(*result.shape):
        x, y = int(a[i]) + offset, int(b[i]) + offset
        if form == SUM:
            code = _naive_sum(x, y, scales, zeros)
        elif form == PRODUCT:
            code = _naive_product(x, y, scales, zeros)
        else:
            code = _naive_real(node.operator, x, y, scales, zeros)
        result[i] = min(max(code - offset, low), high)
    return result


# --- commands ------------------------------------------------------------------------------------


def _pairs(**values: float | np.floating) -> Parameters:
    found: list[tuple[str, int]] = []
    for name, value in values.items():
        mantissa, exponent = pair_of(float(value))
        found += [(f"{name}_mantissa", mantissa), (f"{name}_exponent", exponent)]
    return tuple(found)


def _scales(graph: Graph, node: Node, form: int) -> Parameters:
    """The float32 numbers of a form, under the names ``first``, ``second`` and ``third``."""
    sa, sb, sy = (np.float32(graph.quantization(n).scale) for n in (*node.inputs, node.outputs[0]))
    if form == PRODUCT:
        return _pairs(first=sa * sb / sy, second=0.0, third=0.0)
    if form == REAL:
        return _pairs(first=sa, second=sb, third=sy)
    names, offset = (*node.inputs, node.outputs[0]), code_offset(node)
    za, zb, zy = (graph.quantization(n).zero_point + offset for n in names)
    ra, rb = sa / sy, sb / sy
    exact = Fraction(float(ra)) * za + Fraction(float(rb * np.float32(zb)))
    start = np.float32(zy) - np.float32(float(rounded(exact)))
    return _pairs(first=ra, second=rb, third=start)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    shape, names = infer(graph, node), (*node.inputs, node.outputs[0])
    if graph.spec(node.outputs[0]).real:
        bounds = bits_of(np.array(_REAL_BOUNDS[_activation(node)])).tolist()
        command = Vector(
            name=node.name, operator=node.operator, function="float_binary", inputs=node.inputs,
            ofmap=node.outputs[0], nest=elementwise_nest(shape),
            parameters=(
                ("operation", OPERATIONS.index(node.operator)), ("clamp_min", bounds[0]),
                ("clamp_max", bounds[1]),
            ),
            lane=LaneWork(cycles=1, multiplies=0, adds=1),
        )  # fmt: skip
        return common.Lowered((command,))
    form, (low, high) = form_of(graph, node), _clamp(graph, node)
    za, zb, zy = (graph.quantization(n).zero_point for n in names)
    command = Vector(
        name=node.name, operator=node.operator, function="float_codes", inputs=node.inputs,
        ofmap=node.outputs[0], nest=elementwise_nest(shape),
        parameters=(
            ("form", form), ("operation", OPERATIONS.index(node.operator)), ("zero_point_1", za),
            ("zero_point_2", zb), *_scales(graph, node, form), ("zero_point_out", zy),
            ("clamp_min", low), ("clamp_max", high), ("offset", code_offset(node)),
        ),
        lane=_LANES[form],
    )  # fmt: skip
    return common.Lowered((command,))
