"""A minimal writer of `.tflite` files on top of the schema package's builder functions.

Flatbuffers are written leaf first: a child must be complete before the table that points at it
is started.  `ModelWriter` therefore only collects tensors and operators, and `to_bytes` writes
the whole file in one bottom-up pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

from simulator.coding import nibbles

SCHEMA_VERSION = 3
FILE_IDENTIFIER = b"TFL3"

# The schema declares `force_align: 16` on Buffer.data, but the Python builder knows nothing of
# that attribute and would align constants to 4 bytes only.
BUFFER_ALIGNMENT = 16

# Codes from 127 upwards do not fit the original int8 field, which then holds this marker.
LAST_DEPRECATED_CODE = 127

# (element type) -> (schema type) for the tensors an int8 model needs.
TENSOR_TYPES: dict[str, int] = {
    "int4": tflite.TensorType.INT4,
    "int8": tflite.TensorType.INT8,
    "float32": tflite.TensorType.FLOAT32,
    "int32": tflite.TensorType.INT32,
}


@dataclass(frozen=True)
class Quantization:
    """Affine parameters: real = scale * (code - zero_point), per tensor or along one axis."""

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int = 0


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None
    data: bytes | None


@dataclass(frozen=True)
class _Operator:
    code_index: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: str
    fields: Mapping[str, Any]


def _table(builder: Any, name: str, fields: Mapping[str, Any]) -> int:
    """Write one table; its child offsets in `fields` must have been written already."""
    getattr(tflite, f"{name}Start")(builder)
    for field, value in fields.items():
        getattr(tflite, f"{name}Add{field}")(builder, value)
    return int(getattr(tflite, f"{name}End")(builder))


def _numbers(builder: Any, values: Sequence[int] | npt.NDArray[Any], dtype: type) -> int:
    return int(builder.CreateNumpyVector(np.asarray(values, dtype=dtype)))


def _offsets(builder: Any, offsets: Sequence[int]) -> int:
    """Write a vector of table offsets (a flatbuffer grows downwards, hence the reversal)."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


