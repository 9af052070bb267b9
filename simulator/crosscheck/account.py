"""How one element came about, step by step: from a command's operands to the rounded code."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np

from simulator.datapath.explain import explain_output
from simulator.datapath.move import run_move
from simulator.fixedpoint import thresholds
from simulator.fixedpoint.requantize import KINDS, REQUANTIZERS, requantize
from simulator.graph import Graph, Node
from simulator.program.commands import Command, Host, Matmul, Move, Vector
from simulator.program.nest import Nest
from simulator.program.program import Program
from simulator.result import Account, Step
from simulator.tensor import QuantParams

# Multiplier and shift stand for multiplier * 2**(shift - FRACTION_BITS[kind]).
FRACTION_BITS = {name: found.fraction_bits for name, found in REQUANTIZERS.items()}
ROUNDING = {
    "double_rounding": "high half of twice the product with ties up, then a right shift with ties away "
    "from zero",
    "float64_away": "the product in float64, to the nearest integer with ties away from zero",
    "double_rounding_up": "high half of twice the product with ties up, then a right shift with ties up",
    "single_rounding": "one right shift of the exact product, ties up",
    "float32_even": "accumulator and product in float32, to the nearest integer with ties to even",
    "reduced_multiplier": "one right shift of the product with a 16-bit multiplier, ties up",
    "dyadic_even": "one right shift of the exact product, ties to even",
    "power_of_two": "one right shift of the accumulator, ties up",
    "truncate": "one right shift of the exact product, towards zero",
    "natural": "one right shift of the exact product, ties up",
    "none": "no scale and no rounding: the sum itself",
}
_MOST_SHOWN = 16  # codes of a window or row
_DIGITS = Context(prec=25)
Values = Mapping[str, np.ndarray]

# What an operator means in real numbers, from those of its operands (for a window or row: all of them).
_REAL: dict[str, Callable[[Sequence[float]], float]] = {
    "add": lambda v: v[0] + v[1],
    "sub": lambda v: v[0] - v[1],
    "mul": lambda v: v[0] * v[1],
    "maximum": max,
    "minimum": min,
    "quantize": lambda v: v[0],
    "dequantize": lambda v: v[0],
    "relu": lambda v: max(v[0], 0.0),
    "relu6": lambda v: min(max(v[0], 0.0), 6.0),
    "relu_n1_to_1": lambda v: min(max(v[0], -1.0), 1.0),
    "logistic": lambda v: 1 / (1 + math.exp(-v[0])),
    "tanh": lambda v: math.tanh(v[0]),
    "exp": lambda v: math.exp(v[0]),
    "hard_swish": lambda v: v[0] * min(max(v[0] + 3, 0.0), 6.0) / 6,
    "average_pool_2d": lambda v: sum(v) / len(v),
    "max_pool_2d": max,
}


def account(
    graph: Graph, node: Node, program: Program, values: Values, tensor: str, index: tuple[int, ...]
) -> Account:
    """Steps to element ``index`` (our order) of ``tensor``, an output of ``node``.

    ``values`` are one sample's tensors of ``program``, which computes ``graph``.
    """
    commands = [c for c in program.commands if c.ofmap == tensor]
    made = values[tensor][index].item()
    if not commands:
        step = Step(
            "alias", "the same bytes as its input under another name", {"input": node.inputs[0]}
        )
        return Account(program.profile, program.device.name, (step,), made)
    command = commands[-1]
    steps: list[Step] = []
    if isinstance(command, Host):
        steps.append(Step("host", command.reason, {}))
    inner = command.command if isinstance(command, Host) else command
    operands = [values[n] if n in values else program.constants[n] for n in inner.inputs]
    if isinstance(inner, Matmul):
        steps += _product(graph, node, program, command, operands, tensor, index)
    elif isinstance(inner, Vector):
        steps += _vector(graph, node, program, inner, operands, tensor, index)
    else:
        steps.append(_move(inner, operands, values[tensor].shape, index))
    return Account(program.profile, program.device.name, tuple(steps), made)


def decimal(value: Fraction) -> str:
    """``value`` in up to 25 significant digits."""
    return f"{_DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator)):f}"


def real_scale(kind: str, multiplier: int, shift: int) -> Fraction:
    """The real number that a multiplier and a shift of requantizer ``kind`` stand for."""
    return Fraction(multiplier) * Fraction(2) ** (shift - FRACTION_BITS[kind])


def _beyond_tie(value: Fraction) -> Fraction:
    """How far ``value`` lies above (below, if negative) the nearest number between two integers."""
    return value - (math.floor(value) + Fraction(1, 2))


def _terms(nest: Nest, flat: int) -> int:
    """Products that the output at element ``flat`` sums, taps on padding left out."""
    _, oy, ox, _ = np.unravel_index(
        flat, (nest.batch, nest.out_h, nest.out_w, nest.groups * nest.n)
    )

    def inside(place: int, stride: int, dilation: int, pad: int, kernel: int, size: int) -> int:
        first = place * stride - pad
        return sum(0 <= first + tap * dilation < size for tap in range(kernel))

    rows = inside(int(oy), nest.stride_h, nest.dilation_h, nest.pad_top, nest.kernel_h, nest.in_h)
    columns = inside(
        int(ox), nest.stride_w, nest.dilation_w, nest.pad_left, nest.kernel_w, nest.in_w
    )
    return rows * columns * nest.k


def _model_scale(graph: Graph, node: Node, tensor: str, channel: int) -> Fraction | None:
    """The exact product of the model's own scales that the multiplier stands for."""
    found = [graph.tensors[n].quantization for n in (*node.inputs[:2], tensor)]
    if len(found) != 3 or any(q is None for q in found):
        return None
    ifmap, weights, ofmap = (q for q in found if q is not None)
    scale = weights.scales[channel] if weights.per_channel else weights.scale
    return Fraction(ifmap.scale) * Fraction(scale) / Fraction(ofmap.scale)


