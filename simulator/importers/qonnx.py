"""QONNX graphs: float operators between quantizers of any width (Quant, BipolarQuant, Trunc).

A product of codes is kept as its integer sums. What follows it in float32 (batch normalization, bias,
Relu, scales) up to the next quantizer is a function of the sum, monotone in each channel: it becomes
integer thresholds of that channel, and the whole stretch one operator. Where no quantizer follows, the
sums are dequantized and the rest is left to the host.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from simulator.errors import ModelError
from simulator.graph import Graph
from simulator.importers import _onnx_moves as moves
from simulator.importers import _onnx_windows as windows
from simulator.importers import _qonnx_joins as joins
from simulator.importers._onnx_build import IMAGE, Axes, Builder, Codes, Value, in_order
from simulator.importers._onnx_file import OnnxFile, Op, ValueType
from simulator.importers._onnx_products import DEPTHWISE, OHWI
from simulator.importers._onnx_shapes import Values
from simulator.importers._onnx_walk import Walk
from simulator.importers._onnx_windows import window
from simulator.importers._qonnx_functions import (
    MOST_BITS,
    Step,
    Sums,
    batch_normalization,
    thresholds,
)
from simulator.importers._qonnx_quantizers import (
    Described,
    constant_codes,
    described,
    parameter,
    per_channel,
)
from simulator.tensor import QuantParams, TensorSpec

# What a threshold of one channel takes while it is searched for, and what a function does of a channel.
_PER_LEVEL_BYTES = 80
_PER_CHANNEL_BYTES = 16

DOMAINS = ("onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general")
QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant", "Trunc")
_PRODUCTS = ("Conv", "MatMul", "Gemm")
_FUNCTIONS = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
_MOVES = {
    "MaxPool": windows.max_pool, "GlobalMaxPool": windows.global_max_pool,
    "Reshape": moves.reshape, "Flatten": moves.reshape, "Squeeze": moves.reshape,
    "Unsqueeze": moves.reshape, "Transpose": moves.transpose, "Identity": moves.identity,
    "Dropout": moves.identity,
}  # fmt: skip


def kind_of(op: Op) -> str:
    """Operator name without QONNX's domains."""
    domain, _, kind = op.kind.rpartition(".")
    return kind if domain in DOMAINS else op.kind


def is_qonnx(file: OnnxFile) -> bool:
    """Whether a file has QONNX quantizers."""
    return any(kind_of(op) in QUANTIZERS for op in file.ops)


def supported_operators() -> list[str]:
    """Operators of QONNX graphs this importer reads."""
    more = (
        "BatchNormalization", "Relu", "Clip", "Concat", "DepthToSpace", "Constant", "Shape",
        *joins.AVERAGES,
    )  # fmt: skip
    return sorted({*QUANTIZERS, *_PRODUCTS, *_FUNCTIONS, *_MOVES, *more})


CUSTOM_TYPES: dict[str, Any] = {
    f"{domain}.{kind}": lambda op, inputs: inputs[0] for domain in DOMAINS for kind in QUANTIZERS
}