class ModelWriter:
    """Collects one subgraph and serialises it."""

    def __init__(self, subgraph_name: str, description: str) -> None:
        self._subgraph_name = subgraph_name
        self._description = description
        self._tensors: list[_Tensor] = []
        self._codes: list[tuple[int, int]] = []
        self._operators: list[_Operator] = []

    def add_activation(self, name: str, shape: Sequence[int], quantization: Quantization) -> int:
        """Add an int8 tensor that is computed at run time; return its index."""
        return self._add(_Tensor(name, tuple(shape), "int8", quantization, None))

    def add_real_activation(self, name: str, shape: Sequence[int]) -> int:
        """Add a float32 tensor that is computed at run time; return its index."""
        return self._add(_Tensor(name, tuple(shape), "float32", None, None))

    def add_constant(
        self, name: str, values: npt.NDArray[Any], quantization: Quantization | None = None
    ) -> int:
        """Add a tensor whose values are stored in the file; return its index."""
        little_endian = values.astype(values.dtype.newbyteorder("<"))
        data = little_endian.tobytes(order="C")
        return self._add(_Tensor(name, values.shape, values.dtype.name, quantization, data))

    def add_nibbles(
        self, name: str, values: npt.NDArray[np.int8], quantization: Quantization
    ) -> int:
        """Add a constant of int4 codes; return its index."""
        return self._add(_Tensor(name, values.shape, "int4", quantization, nibbles(values)))

    def add_operator(
        self,
        code: int,
        version: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str,
        fields: Mapping[str, Any],
    ) -> None:
        """Append an operator; `options` names its schema options table ('' for none), `fields`
        fills it.

        A sequence among the `fields` is written as a vector of int32.
        """
        key = (code, version)
        if key not in self._codes:
            self._codes.append(key)
        index = self._codes.index(key)
        self._operators.append(_Operator(index, tuple(inputs), tuple(outputs), options, fields))

    def to_bytes(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Serialise the model with the given graph inputs and outputs (tensor indices)."""
        builder = flatbuffers.Builder(1024)
        buffers, buffer_index = self._write_buffers(builder)
        tensors = [
            self._write_tensor(builder, tensor, buffer)
            for tensor, buffer in zip(self._tensors, buffer_index, strict=True)
        ]
        operators = [self._write_operator(builder, operator) for operator in self._operators]
        subgraph = {
            "Tensors": _offsets(builder, tensors),
            "Inputs": _numbers(builder, inputs, np.int32),
            "Outputs": _numbers(builder, outputs, np.int32),
            "Operators": _offsets(builder, operators),
            "Name": builder.CreateString(self._subgraph_name),
        }
        subgraph_offset = _table(builder, "SubGraph", subgraph)
        codes = [self._write_code(builder, code, version) for code, version in self._codes]
        model = {
            "Version": SCHEMA_VERSION,
            "OperatorCodes": _offsets(builder, codes),
            "Subgraphs": _offsets(builder, [subgraph_offset]),
            "Description": builder.CreateString(self._description),
            "Buffers": _offsets(builder, buffers),
        }
        builder.Finish(_table(builder, "Model", model), file_identifier=FILE_IDENTIFIER)
        return bytes(builder.Output())

    def _add(self, tensor: _Tensor) -> int:
        if any(other.name == tensor.name for other in self._tensors):
            raise ValueError(f"tensor name {tensor.name!r} is used twice")
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _write_buffers(self, builder: Any) -> tuple[list[int], list[int]]:
        """Write every constant; return buffer offsets and each tensor's buffer index.

        Buffer 0 is by convention empty and is what every run-time tensor refers to.
        """
        offsets = [_table(builder, "Buffer", {})]
        index = []
        for tensor in self._tensors:
            if tensor.data is None:
                index.append(0)
                continue
            builder.Prep(BUFFER_ALIGNMENT, len(tensor.data))
            data = builder.CreateByteVector(tensor.data)
            index.append(len(offsets))
            offsets.append(_table(builder, "Buffer", {"Data": data}))
        return offsets, index

    def _write_tensor(self, builder: Any, tensor: _Tensor, buffer: int) -> int:
        fields: dict[str, Any] = {
            "Shape": _numbers(builder, tensor.shape, np.int32),
            "Type": TENSOR_TYPES[tensor.dtype],
            "Buffer": buffer,
            "Name": builder.CreateString(tensor.name),
        }
        if tensor.quantization is not None:
            parameters = {
                "Scale": _numbers(builder, tensor.quantization.scale, np.float32),
                "ZeroPoint": _numbers(builder, tensor.quantization.zero_point, np.int64),
                "QuantizedDimension": tensor.quantization.axis,
            }
            fields["Quantization"] = _table(builder, "QuantizationParameters", parameters)
        return _table(builder, "Tensor", fields)

    def _write_operator(self, builder: Any, operator: _Operator) -> int:
        option_fields = {
            name: _numbers(builder, value, np.int32) if isinstance(value, (list, tuple)) else value
            for name, value in operator.fields.items()
        }
        fields = {
            "OpcodeIndex": operator.code_index,
            "Inputs": _numbers(builder, operator.inputs, np.int32),
            "Outputs": _numbers(builder, operator.outputs, np.int32),
        }
        if operator.options:
            fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, operator.options)
            fields["BuiltinOptions"] = _table(builder, operator.options, option_fields)
        return _table(builder, "Operator", fields)

    @staticmethod
    def _write_code(builder: Any, code: int, version: int) -> int:
        fields = {
            "DeprecatedBuiltinCode": min(code, LAST_DEPRECATED_CODE),
            "BuiltinCode": code,
            "Version": version,
        }
        return _table(builder, "OperatorCode", fields)