def _product(
    graph: Graph, node: Node, program: Program, command: Command, operands: list[np.ndarray],
    tensor: str, index: tuple[int, ...],
) -> list[Step]:  # fmt: skip
    inner = command.command if isinstance(command, Host) else command
    assert isinstance(inner, Matmul)
    e = explain_output(program, command, operands, index)
    assert e is not None
    flat = int(np.ravel_multi_index(index, program.placements[tensor].spec.shape)) if index else 0
    channel = flat % (inner.nest.groups * inner.nest.n)
    array = program.device.array
    held = "the host keeps the exact sum"
    if not isinstance(command, Host):
        held = f"kept in {array.accumulator_bits} bits that {array.overflow}, added in the device's order"
    summed = [
        Step("sum", "products of codes less zero points, and the bias", {
            "terms": _terms(inner.nest, flat), "bias": e.bias, "accumulator": e.accumulator,
        }),
        Step("accumulator", held, {"kept": e.kept}),
    ]  # fmt: skip
    if e.requantizer == thresholds.NAME:
        code = min(max(e.multiplier + e.zero_point, e.clamp_min), e.clamp_max)
        return [*summed, Step("thresholds", "how many of the channel's thresholds it reaches", {
            "direction": e.shift, "reached": e.multiplier, "least": e.zero_point, "code": code,
        })]  # fmt: skip
    scale = real_scale(e.requantizer, e.multiplier, e.shift)
    exact = e.kept * scale
    rounded = int(requantize(KINDS[e.requantizer], e.kept, e.multiplier, e.shift))
    model = _model_scale(graph, node, tensor, channel)
    stood_for = {} if model is None else {"model_scale": decimal(model)}
    unrounded = {} if model is None else {"model_value": decimal(e.accumulator * model)}
    code = min(max(rounded + e.zero_point, e.clamp_min), e.clamp_max)
    return [
        *summed,
        Step("scale", "the real scale as integers", {
            "multiplier": e.multiplier, "shift": e.shift,
            "fraction_bits": FRACTION_BITS[e.requantizer], "scale": decimal(scale), **stood_for,
        }),
        Step("product", "accumulator times scale, not rounded", {
            "value": decimal(exact), "beyond_tie": decimal(_beyond_tie(exact)), **unrounded,
        }),
        Step("round", ROUNDING[e.requantizer], {
            "requantizer": e.requantizer, "rounded": rounded,
        }),
        Step("code", "zero point added, then clamped", {
            "zero_point": e.zero_point, "clamp_min": e.clamp_min, "clamp_max": e.clamp_max,
            "code": code,
        }),
    ]  # fmt: skip


def _real(code: float, params: QuantParams | None) -> float:
    return code if params is None else params.scale * (code - params.zero_point)


def _params(program: Program, name: str) -> QuantParams | None:
    found = program.placements[name].quantization
    return None if found is None or found.per_channel else found