class Reader:
    """The import of one QONNX file; lives for one call of ``read_onnx``."""

    def __init__(self, file: OnnxFile, values: Values) -> None:
        self.w = Walk(Builder(file), values)
        self.sums: dict[str, Sums] = {}

    def graph(self, inputs: tuple[str, ...], sha256: str) -> Graph:
        for op in self.w.values.ops:
            if op.index not in self.w.done:
                self._read(op)
        outputs = tuple(self._output(name) for name in self.w.build.file.outputs)
        return replace(self.w.build.graph(inputs, outputs, sha256), profile="qonnx")

    def _output(self, name: str) -> str:
        value = self._value(name)
        return self.w.in_file_order(self.w.build.real(value)).tensor

    def _read(self, op: Op) -> None:
        kind = kind_of(op)
        if kind in QUANTIZERS:
            self._quantizer(op, kind)
        elif kind in _PRODUCTS:
            self._product(op, kind)
        elif kind in joins.JOINS and not any(n in self.w.values.constants for n in op.inputs):
            joins.joined(self.w, op, self._value(op.input(0)), self._value(op.input(1)))
        elif kind in _FUNCTIONS or kind in ("BatchNormalization", "Relu", "Clip"):
            self._function(op, kind)
        elif kind in joins.AVERAGES:
            self.sums[op.outputs[0]] = joins.averaged(self.w, op, self._value(op.input(0)))
        elif kind == "Concat":
            joins.concatenated(self.w, op, [self._value(name) for name in op.inputs])
        elif kind in _MOVES or kind == "DepthToSpace":
            self._move(op, kind)
        else:
            raise op.error("is not supported", ", ".join(supported_operators()))

    def _value(self, name: str) -> Value:
        """A value that is made; sums become float32 numbers."""
        if name in self.sums and name not in self.w.env:
            self.w.env[name] = self._as_numbers(name, self.sums[name])
        value = self.w.value(name)
        if value is None:
            raise ModelError(
                self.w.build.file.name, "has an operator without an input", "all inputs"
            )
        return value

    def _pending(self, name: str) -> Sums | None:
        """The sums behind ``name``, if nothing but the caller reads them."""
        once = len(self.w.readers.get(name, ())) == 1
        return self.sums.get(name) if once and name not in self.w.build.file.outputs else None

    def _as_numbers(self, name: str, sums: Sums) -> Value:
        w = self.w
        w.allowance.objects(4 * sums.scales.size, sums.op.where)
        single = sums.scales[:1] if (sums.scales == sums.scales[0]).all() else sums.scales
        scales = tuple(float(np.float32(s)) for s in single)
        axis = sums.axes[1] if len(scales) > 1 else 0
        params = QuantParams(scales, (0,) * len(scales), axis)
        kind = ValueType("i32", sums.shape)
        made = w.build.make(f"{name}/sums", kind, sums.axes, Codes(params), key="")
        w.build.node(sums.operator, list(sums.inputs), [made.tensor], sums.attrs)
        view = replace(params, axis=1) if len(scales) > 1 else params
        names = [f"{name}/{what}" for what in ("numbers", *(s.operator for s in sums.steps))]
        if not sums.moves:
            names[-1] = name
        numbers = w.build.real(replace(made, view=view, name=names[0]))
        w.build.tensors[numbers.tensor].key = ""
        for step, made_name in zip(sums.steps, names[1:], strict=True):
            numbers = self._applied(numbers, step, made_name)
        w.env[sums.moves[0].input(0) if sums.moves else name] = numbers
        for op in sums.moves:
            self._moved(op)
        found = w.env[sums.moves[-1].outputs[0]] if sums.moves else numbers
        w.build.tensors[found.tensor].key = name
        return replace(found, name=name)

    def _applied(self, x: Value, step: Step, name: str) -> Value:
        """One float function on numbers, run by the host."""
        w = self.w
        shape = [1] * x.rank
        channels = 1 if step.uniform else step.parameter.size
        if x.rank > 1:
            shape[1] = channels
        elif channels > 1:
            where = f"{w.build.file.name}: {name}"
            raise ModelError(where, f"{channels} parameters for shape {list(x.shape)}", "one")
        constant = step.parameter[:channels].reshape(shape)
        operand = Value(f"{name}/operand", "f32", tuple(shape), constant=constant)
        made = w.build.make(name, ValueType("f32", x.shape), x.axes, key="")
        inputs = [x.tensor, w.build.constant(operand, x.axes)]
        extra = {} if step.operator in ("maximum", "minimum") else {"activation": "NONE"}
        w.build.node(step.operator, inputs, [made.tensor], extra)
        return made

    def _quantizer(self, op: Op, kind: str) -> None:
        value = self.w.env.get(op.input(0)) or (
            self.w.value(op.input(0)) if op.input(0) in self.w.values.constants else None
        )
        if value is not None and value.constant is not None:
            self.w.env[op.outputs[0]] = constant_codes(self.w, op, kind, value)
            return
        pending = self._pending(op.input(0))
        unsigned = pending is not None and pending.unsigned and len(pending.steps) == 1
        quantizer = described(self.w, op, kind, value, unsigned)
        arithmetic, params = quantizer.arithmetic, quantizer.params
        if pending is not None and TensorSpec((), quantizer.dtype).bits <= MOST_BITS:
            self._with_thresholds(op, pending, quantizer)
            return
        value = self._value(op.input(0))
        kind_made = ValueType(quantizer.dtype, value.shape)
        made = self.w.build.make(op.outputs[0], kind_made, value.axes, Codes(params))
        if value.view is not None:
            if int(value.dtype[1:]) > MOST_BITS:
                raise op.error(f"quantizes codes of {value.dtype[1:]} bits again", f"{MOST_BITS}")
            table = self._table(op, value, quantizer)
            self.w.build.node("table", [value.tensor, table], [made.tensor])
        else:
            attrs = {
                "minimum": arithmetic.minimum, "maximum": arithmetic.maximum,
                "clamps": int(arithmetic.clamps), "rounding": arithmetic.rounding,
                "divisors": arithmetic.divisors,
            }  # fmt: skip
            self.w.build.node("quant", [value.tensor], [made.tensor], attrs)
        self.w.env[op.outputs[0]] = replace(made, view=params)

    def _table(self, op: Op, value: Value, quantizer: Described) -> str:
        """The quantizer's code for every number that the type which holds ``value`` has."""
        assert value.view is not None
        held = TensorSpec((), value.dtype).container
        codes = np.arange(np.iinfo(held).min, np.iinfo(held).max + 1)
        real = (codes - value.view.zero_point).astype(np.float32) * np.float32(value.view.scale)
        made = quantizer.arithmetic.codes(real).astype(np.int64)
        table = Value(f"{op.outputs[0]}/table", quantizer.dtype, (codes.size,), constant=made)
        return self.w.build.constant(table, (0,))

    def _with_thresholds(self, op: Op, sums: Sums, quantizer: Described) -> None:
        """The product, the float functions after it and the quantizer as one operator."""
        w, output, arithmetic = self.w, op.outputs[0], quantizer.arithmetic
        spec = TensorSpec((), quantizer.dtype)
        levels = sums.bound.size * (arithmetic.maximum - arithmetic.minimum + 1)
        w.allowance.take(_PER_LEVEL_BYTES * levels, op.where)
        found = thresholds(
            lambda s: arithmetic.codes(sums.real(s)), spec, arithmetic.minimum, arithmetic.maximum,
            sums.bound,
        )  # fmt: skip
        operands = [
            w.build.constant(
                Value(f"{output}/{what}", "i64", v.shape, constant=v), in_order(v.ndim)
            )
            for what, v in (("thresholds", found.values), ("directions", found.directions))
        ]
        params = quantizer.params
        name, key = (f"{output}/unmoved", "") if sums.moves else (output, output)
        kind = ValueType(quantizer.dtype, sums.shape)
        made = w.build.make(name, kind, sums.axes, Codes(params), key=key)
        attrs = {**sums.attrs, "least": arithmetic.minimum}
        w.build.node(sums.operator, [*sums.inputs, "", *operands], [made.tensor], attrs)
        value = replace(made, view=params)
        if sums.moves:
            w.env[sums.moves[0].input(0)] = value
            for move in sums.moves:
                self._moved(move)
            value = w.env[sums.moves[-1].outputs[0]]
            w.build.tensors[value.tensor].key = output
        w.env[output] = replace(value, name=output)

    def _product(self, op: Op, kind: str) -> None:
        x, weights = self._value(op.input(0)), self._value(op.input(1))
        if weights.constant is None or weights.view is None:
            raise op.error("multiplies by numbers that no quantizer made", "quantized constants")
        if x.view is None or x.view.per_channel:
            self._float_product(op, kind, self.w.build.real(x), weights)
            return
        sums = self._convolution(op, x, weights) if kind == "Conv" else self._rows(op, x, weights)
        bias = self.w.array(op, 2, "bias") if len(op.inputs) > 2 else None
        if bias is not None:
            step = Step("add", per_channel(op, bias, len(sums.shape), sums.shape[1]))
            sums = replace(sums, steps=(step,))
        self.sums[op.outputs[0]] = sums

    def _float_product(self, op: Op, kind: str, x: Value, weights: Value) -> None:
        """A product of numbers by quantized weights, which only the host can make."""
        w = self.w
        if kind != "Conv":
            raise op.error(
                f"multiplies float32 numbers ({x.name!r})", "codes: quantize the input as well"
            )
        sums = self._convolution(op, x, weights)
        if sums.operator != "conv_2d":
            raise op.error("is a depthwise convolution of float32 numbers", "of codes")
        real = w.build.arranged(w.build.real(weights), OHWI)
        made = w.build.make(
            f"{op.outputs[0]}/products", ValueType("f32", sums.shape), IMAGE, key=""
        )
        w.build.node("float_conv_2d", [sums.inputs[0], real], [made.tensor], sums.attrs)
        bias = w.array(op, 2, "bias") if len(op.inputs) > 2 else np.zeros(1, np.float32)
        assert bias is not None
        step = Step("add", per_channel(op, bias, 4, sums.shape[1]))
        value = self._applied(made, step, op.outputs[0])
        w.build.tensors[value.tensor].key = op.outputs[0]
        w.env[op.outputs[0]] = value

    def _convolution(self, op: Op, x: Value, weights: Value) -> Sums:
        if x.rank != 4 or weights.rank != 4:
            raise op.error(f"convolves {list(x.shape)} by {list(weights.shape)}", "4 dimensions")
        groups, (out_c, in_c) = op.integer("group", 1), weights.shape[:2]
        if groups < 1 or x.shape[1] != groups * in_c or out_c % groups:
            raise op.error(f"has {groups} groups, {x.shape[1]} channels", "groups that divide both")
        attrs = {**window(op, x.shape[2:], weights.shape[2:]), "activation": "NONE"}
        depthwise = groups == x.shape[1] and groups > 1
        operator, axes = ("depthwise_conv_2d", DEPTHWISE) if depthwise else ("conv_2d", OHWI)
        inputs = (self.w.build.arranged(x, IMAGE), self.w.build.arranged(weights, axes))
        shape = self.w.kind(op).shape
        return self._summed(op, operator, inputs, attrs, IMAGE, shape, x, weights)

    def _rows(self, op: Op, x: Value, weights: Value) -> Sums:
        for key in ("alpha", "beta"):
            if op.real(key, 1.0) != 1.0:
                raise op.error(f"{key} = {op.real(key, 1.0)}", "1")
        if op.integer("transA", 0) or x.rank != 2 or weights.rank != 2:
            raise op.error(f"multiplies {list(x.shape)} by {list(weights.shape)}", "two matrices")
        if not op.integer("transB", 0):
            weights = self._turned(weights)
        if weights.shape[1] != x.shape[1]:
            raise op.error(f"multiplies {list(x.shape)} by {list(weights.shape)}", "equal lengths")
        attrs = {"keep_dims": 0, "weights_format": "DEFAULT", "activation": "NONE"}
        x_name = self.w.build.arranged(x, in_order(2))
        inputs = (x_name, self.w.build.constant(weights, in_order(2), weights.view))
        shape = self.w.kind(op).shape
        return self._summed(op, "fully_connected", inputs, attrs, in_order(2), shape, x, weights)

    @staticmethod
    def _turned(value: Value) -> Value:
        assert value.constant is not None
        assert value.view is not None
        view = (
            replace(value.view, axis=1 - value.view.axis) if value.view.per_channel else value.view
        )
        return replace(
            value, shape=value.shape[::-1], constant=value.constant.T, view=view, axes=in_order(2)
        )

    def _summed(
        self, op: Op, operator: str, inputs: tuple[str, ...], attrs: dict[str, Any], axes: Axes,
        shape: tuple[int, ...], x: Value, weights: Value,
    ) -> Sums:  # fmt: skip
        assert weights.constant is not None
        assert weights.view is not None
        if weights.view.per_channel and weights.view.axis != 0:
            raise op.error("weights have scales along another axis", "one per output channel")
        if x.view is None:
            nothing = np.broadcast_to(0.0, shape[1])
            return Sums(op, operator, inputs, attrs, axes, shape, nothing, nothing)
        spec = TensorSpec((), x.dtype)
        reach = max(abs(spec.minimum - x.view.zero_point), abs(spec.maximum - x.view.zero_point))
        self.w.allowance.take(16 * weights.constant.size, op.where)
        sizes = np.abs(weights.constant.astype(np.int64) - weights.view.zero_point)
        bound = sizes.reshape(sizes.shape[0], -1).sum(axis=1) * reach
        scales = np.broadcast_to(np.array(weights.view.scales) * x.view.scale, shape[1])
        return Sums(op, operator, inputs, attrs, axes, shape, scales, bound)

    def _function(self, op: Op, kind: str) -> None:
        name = op.input(0)
        if kind in ("Add", "Mul") and name in self.w.values.constants:
            name = op.input(1)
        shape = self.w.kind(op).shape
        known = self.w.values.types.get(name)
        if known is not None and known.shape != shape:
            problem = f"makes {list(shape)} of {list(known.shape)} and a constant"
            raise op.error(problem, "constants that broadcast to the activation")
        channels = shape[1] if len(shape) > 1 else 1
        self.w.allowance.take(_PER_CHANNEL_BYTES * channels, op.where)
        steps = self._steps(op, kind, name, len(shape), channels)
        pending = self._pending(name)
        if pending is not None and (not pending.moves or all(step.uniform for step in steps)):
            if pending.moves:  # the channels of the product, not of what it was moved to
                count = pending.shape[1]
                steps = [Step(s.operator, np.broadcast_to(s.parameter[:1], count)) for s in steps]
            self.sums[op.outputs[0]] = replace(pending, steps=(*pending.steps, *steps))
            return
        value = self.w.build.real(self._value(name))
        for i, step in enumerate(steps):
            last = i == len(steps) - 1
            made = op.outputs[0] if last else f"{op.outputs[0]}/{i}"
            value = self._applied(value, step, made)
        self.w.build.tensors[value.tensor].key = op.outputs[0]
        self.w.env[op.outputs[0]] = replace(value, name=op.outputs[0])

    def _steps(self, op: Op, kind: str, name: str, rank: int, channels: int) -> list[Step]:
        if kind in ("Relu", "Clip"):
            bounds = self.w.bounds(op)
            assert bounds is not None
            named = zip(("maximum", "minimum"), bounds, strict=True)
            return [
                Step(operator, np.full(channels, bound, np.float32))
                for operator, bound in named if np.isfinite(bound)
            ]  # fmt: skip
        if kind == "BatchNormalization":
            arrays = [parameter(self.w, op, i, "parameter").astype(np.float32) for i in range(1, 5)]
            sizes = [values.size for values in arrays]
            if rank < 2 or set(sizes) != {channels}:
                problem = f"has {sizes} parameters for {channels} channels of {rank} dimensions"
                raise op.error(problem, "one for each")
            factor, offset = batch_normalization(
                arrays[0], arrays[1], arrays[2], arrays[3], op.real("epsilon", 1e-5)
            )
            return [Step("mul", factor.reshape(-1)), Step("add", offset.reshape(-1))]
        other = op.input(1) if name == op.input(0) else op.input(0)
        if other not in self.w.values.constants:
            raise op.error("joins two activations, or a constant and one", "a constant second")
        values = parameter(self.w, op, op.inputs.index(other), "parameter")
        return [Step(_FUNCTIONS[kind], per_channel(op, values, rank, channels))]

    def _move(self, op: Op, kind: str) -> None:
        pending = self._pending(op.input(0))
        if pending is not None and pending.uniform and not kind.endswith("MaxPool"):
            self.sums[op.outputs[0]] = replace(pending, moves=(*pending.moves, op))
            return
        self._value(op.input(0))
        self._moved(op)

    def _moved(self, op: Op) -> None:
        kind = kind_of(op)
        if kind == "DepthToSpace":
            joins.depth_to_space(self.w, op)
        else:
            _MOVES[kind](self.w, op)
