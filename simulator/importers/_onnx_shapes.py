"""Types of all values of a file, and the values that depend on constants alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, TypeProto, helper
from onnx.reference import ReferenceEvaluator

from simulator.importers._onnx_file import (
    NUMBER_OF,
    Constant,
    OnnxFile,
    Op,
    ValueType,
    checked_type,
    element_bits,
    printable,
)

# Operators on shapes and small tables that exporters leave behind: each has one output whose size
# follows from its inputs, and none runs user code.
_FOLDED = frozenset({
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "Div", "Equal", "Exp",
    "Expand", "Flatten", "Floor", "Gather", "Greater", "Identity", "Less", "Max", "Min", "Mod", "Mul",
    "Neg", "Not", "Or", "Pad", "Pow", "Range", "Reciprocal", "ReduceMax", "ReduceMin", "ReduceProd",
    "ReduceSum", "Reshape", "Slice", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze",
    "Where",
})  # fmt: skip
# What evaluating a node takes for each byte of its output: numpy's values between, and the output itself.
_PER_FOLDED_BYTE = 3
# Constants whose values shape inference may look at: shapes, axes, bounds.
_MOST_SHAPE_DATA = 1 << 12

# Operators without (useful) inference of their own: the float operator of the same shape, and which
# inputs are that one's. None for all of them.
_SAME_SHAPE: dict[str, tuple[str, tuple[int, ...]]] = {
    "QLinearConv": ("Conv", (0, 3)),
    "QLinearMatMul": ("MatMul", (0, 3)),
    "QGemm": ("Gemm", (0, 3)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearSigmoid": ("Identity", (0,)),
    "QLinearLeakyRelu": ("Identity", (0,)),
    "QLinearSoftmax": ("Identity", (0,)),
    "QuantizeLinear": ("Identity", (0,)),
    "DequantizeLinear": ("Identity", (0,)),
}
# Where the zero point stands that gives the output its type.
_OUTPUT_ZERO_POINT = {
    "QLinearConv": 7, "QLinearMatMul": 7, "QGemm": 8, "QLinearAdd": 7, "QLinearMul": 7,
    "QuantizeLinear": 2,
}  # fmt: skip
_ONLY_IN_FLOAT = (
    "opset",
    "channels_last",
    "axis",
    "alpha",
    "block_size",
    "output_dtype",
    "saturate",
)


@dataclass(frozen=True)
class Values:
    """What is known of every value: a constant, or the type of what is made at run time."""

    constants: dict[str, Constant]
    types: dict[str, ValueType]
    # The nodes that are left to run.
    ops: tuple[Op, ...]


def propagate(
    file: OnnxFile, custom: dict[str, Callable[[Op, list[ValueType]], ValueType]], supported: str
) -> Values:
    """Types and constants of all values.

    ``custom``: the output type of operators of other domains; ``supported``: what an error names.
    """
    return _Propagation(file, custom, supported).run()


class _Propagation:
    """One walk over the nodes; lives for one call of :func:`propagate`."""

    def __init__(
        self, file: OnnxFile, custom: dict[str, Callable[..., ValueType]], supported: str
    ) -> None:
        self.file, self.custom, self.supported = file, custom, supported
        self.constants = dict(file.constants)
        self.types = dict(file.inputs)
        self.context = onnx.checker.C.CheckerContext()
        self.context.ir_version = onnx.IR_VERSION
        self.context.opset_imports = {"": file.opset}

    def run(self) -> Values:
        left = []
        for op in self.file.ops:
            for name in op.inputs:
                if name and name not in self.constants and name not in self.types:
                    problem = f"input {printable(name)!r} is neither a constant nor made before it"
                    raise op.error(problem)
            for name in op.outputs:
                if name in self.constants or name in self.types:
                    raise op.error(f"value {printable(name)!r} is made twice")
            if not self._constant(op):
                self.types.update(self._infer(op))
                left.append(op)
        return Values(self.constants, self.types, tuple(left))

    def _constant(self, op: Op) -> bool:
        """Whether the value needs no run; then it is among the constants."""
        output = op.outputs[0] if op.outputs else ""
        if op.kind == "Constant":
            self.constants[output] = _stated(op)
        elif op.kind in ("Shape", "Size") and op.input(0):
            shape = self._shape(op.input(0))
            if op.kind == "Size":
                found = np.array(math.prod(shape), np.int64)
            else:
                end = op.integer("end", len(shape))
                found = np.array(shape[op.integer("start", 0) : end], np.int64)
            self.constants[output] = Constant(found, "i64")
        elif op.kind in _FOLDED and op.inputs and all(n in self.constants for n in op.inputs if n):
            self.constants[output] = self._evaluate(op)
        else:
            return False
        return True

    def _shape(self, name: str) -> tuple[int, ...]:
        known = self.constants.get(name)
        return known.values.shape if known else self.types[name].shape

    def _type(self, name: str) -> ValueType:
        known = self.constants.get(name)
        return ValueType(known.dtype, known.values.shape) if known else self.types[name]

    def _infer(self, op: Op) -> dict[str, ValueType]:
        if op.kind in self.custom:
            if not op.input(0) or not op.outputs or not op.outputs[0]:
                raise op.error("has too few inputs or outputs", "an input and an output")
            inputs = [self._type(n) for n in op.inputs if n]
            return {op.outputs[0]: self.custom[op.kind](op, inputs)}
        if op.kind == "QLinearConcat":
            return self._concatenated(op)
        if op.kind in _SAME_SHAPE:
            return self._as_float(op)
        return self._standard(op, op.proto, {n: self._type(n) for n in op.inputs if n})

    def _as_float(self, op: Op) -> dict[str, ValueType]:
        """Shape of the float operator that ``op`` is the quantized form of; type of its zero point."""
        kind, positions = _SAME_SHAPE[op.kind]
        names = [op.input(p) for p in positions]
        if "" in names or not op.outputs or not op.outputs[0]:
            raise op.error(
                "has too few inputs or outputs", f"inputs {list(positions)} and an output"
            )
        proto = helper.make_node(kind, names, [op.outputs[0]])
        if kind != "Identity":
            proto.attribute.extend(a for a in op.proto.attribute if a.name not in _ONLY_IN_FLOAT)
        inputs = {n: ValueType("f32", self._shape(n)) for n in names}
        shape = self._standard(op, proto, inputs)[op.outputs[0]].shape
        return {op.outputs[0]: ValueType(self._output_dtype(op), shape)}

    def _output_dtype(self, op: Op) -> str:
        if op.kind == "DequantizeLinear":
            if not op.input(1):
                raise op.error("has no scale", "a scale")
            return self._type(op.input(1)).dtype
        if op.kind == "QGemm" and not op.input(7):
            return "f32"
        if op.kind in _OUTPUT_ZERO_POINT:
            zero_point = op.input(_OUTPUT_ZERO_POINT[op.kind])
            if zero_point:
                return self._type(zero_point).dtype
            number = op.integer("output_dtype", 0) or TensorProto.UINT8
            return checked_type(number, (), op.where).dtype
        return self._type(op.input(0)).dtype

    def _concatenated(self, op: Op) -> dict[str, ValueType]:
        """QLinearConcat: output scale and zero point, then (tensor, scale, zero point) of each input."""
        names = [op.input(i) for i in range(2, len(op.inputs), 3)]
        if len(op.inputs) < 5 or len(op.inputs) % 3 != 2 or "" in names:
            raise op.error(f"has {len(op.inputs)} inputs", "2, and 3 for each tensor")
        if not op.outputs or not op.outputs[0]:
            raise op.error("has no output", "one")
        proto = helper.make_node("Concat", names, [op.outputs[0]])
        proto.attribute.extend(op.proto.attribute)
        inputs = {n: ValueType("f32", self._shape(n)) for n in names}
        shape = self._standard(op, proto, inputs)[op.outputs[0]].shape
        return {op.outputs[0]: ValueType(self._type(names[0]).dtype, shape)}

    def _standard(
        self, op: Op, proto: onnx.NodeProto, inputs: dict[str, ValueType]
    ) -> dict[str, ValueType]:
        """Output types by the operator's own inference."""
        try:
            schema = onnx.defs.get_schema(proto.op_type, self.file.opset, "")
        except onnx.defs.SchemaError:
            raise op.error("is not supported", self.supported) from None
        self._check_form(op, proto)
        try:
            found = onnx.shape_inference.infer_node_outputs(
                schema, proto, {n: _type_proto(t) for n, t in inputs.items()},
                self._shape_data(proto), opset_imports=[helper.make_opsetid("", self.file.opset)],
            )  # fmt: skip
        except MemoryError:
            raise
        except Exception as error:  # the library's errors have no base but Exception
            raise op.error(f"does not fit its inputs: {_reason(error)}") from None
        return {n: _known_type(op, n, found.get(n)) for n in proto.output if n}

    def _check_form(self, op: Op, proto: onnx.NodeProto) -> None:
        """What shape inference takes for granted, and reads past the end of its lists without."""
        try:
            onnx.checker.check_node(proto, self.context)
        except onnx.checker.ValidationError as error:
            raise op.error(f"is not as its operator set says: {_reason(error)}") from None
        parts = op.integer("num_outputs", len(op.outputs)) if op.kind == "Split" else None
        if parts is not None and parts != len(op.outputs):
            raise op.error(f"num_outputs = {parts}, for {len(op.outputs)} outputs", "one number")

    def _shape_data(self, proto: onnx.NodeProto) -> dict[str, TensorProto]:
        return {
            n: onnx.numpy_helper.from_array(c.values, n)
            for n in proto.input
            if (c := self.constants.get(n))
            and c.dtype not in ("i4", "u4")
            and c.values.size <= _MOST_SHAPE_DATA
        }

    def _evaluate(self, op: Op) -> Constant:
        """The value of one node by ONNX's reference implementation."""
        inputs = {n: self._type(n) for n in op.inputs if n}
        kind = self._standard(op, op.proto, inputs)[op.outputs[0]]
        size = math.prod(kind.shape) * (element_bits(kind.dtype) // 8 or 1)
        self.file.allowance.take(_PER_FOLDED_BYTE * size, op.where)
        feed = {n: self.constants[n].values for n in op.inputs if n}
        try:
            with np.errstate(all="ignore"):
                # A graph of the one node: for a bare node it would take the newest operator set's form.
                graph = helper.make_graph(
                    [op.proto], "folded",
                    [_value_info(name, given) for name, given in inputs.items()],
                    [_value_info(op.outputs[0], kind)],
                )  # fmt: skip
                evaluator = ReferenceEvaluator(graph, opsets={"": self.file.opset})
                found: Any = evaluator.run(None, feed)
        except MemoryError:
            raise
        except Exception as error:  # the reference implementation raises whatever numpy does
            raise op.error(f"cannot be evaluated: {_reason(error)}") from None
        values = np.asarray(found[0])
        if values.shape != kind.shape:
            raise op.error(f"evaluates to shape {list(values.shape)}", str(list(kind.shape)))
        return Constant(values, kind.dtype)


def _reason(error: Exception) -> str:
    """What a library says, cut to one readable piece."""
    text = " ".join(str(error).split()) or type(error).__name__
    return printable(text if len(text) <= 200 else f"{text[:197]}...")


def _value_info(name: str, kind: ValueType) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, NUMBER_OF[kind.dtype], kind.shape)


