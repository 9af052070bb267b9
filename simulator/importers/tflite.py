"""TensorFlow Lite flatbuffers, read through the ``tflite`` schema package."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
import tflite

from simulator.errors import ModelError
from simulator.graph import Graph, GraphTensor, Node
from simulator.graph.passes import canonicalize
from simulator.importers._check import check_graph
from simulator.importers._tflite_operators import FORMS, Form, names_by_code, read_attributes
from simulator.ops import operator_names
from simulator.tensor import QuantParams, TensorSpec

# What reading a damaged flatbuffer raises in the schema package and in numpy.
_DAMAGED = (
    struct.error, LookupError, TypeError, ValueError, OverflowError, AttributeError, MemoryError,
)  # fmt: skip

_OPERATORS = names_by_code(tflite.BuiltinOperator)
_TYPES = names_by_code(tflite.TensorType)
_DTYPES = {"INT8": "i8", "UINT8": "u8", "INT16": "i16", "INT32": "i32", "INT64": "i64"}

# Limits that no model for an edge device comes near, so that a damaged size is an error and not an
# allocation: TensorFlow Lite itself has kernels for at most 8 dimensions.
MOST_DIMENSIONS = 8
MOST_ELEMENTS = 1 << 28
# The reference divides and multiplies scales in float32: within these it can neither overflow nor lose
# bits. Weights may have any smaller scale (a converter gives a dead channel one near 2**-127).
LARGEST_SCALE = 2.0**60
SMALLEST_ACTIVATION_SCALE = 2.0**-100


def supported_operators() -> list[str]:
    """TFLite operators this importer reads."""
    return sorted(FORMS)


def read_tflite(content: bytes, name: str) -> Graph:
    """The canonical, checked graph of a ``.tflite`` file's bytes."""
    if len(content) < 8 or content[4:8] != b"TFL3":
        given = f"identifier {content[4:8]!r}" if len(content) >= 8 else f"{len(content)} bytes"
        raise ModelError(
            name, f"is not a TensorFlow Lite file ({given})", "a flatbuffer with identifier b'TFL3'"
        )
    try:
        graph = _Reader(content, name).graph()
    except _DAMAGED as error:
        raise ModelError(
            name, f"is damaged or incomplete ({len(content)} bytes)", "a whole .tflite file"
        ) from error
    return check_graph(canonicalize(graph))


def _element(vector: Any, length: int, index: int, where: str, what: str) -> Any:
    """``vector(index)``: the schema package itself reads past a vector's end without a word."""
    if not 0 <= index < length:
        raise ModelError(where, f"names {what} {index}", f"0..{length - 1}")
    return vector(index)


def _vector(values: Any) -> list[int]:
    # The schema package returns 0 for an absent vector.
    return [] if isinstance(values, int) else [int(v) for v in values]


def _text(raw: bytes | None) -> str:
    """A name in the file; what no terminal prints becomes a question mark."""
    text = (raw or b"").decode("utf-8", errors="replace")
    return "".join(c if c.isprintable() else "?" for c in text)


def _check_scales(params: QuantParams | None, constant: bool) -> None:
    smallest = 0.0 if constant else SMALLEST_ACTIVATION_SCALE
    for scale in params.scales if params else ():
        if not smallest <= scale <= LARGEST_SCALE:
            raise ModelError("", f"scale {scale}", f"{smallest:.3g} to {LARGEST_SCALE:.3g}")


