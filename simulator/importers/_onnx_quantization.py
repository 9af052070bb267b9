"""Operators that make codes of numbers and numbers of codes, and the QOperator forms of the others."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from simulator.importers._onnx_build import QUANTIZED_BYTES, Codes, Value, quantized
from simulator.importers._onnx_file import Op, printable
from simulator.importers._onnx_walk import Call, Target, Walk, fitting
from simulator.tensor import QuantParams


def quantize_linear(w: Walk, op: Op) -> None:
    """float32 to codes; codes of the very same parameters seen as float32 are those codes again."""
    value, kind = w.given(op, 0), w.kind(op)
    if op.integer("block_size", 0):
        raise op.error("is quantized in blocks", "one scale, or one per channel")
    if w.file_dtype(value) != "f32":
        raise op.error(f"quantizes {w.file_dtype(value)}", "f32")
    constant = value.constant is not None
    axis = op.integer("axis", 1)
    params = w.params(op, 1, kind.dtype, value.rank, axis, constant)
    output = op.outputs[0]
    if constant:
        fitting(op, params, value)
        w.allowance.take(QUANTIZED_BYTES * math.prod(value.shape), op.where)
        numbers = w.build.real(value).constant
        assert numbers is not None
        codes = quantized(numbers, params, kind.dtype)
        w.env[output] = Value(output, kind.dtype, value.shape, axes=value.axes, constant=codes)
        return
    if params.per_channel:
        raise op.error(f"gives an activation {len(params.scales)} scales", "one scale")
    if value.view == params and value.dtype == kind.dtype:
        w.env[output] = replace(value, name=output, view=None)
        return
    if value.view is not None and not value.quantized:
        value = w.build.real(value)
    made = w.build.make(output, kind, value.axes, Codes(params))
    w.build.node("quantize", [value.tensor], [made.tensor])
    w.env[output] = made


def dequantize_linear(w: Walk, op: Op) -> None:
    """Codes seen as float32; no node until something reads them as float32."""
    if op.integer("block_size", 0):
        raise op.error("is quantized in blocks", "one scale, or one per channel")
    if w.kind(op).dtype != "f32":
        raise op.error(f"dequantizes to {w.kind(op).dtype}", "f32")
    seen = w.view(op, 0, op.integer("axis", 1))
    # A constant goes on by the name of its codes: those are what the graph holds.
    w.env[op.outputs[0]] = seen if seen.constant is not None else replace(seen, name=op.outputs[0])


def dynamic_quantize_linear(w: Walk, op: Op) -> None:
    """float32 to codes, their scale and their zero point, all three made at run time."""
    value = w.build.real(w.given(op, 0))
    if value.constant is not None:
        raise op.error(f"input {printable(value.name)!r} is a constant", "an activation")
    tensors = []
    for index, axes in enumerate((value.axes, (), ())):
        if index >= len(op.outputs) or not op.outputs[index]:
            raise op.error(f"has {len(op.outputs)} outputs", "3")
        made = w.build.make(op.outputs[index], w.kind(op, index), axes, Codes(dynamic=index != 1))
        w.env[op.outputs[index]] = made
        tensors.append(made.tensor)
    w.build.node("dynamic_quantize", [value.tensor], tensors)


class QForm(NamedTuple):
    """A QOperator: its float operator, first inputs of (codes, scale, zero point), and others."""

    kind: str
    operands: tuple[int, ...]
    # Scale and zero point of the output.
    output: int
    bias: int | None = None


QOPERATORS: dict[str, QForm] = {
    "QLinearConv": QForm("Conv", (0, 3), 6, 8),
    "QLinearMatMul": QForm("MatMul", (0, 3), 6),
    "QGemm": QForm("Gemm", (0, 3), 7, 6),
    "QLinearAdd": QForm("Add", (0, 3), 6),
    "QLinearMul": QForm("Mul", (0, 3), 6),
    "QLinearAveragePool": QForm("AveragePool", (0,), 3),
    "QLinearGlobalAveragePool": QForm("GlobalAveragePool", (0,), 3),
    "QLinearSigmoid": QForm("Sigmoid", (0,), 3),
    "QLinearLeakyRelu": QForm("LeakyRelu", (0,), 3),
    "QLinearSoftmax": QForm("Softmax", (0,), 3),
}


def _weight_axis(kind: str, rank: int, transposed: bool) -> int:
    """The axis along which a QOperator's several scales of its second operand run."""
    if kind == "Conv" or (kind == "Gemm" and transposed):
        return 0
    return rank - 1


def qoperator(w: Walk, op: Op) -> Call:
    """A QOperator as the call of its float operator."""
    if op.integer("channels_last", 0):
        raise op.error("holds its images channels last", "channels_last = 0")
    if op.kind == "QLinearConcat":
        return _concat(w, op)
    form = QOPERATORS[op.kind]
    transposed = bool(op.integer("transB", 0))
    operands: list[Value | None] = [
        w.view(op, index, _weight_axis(form.kind, w.given(op, index).rank, transposed))
        for index in form.operands
    ]
    if form.bias is not None:
        operands.append(w.value(op.input(form.bias)))
    kind, output = w.kind(op), op.outputs[0]
    params: QuantParams | None = None
    if op.kind != "QGemm" or op.input(form.output):
        params = w.params(op, form.output, kind.dtype, len(kind.shape), 0, False)
        if params.per_channel:
            raise op.error(f"gives an activation {len(params.scales)} scales", "one scale")
    return Call(op, form.kind, tuple(operands), Target(output, kind.dtype, params))


def _concat(w: Walk, op: Op) -> Call:
    kind = w.kind(op)
    operands = tuple(w.view(op, index, 0) for index in range(2, len(op.inputs), 3))
    params = w.params(op, 0, kind.dtype, len(kind.shape), 0, False)
    return Call(op, "Concat", operands, Target(op.outputs[0], kind.dtype, params))