def _type_proto(kind: ValueType) -> TypeProto:
    return helper.make_tensor_type_proto(NUMBER_OF[kind.dtype], kind.shape)


def _known_type(op: Op, name: str, found: TypeProto | None) -> ValueType:
    if found is None or not found.HasField("tensor_type"):
        raise op.error(
            f"the type of its output {printable(name)!r} does not follow from its inputs"
        )
    tensor = found.tensor_type
    sizes = tensor.shape.dim
    if not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in sizes):
        raise op.error(
            f"the shape of its output {printable(name)!r} does not follow from constants"
        )
    shape = tuple(int(d.dim_value) for d in sizes)
    return checked_type(tensor.elem_type, shape, op.where)


def _stated(op: Op) -> Constant:
    """The value of a Constant node, which is in one of its attributes."""
    given = [k for k in op.attrs if k.startswith("value")]
    if len(given) == 1:
        value = op.attrs[given[0]]
        if given[0] == "value" and isinstance(value, Constant):
            return value
        if given[0] in ("value_int", "value_ints"):
            return Constant(np.array(value, np.int64), "i64")
        if given[0] in ("value_float", "value_floats"):
            return Constant(np.array(value, np.float32), "f32")
    raise op.error(
        f"states {', '.join(given) or 'no value'}", "a tensor, number or list of numbers"
    )
