"""The protobuf of an ``.onnx`` file as plain records, its sizes checked before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

from simulator.errors import ModelError
from simulator.importers._memory import Allowance

# Limits that no model for an edge device comes near, so that a damaged size is an error and not an
# allocation.
MOST_DIMENSIONS = 8
MOST_ELEMENTS = 1 << 28
MOST_NODES = 100_000  # and inputs, constants, attributes, each in all
OLDEST_OPSET = 7

# Our element types of the file's. ``bool``, ``f16`` and ``f64`` occur among constants only.
_DTYPES = {
    "FLOAT": "f32", "INT8": "i8", "UINT8": "u8", "INT16": "i16", "UINT16": "u16", "INT32": "i32",
    "UINT32": "u32", "INT64": "i64", "UINT64": "u64", "INT4": "i4", "UINT4": "u4", "BOOL": "bool",
    "FLOAT16": "f16", "DOUBLE": "f64",
}  # fmt: skip
DTYPE_OF = {TensorProto.DataType.Value(k): v for k, v in _DTYPES.items()}
NUMBER_OF = {v: k for k, v in DTYPE_OF.items()}
# Field of a TensorProto that holds values of a type when they are not raw bytes.
_FIELDS = {
    "f32": "float_data", "f64": "double_data", "i64": "int64_data", "u32": "uint64_data",
    "u64": "uint64_data",
}  # fmt: skip
_NUMPY = {"f32": "<f4", "f64": "<f8", "f16": "<f2", "bool": "?"}

# Operators of ONNX Runtime's own domain that are read, most of them in no other domain.
MICROSOFT = {
    "QLinearAdd", "QLinearMul", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSigmoid",
    "QLinearLeakyRelu", "QLinearConcat", "QLinearSoftmax", "QGemm",
    "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip


@dataclass(frozen=True)
class Constant:
    """Values known without running; 4-bit types one element per byte."""

    values: np.ndarray
    dtype: str


@dataclass(frozen=True)
class ValueType:
    """Element type and shape, in the file's order, of a value made at run time."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Op:
    """One node of the file. ``kind`` is its operator, with the domain before it where not known."""

    index: int
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    proto: NodeProto
    where: str

    def input(self, index: int) -> str:
        """Name of an input; '' where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def error(self, problem: str, allowed: str = "") -> ModelError:
        return ModelError(self.where, problem, allowed)

    def integer(self, key: str, default: int) -> int:
        value = self.attrs.get(key, default)
        if not isinstance(value, int):
            raise self.error(f"attribute {key} is no integer")
        return value

    def real(self, key: str, default: float) -> float:
        value = self.attrs.get(key, default)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(f"attribute {key} is no finite number")
        return float(value)

    def text(self, key: str, default: str) -> str:
        value = self.attrs.get(key, default)
        if not isinstance(value, str):
            raise self.error(f"attribute {key} is no text")
        return value

    def integers(self, key: str) -> tuple[int, ...] | None:
        """A list of integers; None where the attribute is left out."""
        value = self.attrs.get(key)
        if value is None:
            return None
        if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value):
            raise self.error(f"attribute {key} is no list of integers")
        return value


@dataclass(frozen=True)
class OnnxFile:
    """One model: nodes in the file's order, which is an order of execution."""

    name: str
    opset: int
    ops: tuple[Op, ...]
    constants: Mapping[str, Constant]
    inputs: Mapping[str, ValueType]
    outputs: tuple[str, ...]
    allowance: Allowance


def printable(raw: str) -> str:
    """A name in the file; what no terminal prints becomes a question mark."""
    return "".join(c if c.isprintable() else "?" for c in raw)


def parse(content: bytes, name: str) -> OnnxFile:
    """The records of a file's bytes."""
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        model.Clear()
    if not model.ir_version or not model.HasField("graph") or not model.opset_import:
        raise ModelError(
            name, f"is not an ONNX file, damaged or incomplete ({len(content)} bytes)",
            "a whole .onnx file",
        )  # fmt: skip
    graph = model.graph
    _check_counts(model, name)
    _check_texts(model, name)
    opset = _opset(model, name)
    constants: dict[str, Constant] = {}
    for tensor in graph.initializer:
        if tensor.name in constants:
            raise ModelError(name, f"initializer {printable(tensor.name)!r} is there twice")
        constants[tensor.name] = decode(tensor, f"{name}: initializer {printable(tensor.name)!r}")
    ops = tuple(_op(node, i, name) for i, node in enumerate(graph.node))
    inputs = {
        value.name: _input_type(value, f"{name}: input {printable(value.name)!r}")
        for value in graph.input
        if value.name not in constants
    }
    outputs = tuple(value.name for value in graph.output)
    for what, names in (("inputs", inputs), ("outputs", outputs)):
        if not names:
            raise ModelError(name, f"has no {what}", "at least one")
    return OnnxFile(name, opset, ops, constants, inputs, outputs, Allowance(name, len(content)))


