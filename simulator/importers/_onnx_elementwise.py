"""Element-wise operators, and softmax."""

from __future__ import annotations

import math
from dataclasses import replace

from simulator.importers._onnx_build import (
    Axes,
    Codes,
    Value,
    elements,
    in_order,
)
from simulator.importers._onnx_file import Op, ValueType
from simulator.importers._onnx_moves import common_axes
from simulator.importers._onnx_walk import Call, Target, Walk, clamp_of
from simulator.tensor import TensorSpec

# Two operands, with broadcasting.
BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "PRelu": "prelu"}
# One operand; their attributes and defaults.
UNARY: dict[str, tuple[str, dict[str, float]]] = {
    "Sigmoid": ("logistic", {}),
    "Tanh": ("tanh", {}),
    "HardSwish": ("hard_swish", {}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "Elu": ("elu", {"alpha": 1.0}),
    "Abs": ("abs", {}),
    "Neg": ("neg", {}),
    "Exp": ("exp", {}),
    "Sqrt": ("sqrt", {}),
}


def binary(w: Walk, call: Call) -> None:
    """Two tensors, or a tensor and a constant, broadcast against each other."""
    shape = w.kind(call.op).shape
    values = [ranked(w, call.given(i), len(shape)) for i in (0, 1)]
    axes = common_axes(values)
    names = [w.build.arranged(v, axes) if v.rank else _scalar(w, v) for v in values]
    w.result(call, BINARY[call.kind], names, axes, {})


def ranked(w: Walk, value: Value, rank: int) -> Value:
    """``value`` with axes of size 1 before it, so that each axis meets its own; scalars stay."""
    if value.rank in (0, rank):
        return value
    if value.view is not None and value.view.per_channel:
        view = replace(value.view, axis=value.view.axis + rank - value.rank)
        value = replace(value, view=view)
    shape = (1,) * (rank - value.rank) + value.shape
    if value.constant is not None:
        constant = value.constant.reshape(shape)
        return replace(value, shape=shape, axes=in_order(rank), constant=constant)
    source = w.build.tensors[w.build.arranged(value, in_order(value.rank))]
    name = w.build.tensor(
        f"{value.name}/ranked", value.dtype, shape, source.codes, "", in_order(rank)
    )
    inputs = [w.build.arranged(value, in_order(value.rank))]
    w.build.node("reshape", inputs, [name], {"shape": shape})
    return replace(value, shape=shape, axes=in_order(rank), tensor=name)


def _scalar(w: Walk, value: Value) -> str:
    return w.build.arranged(value, ())


def unary(w: Walk, call: Call) -> None:
    """A function of one number."""
    operator, defaults = UNARY[call.kind]
    attrs = {key: call.op.real(key, default) for key, default in defaults.items()}
    x = call.given(0)
    w.result(call, operator, [w.build.arranged(x, x.axes)], x.axes, attrs)


def clamp(w: Walk, op: Op) -> None:
    """Relu and Clip: on codes, and on codes seen as float32, a clamp of the codes."""
    bounds = w.bounds(op)
    assert bounds is not None
    value = w.given(op, 0)
    if bounds == (-math.inf, math.inf):
        w.alias(op, value)
        return
    value = w.movable(value)
    if value.dtype == "f32":
        _clamp_numbers(w, op, value, bounds)
        return
    if value.view is None:
        _clamp_codes(w, op, value, bounds)
        return
    target = w.target(op, bounds)
    if target is not None:
        _clamp_into(w, value, target)
    elif bounds == (0.0, math.inf) and value.quantized:
        # 0 is a code, so the result is codes again.
        _clamp_into(w, value, Target(op.outputs[0], value.dtype, value.view, bounds))
        w.env[op.outputs[0]] = replace(w.env[op.outputs[0]], view=value.view)
    else:
        _clamp_numbers(w, op, w.build.real(value), bounds)


def _clamp_codes(w: Walk, op: Op, value: Value, bounds: tuple[float, float]) -> None:
    spec = TensorSpec((1,), value.dtype)
    low = int(max(bounds[0], spec.minimum))
    high = int(min(bounds[1], spec.maximum))
    shared = w.build.tensors[value.tensor].codes
    w.env[op.outputs[0]] = w.clamped(value, op.outputs[0], (low, high), shared)


def _clamp_into(w: Walk, value: Value, target: Target) -> None:
    """Requantize where the target has another scale, then clamp."""
    assert target.params is not None
    activation, codes = clamp_of(target)
    same = (value.view, value.dtype) == (target.params, target.dtype)
    made: Value
    if same and codes is None:
        made = replace(value, name=target.name, view=None)
    elif codes is None:
        kind = ValueType(target.dtype, value.shape)
        made = w.build.make(target.name, kind, value.axes, Codes(target.params))
        w.build.node("quantize", [value.tensor], [made.tensor])
    elif activation:
        kind = ValueType(target.dtype, value.shape)
        made = w.build.make(target.name, kind, value.axes, Codes(target.params))
        w.build.node(activation.lower(), [value.tensor], [made.tensor])
    else:
        made = _clamp_any(w, value, target, codes, same)
    w.env[target.name] = replace(made, name=target.name)


def _clamp_any(w: Walk, value: Value, target: Target, codes: tuple[int, int], same: bool) -> Value:
    shared = Codes(target.params)
    if not same:
        kind = ValueType(target.dtype, value.shape)
        first = w.build.make(f"{target.name}/unclamped", kind, value.axes, shared, key="")
        w.build.node("quantize", [value.tensor], [first.tensor])
        value = first
    return w.clamped(value, target.name, codes, shared)


def _clamp_numbers(w: Walk, op: Op, value: Value, bounds: tuple[float, float]) -> None:
    names = {(0.0, math.inf): "relu", (0.0, 6.0): "relu6", (-1.0, 1.0): "relu_n1_to_1"}
    if bounds not in names:
        raise op.error(f"clamps float32 numbers to {list(bounds)}", "0 on, 0..6 or -1..1")
    made = w.build.make(op.outputs[0], w.kind(op), value.axes)
    w.build.node(names[bounds], [value.tensor], [made.tensor])
    w.env[op.outputs[0]] = made


def softmax(w: Walk, call: Call) -> None:
    """Softmax over one axis, which is made the last; before operator set 13 over all from it on."""
    op, x = call.op, call.given(0)
    opset = op.integer("opset", w.build.file.opset) if op.kind == "QLinearSoftmax" else None
    modern = (opset or w.build.file.opset) >= 13
    axis = op.integer("axis", -1 if modern else 1)
    if not -x.rank <= axis < x.rank:
        raise op.error(f"axis {axis} of {x.rank} axes", f"{-x.rank}..{x.rank - 1}")
    axis %= x.rank
    if not modern and elements(x.shape[axis:]) != x.shape[axis]:
        if elements(x.shape[axis:]) != x.shape[-1]:
            raise op.error(f"over {list(x.shape[axis:])} at once", "one axis (operator set 13 on)")
        axis = x.rank - 1
    axes = x.axes
    if axes[axis] != x.rank - 1:
        axes = _last(x.rank, axis)
    w.result(call, "softmax", [w.build.arranged(x, axes)], axes, {"beta": 1.0})


def _last(rank: int, axis: int) -> Axes:
    """The order in which ``axis`` is our last axis."""
    rest = [i for i in range(rank) if i != axis]
    return tuple(rank - 1 if i == axis else rest.index(i) for i in range(rank))
