"""A writer of ``.tflite`` files that checks nothing, and small models to be broken one field at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite


@dataclass
class T:
    """A tensor as the file states it; ``buffer`` overrides the number of the buffer it names."""

    name: str
    shape: list[int]
    kind: str = "INT8"
    scale: list[float] = field(default_factory=lambda: [0.5])
    zero: list[int] = field(default_factory=lambda: [0])
    axis: int = 0
    data: bytes | None = None
    buffer: int | None = None


@dataclass
class Op:
    """An operator by name or number; ``code`` overrides the index of its operator code."""

    kind: str | int
    inputs: list[int]
    outputs: list[int]
    options: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    custom: str = ""
    version: int = 1
    code: int | None = None


@dataclass
class Model:
    """A file; ``tensors`` and ``operators`` may be changed at will before :meth:`write`."""

    tensors: list[T]
    operators: list[Op]
    inputs: list[int]
    outputs: list[int]
    subgraphs: int = 1

    def write(self) -> bytes:
        b: Any = flatbuffers.Builder(1024)
        data = [b"", *(t.data or b"" for t in self.tensors)]
        buffers = _offsets(b, [_buffer(b, d) for d in data])
        tensors = [_tensor(b, t, i + 1) for i, t in enumerate(self.tensors)]
        operators = [_operator(b, o, i) for i, o in enumerate(self.operators)]
        subgraph = _table(b, "SubGraph", {
            "Tensors": _offsets(b, tensors), "Inputs": _numbers(b, self.inputs, np.int32),
            "Outputs": _numbers(b, self.outputs, np.int32), "Operators": _offsets(b, operators),
        })  # fmt: skip
        codes = [_code(b, o) for o in self.operators]
        b.Finish(_table(b, "Model", {
            "Version": 3, "OperatorCodes": _offsets(b, codes),
            "Subgraphs": _offsets(b, [subgraph] * self.subgraphs), "Buffers": buffers,
        }), file_identifier=b"TFL3")  # fmt: skip
        return bytes(b.Output())


def _table(b: Any, name: str, fields: dict[str, Any]) -> int:
    getattr(tflite, f"{name}Start")(b)
    for key, value in fields.items():
        getattr(tflite, f"{name}Add{key}")(b, value)
    return getattr(tflite, f"{name}End")(b)


def _numbers(b: Any, values: Sequence[float], kind: type) -> int:
    return b.CreateNumpyVector(np.array(values, kind))


def _offsets(b: Any, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def _buffer(b: Any, data: bytes) -> int:
    return _table(b, "Buffer", {"Data": b.CreateByteVector(data)} if data else {})


def _tensor(b: Any, t: T, buffer: int) -> int:
    fields: dict[str, Any] = {
        "Shape": _numbers(b, t.shape, np.int32), "Type": getattr(tflite.TensorType, t.kind),
        "Buffer": buffer if t.buffer is None else t.buffer, "Name": b.CreateString(t.name),
    }  # fmt: skip
    if t.scale:
        fields["Quantization"] = _table(b, "QuantizationParameters", {
            "Scale": _numbers(b, t.scale, np.float32), "ZeroPoint": _numbers(b, t.zero, np.int64),
            "QuantizedDimension": t.axis,
        })  # fmt: skip
    return _table(b, "Tensor", fields)


def _operator(b: Any, o: Op, code: int) -> int:
    fields: dict[str, Any] = {
        "OpcodeIndex": code if o.code is None else o.code,
        "Inputs": _numbers(b, o.inputs, np.int32), "Outputs": _numbers(b, o.outputs, np.int32),
    }  # fmt: skip
    if o.options:
        fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, o.options)
        fields["BuiltinOptions"] = _table(b, o.options, o.fields)
    return _table(b, "Operator", fields)


def _code(b: Any, o: Op) -> int:
    number = o.kind if isinstance(o.kind, int) else getattr(tflite.BuiltinOperator, o.kind)
    fields: dict[str, Any] = {"BuiltinCode": number, "DeprecatedBuiltinCode": min(number, 127)}
    if o.custom:
        fields["CustomCode"] = b.CreateString(o.custom)
    return _table(b, "OperatorCode", {**fields, "Version": o.version})


def conv_model() -> Model:
    """image [1,4,4,1] -> CONV_2D of two 3 x 3 filters, SAME, with bias -> maps [1,4,4,2]."""
    weights = np.arange(18, dtype=np.int8).tobytes()
    tensors = [
        T("image", [1, 4, 4, 1]),
        T("weights", [2, 3, 3, 1], scale=[0.25, 0.5], zero=[0, 0], data=weights),
        T("bias", [2], "INT32", [0.125, 0.25], [0, 0], data=np.array([7, -7], np.int32).tobytes()),
        T("maps", [1, 4, 4, 2]),
    ]
    options = {
        "Padding": tflite.Padding.SAME, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1,
        "DilationWFactor": 1,
    }  # fmt: skip
    conv = Op("CONV_2D", [0, 1, 2], [3], "Conv2DOptions", options)
    return Model(tensors, [conv], [0], [3])


def pool_model() -> Model:
    """image [1,4,4,1] -> MAX_POOL_2D 2 x 2 -> maps [1,2,2,1]."""
    options = {
        "Padding": tflite.Padding.VALID, "StrideH": 2, "StrideW": 2, "FilterHeight": 2,
        "FilterWidth": 2,
    }  # fmt: skip
    pool = Op("MAX_POOL_2D", [0], [1], "Pool2DOptions", options)
    return Model([T("image", [1, 4, 4, 1]), T("maps", [1, 2, 2, 1])], [pool], [0], [1])


def simple_model(kind: str, *tensors: T, options: str = "", **fields: Any) -> Model:
    """One operator from all ``tensors`` but the last to the last; those without data are inputs."""
    last = len(tensors) - 1
    operator = Op(kind, list(range(last)), [last], options, fields)
    given = [i for i, t in enumerate(tensors[:-1]) if t.data is None]
    return Model(list(tensors), [operator], given, [last])
