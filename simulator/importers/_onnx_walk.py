"""What the readers of single operators share: the values so far, and what follows an operator.

A quantized operator is written in two ways: as one operator with its scales among the inputs
(QOperator), or as a float operator between DequantizeLinear and QuantizeLinear (QDQ). Both become one
:class:`Call`, and one function per operator makes nodes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from simulator.errors import ModelError
from simulator.importers._memory import Allowance
from simulator.importers._onnx_build import (
    Attrs,
    Axes,
    Builder,
    Codes,
    Value,
    in_order,
    moved_params,
    quantized,
)
from simulator.importers._onnx_file import Op, ValueType, printable
from simulator.importers._onnx_shapes import Values
from simulator.tensor import QuantParams, TensorSpec

# As for .tflite files: within these float32 neither overflows nor loses bits where scales meet.
LARGEST_SCALE = 2.0**60
SMALLEST_ACTIVATION_SCALE = 2.0**-100

# Types that have a scale and a zero point; i32 is that of sums and biases.
CODES = ("i4", "u4", "i8", "u8", "i16", "u16", "i32")
# Operators whose attribute ``activation`` clamps the output.
_CLAMPING = {
    "conv_2d", "depthwise_conv_2d", "fully_connected", "add", "sub", "mul",
}  # fmt: skip
_INFINITE = (-math.inf, math.inf)
_ACTIVATIONS = {
    (0.0, math.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Where an operator's result goes: codes with ``params``, or float32 where there are none.

    ``clamp`` are real bounds from a Relu or Clip on the way.
    """

    name: str
    dtype: str
    params: QuantParams | None
    clamp: tuple[float, float] = _INFINITE