def _check_counts(model: ModelProto, name: str) -> None:
    """How many records there are of each kind: the protobuf package makes an object of each one read."""
    graph = model.graph
    none = {
        "local functions": len(model.functions), "sparse initializers": len(graph.sparse_initializer),
    }  # fmt: skip
    for what, count in none.items():
        if count:
            raise ModelError(name, f"has {count} {what}", "none")
    if not 0 < len(graph.node) <= MOST_NODES:
        raise ModelError(name, f"has {len(graph.node)} nodes", f"1 to {MOST_NODES}")
    counts = {
        "initializers": len(graph.initializer), "inputs": len(graph.input),
        "outputs": len(graph.output), "operator sets": len(model.opset_import),
        "attributes": sum(len(node.attribute) for node in graph.node),
    }  # fmt: skip
    for what, count in counts.items():
        if count > MOST_NODES:
            raise ModelError(name, f"has {count} {what}", f"at most {MOST_NODES}")


def _check_texts(model: ModelProto, name: str) -> None:
    """Names as text: the protobuf package hands out what is no UTF-8 as bytes."""
    graph = model.graph
    texts: list[Any] = [o.domain for o in model.opset_import]
    for value in (*graph.input, *graph.output):
        texts.append(value.name)
        texts += [d.dim_param for d in value.type.tensor_type.shape.dim]
    texts += [tensor.name for tensor in graph.initializer]
    for node in graph.node:
        texts += [node.op_type, node.domain, node.name, *node.input, *node.output]
        texts += [a.name for a in node.attribute]
    for text in texts:
        if not isinstance(text, str):
            raise ModelError(name, f"has the name {text!r}", "UTF-8")


def _opset(model: ModelProto, name: str) -> int:
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not OLDEST_OPSET <= versions[0] <= newest:
        given = ", ".join(map(str, versions)) or "none"
        raise ModelError(name, f"operator set {given}", f"one, {OLDEST_OPSET} to {newest}")
    return versions[0]


def _op(node: NodeProto, index: int, name: str) -> Op:
    domain = "" if node.domain == "ai.onnx" else node.domain
    kind = printable(node.op_type)
    known = not domain or (domain == "com.microsoft" and kind in MICROSOFT)
    kind = kind if known else f"{printable(domain)}.{kind}"
    made = next((n for n in node.output if n), node.name)
    where = f"{name}: {kind} {printable(made)!r}"
    attrs: dict[str, Any] = {}
    for attribute in node.attribute:
        attrs[attribute.name] = _attribute(attribute, where)
    return Op(index, kind, tuple(node.input), tuple(node.output), attrs, node, where)


def _attribute(attribute: AttributeProto, where: str) -> Any:
    """Its value in Python; a :class:`Constant` for a tensor."""
    kinds = AttributeProto.AttributeType
    plain = {
        kinds.FLOAT: lambda a: a.f, kinds.INT: lambda a: a.i,
        kinds.STRING: lambda a: a.s.decode("utf-8", errors="replace"),
        kinds.TENSOR: lambda a: decode(a.t, f"{where}: attribute {printable(a.name)}"),
        kinds.FLOATS: lambda a: tuple(a.floats), kinds.INTS: lambda a: tuple(a.ints),
        kinds.STRINGS: lambda a: tuple(s.decode("utf-8", errors="replace") for s in a.strings),
    }  # fmt: skip
    if attribute.type not in plain or attribute.ref_attr_name:
        allowed = "numbers, texts, lists of them, and a dense tensor"
        raise ModelError(where, f"attribute {printable(attribute.name)} of another kind", allowed)
    return plain[attribute.type](attribute)