class _Reader:
    """Reads one file; lives for one call of :func:`read_tflite`."""

    def __init__(self, content: bytes, name: str) -> None:
        self.name = name
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.model = tflite.Model.GetRootAs(content, 0)
        if self.model.SubgraphsLength() != 1:
            raise ModelError(name, f"has {self.model.SubgraphsLength()} subgraphs", "exactly one")
        self.subgraph: Any = self.model.Subgraphs(0)
        self.tensors: dict[str, GraphTensor] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.by_index: dict[int, str] = {}

    def graph(self) -> Graph:
        nodes = [self._node(i) for i in range(self.subgraph.OperatorsLength())]
        inputs = tuple(self._tensor(i) for i in _vector(self.subgraph.InputsAsNumpy()))
        outputs = tuple(self._tensor(i) for i in _vector(self.subgraph.OutputsAsNumpy()))
        counts = {"operators": len(nodes), "inputs": len(inputs), "outputs": len(outputs)}
        for what, count in counts.items():
            if count == 0:
                raise ModelError(self.name, f"has no {what}", "at least one")
        return Graph(
            self.name, "tflite", self.tensors, self.constants, tuple(nodes), inputs, outputs,
            self.sha256,
        )  # fmt: skip

    def _node(self, index: int) -> Node:
        op: Any = self.subgraph.Operators(index)
        where = f"{self.name}: operator {index}"
        code = _element(
            self.model.OperatorCodes, self.model.OperatorCodesLength(), op.OpcodeIndex(), where,
            "operator code",
        )  # fmt: skip
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = _OPERATORS.get(number, f"number {number}")
        if kind == "CUSTOM":
            kind = f"CUSTOM {_text(code.CustomCode())}"
        where = f"{where} ({kind})"
        if kind not in FORMS or kind.lower() not in operator_names():
            raise ModelError(where, "is not supported", ", ".join(supported_operators()))
        inputs = tuple(
            self._tensor(i, where) if i >= 0 else "" for i in _vector(op.InputsAsNumpy())
        )
        outputs = tuple(self._tensor(i, where) for i in _vector(op.OutputsAsNumpy()))
        if len(outputs) != 1:
            raise ModelError(where, f"has {len(outputs)} outputs", "1")
        where = f"{where} {outputs[0]!r}"
        self._check_dimensions(FORMS[kind], inputs, outputs[0], where)
        if kind == "RESHAPE":
            source, target = (self.tensors[n].spec for n in (inputs[0], outputs[0]))
            if (source.elements, source.dtype) != (target.elements, target.dtype):
                raise ModelError(
                    where, f"reshapes {source} to {target}", "the same type and number of elements"
                )
        try:
            attrs = read_attributes(op, FORMS[kind])
        except ModelError as error:
            raise ModelError(where, error.problem, error.allowed) from None
        # The output's name is the layer's name users know from their training framework.
        return Node(outputs[0], kind.lower(), inputs, outputs, attrs)

    def _check_dimensions(
        self, form: Form, inputs: tuple[str, ...], output: str, where: str
    ) -> None:
        """What the passes and rules rely on: the inputs an operator needs, and dimensions."""
        needed = len(form.dimensions)
        if len(inputs) < needed or "" in inputs[:needed]:
            raise ModelError(where, f"has inputs {list(inputs)}", f"at least {needed}")
        # An output has as many dimensions as the first input may have.
        named = zip(("input",) * needed, inputs, form.dimensions, strict=False)
        for what, name, (fewest, most) in (*named, ("output", output, form.dimensions[0])):
            shape = self.tensors[name].spec.shape
            if not fewest <= len(shape) <= most:
                span = str(most) if fewest == most else f"{fewest} to {most}"
                raise ModelError(
                    where, f"{what} {name!r} has shape {list(shape)}", f"{span} dimensions"
                )

    def _tensor(self, index: int, where: str = "") -> str:
        if index in self.by_index:
            return self.by_index[index]
        where = where or f"{self.name}: list of inputs or outputs"
        tensor = _element(
            self.subgraph.Tensors, self.subgraph.TensorsLength(), index, where, "tensor"
        )
        name = _text(tensor.Name()) or f"tensor_{index}"
        while name in self.tensors:
            name = f"{name}#{index}"
        where = f"{self.name}: tensor {index} ({name})"
        try:
            spec = self._spec(tensor)
            params = self._quantization(tensor, spec)
            constant = self._constant(tensor, spec)
            _check_scales(params, constant is not None)
        except ModelError as error:
            raise ModelError(where, error.problem, error.allowed) from None
        self.by_index[index] = name
        self.tensors[name] = GraphTensor(name, spec, params, index)
        if constant is not None:
            self.constants[name] = constant
        return name

    @staticmethod
    def _spec(tensor: Any) -> TensorSpec:
        type_name = _TYPES.get(tensor.Type(), f"number {tensor.Type()}")
        if type_name not in _DTYPES:
            allowed = ", ".join(_DTYPES) + " (quantize the model first)"
            raise ModelError("", f"element type {type_name}", allowed)
        spec = TensorSpec(tuple(_vector(tensor.ShapeAsNumpy())), _DTYPES[type_name])
        if len(spec.shape) > MOST_DIMENSIONS or spec.elements > MOST_ELEMENTS:
            raise ModelError(
                "", f"shape {list(spec.shape)}",
                f"at most {MOST_DIMENSIONS} dimensions and {MOST_ELEMENTS} elements",
            )  # fmt: skip
        if tensor.Sparsity() is not None:
            raise ModelError("", "is stored sparse", "dense tensors")
        return spec

    @staticmethod
    def _quantization(tensor: Any, spec: TensorSpec) -> QuantParams | None:
        q = tensor.Quantization()
        if q is None or q.ScaleLength() == 0:
            return None
        scales = tuple(float(s) for s in q.ScaleAsNumpy())
        points = tuple(_vector(q.ZeroPointAsNumpy())) or (0,) * len(scales)
        axis = q.QuantizedDimension()
        if len(scales) > 1:
            shape = list(spec.shape)
            if not 0 <= axis < len(shape):
                raise ModelError(
                    "", f"scales along axis {axis} of shape {shape}", f"0..{len(shape) - 1}"
                )
            if shape[axis] != len(scales):
                raise ModelError(
                    "", f"{len(scales)} scales along axis {axis} of shape {shape}",
                    f"1 or {shape[axis]}",
                )  # fmt: skip
        for point in points:
            if not spec.minimum <= point <= spec.maximum:
                raise ModelError("", f"zero point {point}", f"{spec.minimum}..{spec.maximum}")
        return QuantParams(scales, points, axis if len(scales) > 1 else 0)

    def _constant(self, tensor: Any, spec: TensorSpec) -> np.ndarray | None:
        """Values stored in the file; None for a tensor made at run time."""
        buffer = _element(
            self.model.Buffers, self.model.BuffersLength(), tensor.Buffer(), "", "buffer"
        )
        if buffer.DataLength() == 0:
            if buffer.Size() > 0:
                raise ModelError("", "is stored behind the flatbuffer", "constants inside it")
            return None
        wanted = spec.elements * spec.container.itemsize
        if buffer.DataLength() != wanted:
            raise ModelError("", f"holds {buffer.DataLength()} bytes", f"{wanted} for {spec}")
        raw = buffer.DataAsNumpy().tobytes()
        return np.frombuffer(raw, spec.container.newbyteorder("<")).reshape(spec.shape)