def _vector(
    graph: Graph, node: Node, program: Program, command: Vector, operands: list[np.ndarray],
    tensor: str, index: tuple[int, ...],
) -> list[Step]:  # fmt: skip
    shape = program.placements[tensor].spec.shape
    steps, reals = [], list[float]()
    for place, (name, values) in enumerate(zip(command.inputs, operands, strict=True)):
        words, codes = _taken(command, values, shape, index, place, operands[0])
        params = _params(program, name)
        shown = " ".join(str(c) for c in codes[:_MOST_SHOWN])
        numbers: dict[str, int | float | str] = {"tensor": name, "codes": shown}
        if len(codes) > _MOST_SHOWN:
            numbers["further_codes"] = len(codes) - _MOST_SHOWN
        if params is not None:
            numbers |= {"scale": params.scale, "zero_point": params.zero_point}
            reals += [_real(c, params) for c in codes]
        elif program.placements[name].spec.real:
            reals += codes
        steps.append(Step(f"operand {place + 1}", words, numbers))
    if command.parameters:
        words = f"function {command.function} with its integer parameters"
        steps.append(Step("function", words, dict(command.parameters)))
    else:
        steps.append(Step("function", f"function {command.function}", {}))
    if node.operator in _REAL and reals and tensor in graph.tensors:
        steps.append(_real_step(node, reals, graph.tensors[tensor].quantization))
    return steps


def _real_step(node: Node, reals: list[float], params: QuantParams | None) -> Step:
    real = _REAL[node.operator](reals)
    numbers: dict[str, int | float | str] = {"real": real}
    if params is not None:
        numbers |= {
            "scale": params.scale, "zero_point": params.zero_point,
            "in_codes": real / params.scale + params.zero_point,
        }  # fmt: skip
    return Step("real", f"what {node.operator.upper()} of the real operands is", numbers)


def _taken(
    command: Vector, values: np.ndarray, shape: tuple[int, ...], index: tuple[int, ...], place: int,
    first: np.ndarray,
) -> tuple[str, list]:  # fmt: skip
    """What of an operand goes into output element ``index``: in words, and its codes."""
    nest = command.nest
    if command.function == "lookup" and place == 1:
        code = int(first.reshape(shape)[index])
        lowest = int(np.iinfo(first.dtype).min)
        return "the table's entry for that code", [values.reshape(-1)[code - lowest].item()]
    if nest.kernel_h * nest.kernel_w > 1 or (nest.out_h, nest.out_w) != (nest.in_h, nest.in_w):
        return "the window's codes inside the image", _window(nest, values, shape, index)
    if nest.k > 1 and values.size % nest.k == 0:
        row = int(np.ravel_multi_index(index, shape)) // nest.n
        return "its row", values.reshape(-1, nest.k)[row % (values.size // nest.k)].tolist()
    try:
        return "the element at that place", [np.broadcast_to(values, shape)[index].item()]
    except ValueError:
        return "the whole operand", values.reshape(-1).tolist()


def _window(nest: Nest, values: np.ndarray, shape: tuple[int, ...], index: tuple[int, ...]) -> list:
    x = values.reshape(nest.batch, nest.in_h, nest.in_w, -1)
    flat = int(np.ravel_multi_index(index, shape))
    b, oy, ox, c = np.unravel_index(flat, (nest.batch, nest.out_h, nest.out_w, x.shape[3]))
    y0, x0 = oy * nest.stride_h - nest.pad_top, ox * nest.stride_w - nest.pad_left
    rows = slice(max(int(y0), 0), int(y0) + nest.kernel_h)
    columns = slice(max(int(x0), 0), int(x0) + nest.kernel_w)
    return x[b, rows, columns, c].reshape(-1).tolist()


def _move(
    command: Move, operands: list[np.ndarray], shape: tuple[int, ...], index: tuple[int, ...]
) -> Step:
    """Where the element was copied from: the move, done on places instead of values."""
    places, first = [], 0
    for values in operands:
        places.append(np.arange(first, first + values.size, dtype=np.int64)[np.newaxis])
        first += values.size
    target = np.zeros((1, *shape), np.int64)
    # What no piece writes shows as -1.
    numbered = Move(
        command.name, command.operator, command.sources, command.ofmap, command.pieces, -1
    )
    run_move(numbered, places, target)
    place = int(target[0][index])
    if place < 0:
        return Step("copy", "no element is copied here: it is filled", {"fill": command.fill})
    for name, values in zip(command.sources, operands, strict=True):
        if place < values.size:
            where = ",".join(str(int(i)) for i in np.unravel_index(place, values.shape))
            code = values.reshape(-1)[place].item()
            return Step("copy", "copied from", {"tensor": name, "index": where, "code": code})
        place -= values.size
    raise AssertionError(f"{command.name}: element {index} comes from nowhere")