@dataclass(frozen=True)
class Call:
    """One operator by its float name with all it reads; '' operands are None.

    ``alone``: the runtime computes it in float32 between codes, joined to nothing. ``unsigned``: it
    computes the int8 codes as uint8 ones, and that shows.
    """

    op: Op
    kind: str
    inputs: tuple[Value | None, ...]
    target: Target
    alone: bool = False
    unsigned: bool = False

    @property
    def quantized(self) -> bool:
        return self.target.params is not None

    def given(self, index: int) -> Value:
        """An input that must be there."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise self.op.error(f"has no input {index}", "all its inputs")
        return value


@dataclass
class Walk:
    """The import of one file, node by node."""

    build: Builder
    values: Values
    real_products: bool = False  # of float32 numbers, in a model yet to be quantized
    env: dict[str, Value] = field(default_factory=dict)
    readers: dict[str, list[Op]] = field(default_factory=dict)
    makers: dict[str, Op] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for op in self.values.ops:
            for name in set(op.inputs):
                self.readers.setdefault(name, []).append(op)
            self.makers |= dict.fromkeys(op.outputs, op)

    def uses(self, name: str) -> int:
        """How often a value is read, being a graph output counted."""
        read = sum(op.inputs.count(name) for op in self.readers.get(name, ()))
        return read + (name in self.build.file.outputs)

    @property
    def allowance(self) -> Allowance:
        """What reading the file may still make."""
        return self.build.file.allowance

    def value(self, name: str) -> Value | None:
        """A value by its name in the file; None for an input that is left out."""
        if not name:
            return None
        if name not in self.env and name in self.values.constants:
            known = self.values.constants[name]
            axes = in_order(known.values.ndim)
            self.env[name] = Value(
                name, known.dtype, known.values.shape, axes=axes, constant=known.values
            )
        if name not in self.env:
            problem = f"value {printable(name)!r} is made by no node, or is not read from it"
            raise ModelError(self.build.file.name, problem)
        return self.env[name]

    def given(self, op: Op, index: int) -> Value:
        """An input that must be there."""
        value = self.value(op.input(index))
        if value is None:
            raise op.error(f"has no input {index}", "all its inputs")
        return value

    def kind(self, op: Op, output: int = 0) -> ValueType:
        return self.values.types[op.outputs[output]]

    def array(self, op: Op, index: int, what: str) -> np.ndarray | None:
        """An input that says how to do it, and so must be a constant; None where it is left out."""
        name = op.input(index)
        if not name:
            return None
        value = self.value(name)
        if value is None or value.constant is None or value.view is not None:
            raise op.error(f"{what} {printable(name)!r} is made at run time", "a constant")
        return value.constant

    def numbers(self, op: Op, index: int, attribute: str, what: str) -> tuple[int, ...] | None:
        """Integers from an attribute (older operator sets) or else from an input."""
        stated = op.integers(attribute)
        if stated is not None:
            return stated
        found = self.array(op, index, what)
        if found is None:
            return None
        if found.dtype.kind not in "iu":
            raise op.error(f"{what} are {found.dtype}", "integers")
        self.allowance.objects(found.size, op.where)
        return tuple(int(v) for v in found.reshape(-1))

    def alias(self, op: Op, value: Value) -> None:
        """The output is its input under another name."""
        self.env[op.outputs[0]] = replace(value, name=op.outputs[0])

    # --- quantization parameters -------------------------------------------------------------

    def params(
        self, op: Op, scale: int, dtype: str, rank: int, axis: int, weights: bool
    ) -> QuantParams:  # fmt: skip
        """Input ``scale`` and the zero point after it, for codes of ``dtype`` with ``rank`` axes."""
        if dtype not in CODES:
            raise op.error(f"its codes are {dtype}", ", ".join(CODES))
        scales = self.array(op, scale, "scale")
        if scales is None:
            raise op.error("has no scale", "a scale")
        points = self.array(op, scale + 1, "zero point")
        if points is None:
            points = np.zeros(scales.shape, np.int64)
        elif (given := self.given(op, scale + 1).dtype) != dtype:
            raise op.error(f"its zero point is {given}, its codes {dtype}", "one type")
        if scales.ndim > 1 or points.ndim > 1 or op.integer("block_size", 0):
            raise op.error("is quantized in blocks", "one scale, or one per channel")
        if scales.dtype != np.float32:
            raise op.error(f"its scale is {scales.dtype}", "float32")
        self.allowance.objects(4 * scales.size, op.where)
        if points.size not in (1, scales.size):
            raise op.error(f"has {scales.size} scales and {points.size} zero points", "as many")
        smallest = 0.0 if weights else SMALLEST_ACTIVATION_SCALE
        for s in scales.reshape(-1):
            if not (math.isfinite(s) and smallest <= s <= LARGEST_SCALE and s > 0):
                allowed = f"above 0, {smallest:.3g} to {LARGEST_SCALE:.3g}"
                raise op.error(f"scale {float(s)}", allowed)
        several = scales.size > 1
        if several and not -rank <= axis < rank:
            raise op.error(f"scales along axis {axis} of {rank} axes", f"{-rank}..{rank - 1}")
        found = [int(z) for z in np.broadcast_to(points.reshape(-1), scales.size)]
        return QuantParams(
            tuple(float(s) for s in scales.reshape(-1)), tuple(found), axis % rank if several else 0
        )

    def view(self, op: Op, index: int, axis: int) -> Value:
        """Input ``index`` of codes seen with the scale and zero point of the two inputs after it."""
        value = self.given(op, index)
        if value.view is not None or value.dtype in ("f32", "f16", "f64", "bool"):
            raise op.error(f"input {printable(value.name)!r} is {self.file_dtype(value)}", "codes")
        params = self.params(
            op, index + 1, value.dtype, value.rank, axis, value.constant is not None
        )
        fitting(op, params, value)
        ours = moved_params(params, value.axes) or params
        return replace(self.build.stated(value, ours), view=params)

    @staticmethod
    def file_dtype(value: Value) -> str:
        """The type the file gives a value: what we keep as codes may be float32 there."""
        return "f32" if value.view is not None else value.dtype

    # --- layout ------------------------------------------------------------------------------

    def in_file_order(self, value: Value) -> Value:
        return self.arranged(value, in_order(value.rank))

    def arranged(self, value: Value, axes: Axes) -> Value:
        """``value`` kept in the order ``axes``."""
        if value.constant is not None:
            return value
        return replace(value, tensor=self.build.arranged(value, axes), axes=axes)

    # --- what follows ------------------------------------------------------------------------

    def target(self, op: Op, clamp: tuple[float, float] = _INFINITE) -> Target | None:
        """The quantized tensor ``op``'s output ends in, if nothing else reads what is between.

        The nodes between count as done from here on: the caller makes the target.
        """
        name, passed = op.outputs[0], list[int]()
        while name not in self.build.file.outputs and len(self.readers.get(name, ())) == 1:
            reader = self.readers[name][0]
            if reader.kind == "QuantizeLinear" and reader.input(0) == name:
                dtype = self.kind(reader).dtype
                rank = len(self.kind(reader).shape)
                params = self.params(reader, 1, dtype, rank, reader.integer("axis", 1), False)
                if params.per_channel:
                    return None
                self.done.update((*passed, reader.index))
                return Target(reader.outputs[0], dtype, params, clamp)
            bounds = self.bounds(reader)
            if bounds is None or reader.input(0) != name:
                return None
            clamp = (held(clamp[0], bounds), held(clamp[1], bounds))
            passed.append(reader.index)
            name = reader.outputs[0]
        return None

    def bounds(self, op: Op) -> tuple[float, float] | None:
        """The real bounds of a Relu or Clip; None for other operators."""
        if op.kind == "Relu":
            return (0.0, math.inf)
        if op.kind != "Clip":
            return None
        found = list(_INFINITE)
        for place, (index, key) in enumerate(((1, "min"), (2, "max"))):
            if key in op.attrs:
                found[place] = op.real(key, 0.0)
            elif (stated := self.array(op, index, "bound")) is not None:
                if stated.size != 1 or np.isnan(stated).any():
                    raise op.error(f"bound {stated.tolist()}", "one number")
                found[place] = float(stated.reshape(())[()])
        return found[0], found[1]

    # --- making nodes ------------------------------------------------------------------------

    def result(
        self, call: Call, operator: str, inputs: list[str], axes: Axes, attrs: Attrs
    ) -> None:  # fmt: skip
        """The node of a call, its output kept in ``axes``; after it the clamp it cannot do itself."""
        target = call.target
        kind = ValueType(target.dtype, self.kind(call.op).shape)
        activation, codes = clamp_of(target)
        if operator in _CLAMPING:
            attrs = {**attrs, "activation": activation or "NONE"}
        if call.alone:
            attrs = {**attrs, "arithmetic": "float"}
        if call.unsigned:
            attrs = {**attrs, "unsigned": 1}
        shared = Codes(target.params)
        if codes is None or (activation and operator in _CLAMPING):
            made = self.build.make(target.name, kind, axes, shared)
            self.build.node(operator, inputs, [made.tensor], attrs)
        else:
            first = self.build.make(f"{target.name}/unclamped", kind, axes, shared, key="")
            self.build.node(operator, inputs, [first.tensor], attrs)
            made = self.clamped(first, target.name, codes, shared)
        self.env[target.name] = replace(made, name=target.name)

    def movable(self, value: Value) -> Value:
        """``value`` as operators take it that only move elements: codes of one scale, or numbers."""
        if value.constant is not None:
            name = self.build.arranged(value, in_order(value.rank))
            return replace(value, tensor=name, axes=in_order(value.rank), constant=None)
        per_channel = value.view is not None and value.view.per_channel
        return self.build.real(value) if per_channel else value

    def moved(
        self, op: Op, operator: str, value: Value, attrs: Attrs, more: tuple[str, ...] = (),
        order: Axes | None = None,
    ) -> None:  # fmt: skip
        """A node that moves the elements of ``value``; its output is in ``order``, or as its input.

        The output has the input's quantization. Where QuantizeLinear follows and states the same one,
        the output is that one's.
        """
        made = self.moved_output(op, op.outputs[0], value, value.axes if order is None else order)
        self.build.node(operator, [value.tensor, *more], [made.tensor], attrs)

    def moved_output(self, op: Op, name: str, value: Value, order: Axes, output: int = 0) -> Value:
        """The tensor for what ``op`` makes of ``value`` by moving its elements."""
        kind = ValueType(value.dtype, self.kind(op, output).shape)
        own, key = name, name
        if value.view is not None:
            again = self.same_codes(name, value)
            own, key = (again, again) if again else (f"{name}/codes", "")
        codes = Codes() if value.dtype == "f32" else self.build.tensors[value.tensor].codes
        made = self.build.make(own, kind, order, codes, key)
        self.env[name] = replace(made, name=name, view=value.view)
        return made

    def same_codes(self, name: str, value: Value) -> str:
        """The QuantizeLinear output that holds ``value``'s codes of the number ``name``; '' if none."""
        readers = self.readers.get(name, [])
        if name in self.build.file.outputs or len(readers) != 1:
            return ""
        reader = readers[0]
        if reader.kind != "QuantizeLinear" or reader.input(0) != name:
            return ""
        dtype, axis = self.kind(reader).dtype, reader.integer("axis", 1)
        params = self.params(reader, 1, dtype, value.rank, axis, False)
        return reader.outputs[0] if (params, dtype) == (value.view, value.dtype) else ""

    def float_call(self, op: Op, inputs: tuple[Value | None, ...]) -> Call:
        """``op`` on float32 numbers."""
        real = []
        for value in inputs:
            real.append(None if value is None else self.build.real(value))
            if real[-1] is not None and real[-1].dtype != "f32":
                given = real[-1]
                raise op.error(f"input {printable(given.name)!r} is {given.dtype}", "f32")
        return Call(op, op.kind, tuple(real), Target(op.outputs[0], "f32", None))

    def clamped(
        self, value: Value, name: str, codes: tuple[int, int], shared: Codes, key: str | None = None
    ) -> Value:
        """``value``'s codes held between two codes."""
        kind = ValueType(value.dtype, value.shape)
        made = self.build.make(name, kind, value.axes, shared, key)
        bounds: Attrs = {"clamp_min": codes[0], "clamp_max": codes[1]}
        self.build.node("clip", [value.tensor], [made.tensor], bounds)
        return made


