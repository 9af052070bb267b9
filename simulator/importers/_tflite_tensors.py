"""Tensors of a TensorFlow Lite file: types, shapes, quantization and stored values."""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite

from simulator.errors import ModelError
from simulator.graph import GraphTensor
from simulator.importers._memory import Allowance
from simulator.importers._tflite_form import names_by_code
from simulator.tensor import QuantParams, TensorSpec

_TYPES = names_by_code(tflite.TensorType)
_DTYPES = {
    "INT4": "i4", "INT8": "i8", "UINT8": "u8", "INT16": "i16", "INT32": "i32", "INT64": "i64",
    "FLOAT32": "f32",
}  # fmt: skip

# Limits that no model for an edge device comes near, so that a damaged size is an error and not an
# allocation: TensorFlow Lite itself has kernels for at most 8 dimensions.
MOST_DIMENSIONS = 8
MOST_ELEMENTS = 1 << 28
# The reference divides and multiplies scales in float32: within these it can neither overflow nor lose
# bits. Weights may have any smaller scale (a converter gives a dead channel one near 2**-127).
LARGEST_SCALE = 2.0**60
SMALLEST_ACTIVATION_SCALE = 2.0**-100

# What reading takes: for a tensor's records; for a letter of its name, as text, with its number and
# compared with the others; and for a 4-bit element.
_TENSOR_BYTES = 1 << 10
PER_LETTER = 16
_PER_NIBBLE = 8


def element(vector: Any, length: int, index: int, where: str, what: str) -> Any:
    """``vector(index)``: the schema package itself reads past a vector's end without a word."""
    if not 0 <= index < length:
        raise ModelError(where, f"names {what} {index}", f"0..{length - 1}")
    return vector(index)


def vector_of(values: Any, allowance: Allowance) -> list[int]:
    """A vector of the file as integers; the schema package returns 0 for an absent one."""
    if isinstance(values, int):
        return []
    allowance.objects(len(values))
    return [int(v) for v in values]


def text_of(raw: bytes | None) -> str:
    """A name in the file; what no terminal prints becomes a question mark."""
    text = (raw or b"").decode("utf-8", errors="replace")
    return "".join(c if c.isprintable() else "?" for c in text)


def _check_scales(params: QuantParams | None, constant: bool) -> None:
    smallest = 0.0 if constant else SMALLEST_ACTIVATION_SCALE
    for scale in params.scales if params else ():
        if not smallest <= scale <= LARGEST_SCALE:
            raise ModelError("", f"scale {scale}", f"{smallest:.3g} to {LARGEST_SCALE:.3g}")


class Tensors:
    """The tensors of one subgraph, read as they are named; lives as long as its reader."""

    def __init__(self, model: Any, subgraph: Any, name: str, allowance: Allowance) -> None:
        self.model, self.subgraph, self.name, self.allowance = model, subgraph, name, allowance
        self.tensors: dict[str, GraphTensor] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.by_index: dict[int, str] = {}
        self.variables: set[str] = set()

    def tensor(self, index: int, where: str = "") -> str:
        """The name of tensor ``index`` of the subgraph."""
        if index in self.by_index:
            return self.by_index[index]
        where = where or f"{self.name}: list of inputs or outputs"
        tensor = element(
            self.subgraph.Tensors, self.subgraph.TensorsLength(), index, where, "tensor"
        )
        raw = tensor.Name() or b""
        self.allowance.take(_TENSOR_BYTES + PER_LETTER * len(raw), where)
        name = text_of(raw) or f"tensor_{index}"
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
        if tensor.IsVariable():
            self.variables.add(name)
        return name

    def _spec(self, tensor: Any) -> TensorSpec:
        type_name = _TYPES.get(tensor.Type(), f"number {tensor.Type()}")
        if type_name not in _DTYPES:
            raise ModelError("", f"element type {type_name}", ", ".join(_DTYPES))
        shape = vector_of(tensor.ShapeAsNumpy(), self.allowance)
        spec = TensorSpec(tuple(shape), _DTYPES[type_name])
        if len(spec.shape) > MOST_DIMENSIONS or spec.elements > MOST_ELEMENTS:
            raise ModelError(
                "", f"shape {list(spec.shape)}",
                f"at most {MOST_DIMENSIONS} dimensions and {MOST_ELEMENTS} elements",
            )  # fmt: skip
        if tensor.Sparsity() is not None:
            raise ModelError("", "is stored sparse", "dense tensors")
        return spec

    def _quantization(self, tensor: Any, spec: TensorSpec) -> QuantParams | None:
        q = tensor.Quantization()
        if q is None or q.ScaleLength() == 0 or spec.real:
            return None
        self.allowance.objects(q.ScaleLength())
        scales = tuple(float(s) for s in q.ScaleAsNumpy())
        points = tuple(vector_of(q.ZeroPointAsNumpy(), self.allowance)) or (0,) * len(scales)
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
        buffer = element(
            self.model.Buffers, self.model.BuffersLength(), tensor.Buffer(), "", "buffer"
        )
        if buffer.DataLength() == 0:
            if buffer.Size() > 0:
                raise ModelError("", "is stored behind the flatbuffer", "constants inside it")
            return None
        wanted = spec.elements * spec.container.itemsize if spec.bits >= 8 else spec.size_bytes
        if buffer.DataLength() != wanted:
            raise ModelError("", f"holds {buffer.DataLength()} bytes", f"{wanted} for {spec}")
        raw = buffer.DataAsNumpy()
        if spec.bits < 8:
            self.allowance.take(_PER_NIBBLE * spec.elements)
            return _nibbles(raw, spec)
        # A copy, for the file need not have put it where a number of this type may stand.
        self.allowance.take(raw.size)
        stored = np.frombuffer(raw.tobytes(), spec.container.newbyteorder("<"))
        return stored.reshape(spec.shape)


def _nibbles(pairs: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """4-bit two's complement numbers, the first in a byte's low half, as int8."""
    codes = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(-1)[: spec.elements]
    signed = ((codes.astype(np.int16) + 8) % 16 - 8).astype(np.int8)
    return signed.reshape(spec.shape)