def _input_type(value: onnx.ValueInfoProto, where: str) -> ValueType:
    """The type of a graph input; a batch size left open is 1."""
    if value.type.WhichOneof("value") != "tensor_type" or not value.type.tensor_type.HasField(
        "shape"
    ):
        raise ModelError(where, "has no shape", "a tensor of a stated shape")
    tensor = value.type.tensor_type
    shape = []
    for axis, size in enumerate(tensor.shape.dim):
        known = size.HasField("dim_value") and size.dim_value > 0
        if not known and axis > 0:
            given = printable(size.dim_param) or str(size.dim_value)
            raise ModelError(where, f"size {given!r} along axis {axis}", "a number (fix it first)")
        shape.append(int(size.dim_value) if known else 1)
    return checked_type(tensor.elem_type, tuple(shape), where)


def checked_type(number: int, shape: tuple[int, ...], where: str) -> ValueType:
    """Element type number and shape, if both are within bounds."""
    if number not in DTYPE_OF:
        raise ModelError(where, f"element type {type_name(number)}", ", ".join(_DTYPES))
    _check_size(shape, where)
    return ValueType(DTYPE_OF[number], shape)


def element_bits(dtype: str) -> int:
    """Bits of one of our element types; ``bool`` is held as a byte."""
    return 8 if dtype == "bool" else int(dtype[1:])


def type_name(number: int) -> str:
    """The file's name of an element type."""
    known = TensorProto.DataType.items()
    return next((k for k, v in known if v == number), f"number {number}")


def _check_size(shape: tuple[int, ...], where: str) -> None:
    negative = any(d < 0 for d in shape)
    if negative or len(shape) > MOST_DIMENSIONS or math.prod(shape) > MOST_ELEMENTS:
        raise ModelError(
            where, f"shape {list(shape)}",
            f"at most {MOST_DIMENSIONS} dimensions and {MOST_ELEMENTS} elements",
        )  # fmt: skip


def decode(tensor: TensorProto, where: str) -> Constant:
    """A stored tensor's values; an error where its data does not fill its shape."""
    kind = checked_type(tensor.data_type, tuple(tensor.dims), where)
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ModelError(where, "is stored in another file", "constants inside the .onnx file")
    if tensor.HasField("segment"):
        raise ModelError(where, "is stored in segments", "constants in one piece")
    dtype, count = kind.dtype, math.prod(kind.shape)
    packed = dtype in ("i4", "u4")
    held = (count + 1) // 2 if packed else count
    numpy_type = np.dtype("u1" if packed else _NUMPY.get(dtype) or _integer(dtype))
    if tensor.HasField("raw_data"):
        given = len(tensor.raw_data)
        if given != held * numpy_type.itemsize:
            raise ModelError(where, f"holds {given} bytes", str(held * numpy_type.itemsize))
        values = np.frombuffer(tensor.raw_data, numpy_type)
    else:
        field = getattr(tensor, _FIELDS.get(dtype, "int32_data"))
        if len(field) != held:
            raise ModelError(where, f"holds {len(field)} numbers", str(held))
        values = _from_field(field, dtype, numpy_type, where)
    if packed:
        values = _unpacked(values, count, dtype)
    return Constant(values.astype(values.dtype.newbyteorder("=")).reshape(kind.shape), dtype)


def _from_field(numbers: Any, dtype: str, stored: np.dtype, where: str) -> np.ndarray:
    """Values of a typed field; float16 is there as the bits of an integer."""
    if dtype in ("f32", "f64"):
        return np.fromiter(numbers, np.float64, len(numbers)).astype(stored)
    wide = np.fromiter(numbers, np.uint64 if dtype == "u64" else np.int64, len(numbers))
    values = wide.astype(np.uint16 if dtype == "f16" else stored)
    if not np.array_equal(values, wide):
        raise ModelError(where, f"holds numbers beyond {dtype}")
    return values.view(np.float16) if dtype == "f16" else values


def _integer(dtype: str) -> str:
    return f"<{dtype[0]}{int(dtype[1:]) // 8}"


def _unpacked(pairs: np.ndarray, count: int, dtype: str) -> np.ndarray:
    """4-bit elements, low half of each byte first, one per byte."""
    halves = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(-1)[:count].astype(np.int8)
    if dtype == "u4":
        return halves.astype(np.uint8)
    return np.where(halves > 7, halves - 16, halves).astype(np.int8)