def fitting(op: Op, params: QuantParams, value: Value) -> None:
    """An error unless there is one scale, or one for each place of ``value`` along their axis."""
    if params.per_channel and value.shape[params.axis] != len(params.scales):
        raise op.error(
            f"{len(params.scales)} scales along axis {params.axis} of {list(value.shape)}",
            f"1 or {value.shape[params.axis]}",
        )


def held(value: float, bounds: tuple[float, float]) -> float:
    """``value`` as Clip leaves it; its upper bound wins where the two cross."""
    return min(max(value, bounds[0]), bounds[1])


def clamp_of(target: Target) -> tuple[str, tuple[int, int] | None]:
    """A target's clamp as a fused activation's name ('' if it has none) and as codes.

    ``QuantizeLinear`` is monotone, so clamping before it equals clamping its codes between the codes of
    the bounds. Bounds at or beyond the type's ends clamp nothing: ('', None).
    """
    if target.params is None or target.clamp == _INFINITE:
        return "", None
    spec = TensorSpec((1,), target.dtype)
    bounds = quantized(np.array(target.clamp, np.float32), target.params, target.dtype)
    low, high = int(bounds[0]), int(bounds[1])
    if (low, high) == (spec.minimum, spec.maximum):
        return "", None
    if target.clamp[0] == 0.0 and high == spec.maximum:
        return "RELU", (low, high)
    return _ACTIVATIONS.get(target.clamp, ""), (low, high)


Reader = Callable[[Walk, Call], None]


def unsupported(op: Op, allowed: list[str]) -> ModelError:
    """The error for an operator that nothing reads."""
    return op.error("is not supported", ", ".join(allowed))
