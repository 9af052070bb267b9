"""Small ``.tflite`` models from a list of tensors and a list of operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
import tflite

_TYPES = {
    "i4": tflite.TensorType.INT4,
    "i8": tflite.TensorType.INT8,
    "u8": tflite.TensorType.UINT8,
    "i16": tflite.TensorType.INT16,
    "i32": tflite.TensorType.INT32,
    "i64": tflite.TensorType.INT64,
    "f32": tflite.TensorType.FLOAT32,
    "resource": tflite.TensorType.RESOURCE,
}
# Operator -> (options table, version that LiteRT's reference kernels know for 8-bit codes).
_OPERATORS = {
    "CONV_2D": ("Conv2DOptions", 3),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", 3),
    "FULLY_CONNECTED": ("FullyConnectedOptions", 4),
    "ADD": ("AddOptions", 2),
    "AVERAGE_POOL_2D": ("Pool2DOptions", 2),
    "MAX_POOL_2D": ("Pool2DOptions", 2),
    "RESHAPE": ("ReshapeOptions", 1),
    "SOFTMAX": ("SoftmaxOptions", 2),
    "QUANTIZE": ("QuantizeOptions", 2),
    "RELU": ("", 2),
    "RELU6": ("", 2),
    "RELU_N1_TO_1": ("", 1),
    "PAD": ("PadOptions", 2),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ("UnidirectionalSequenceLSTMOptions", 3),
    "SVDF": ("SVDFOptions", 3),
    "LOGISTIC": ("", 3),
    "TANH": ("", 3),
    "GELU": ("GeluOptions", 2),
    "RSQRT": ("", 2),
    "EXP": ("ExpOptions", 2),
    "HARD_SWISH": ("HardSwishOptions", 1),
    "LEAKY_RELU": ("LeakyReluOptions", 2),
    "SUB": ("SubOptions", 3),
    "MUL": ("MulOptions", 4),
    "MEAN": ("ReducerOptions", 3),
    "SUM": ("ReducerOptions", 2),
    "REDUCE_MAX": ("ReducerOptions", 2),
    "REDUCE_MIN": ("ReducerOptions", 2),
    "BATCH_MATMUL": ("BatchMatMulOptions", 3),
    "PRELU": ("", 1),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", 4),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", 4),
    "ARG_MAX": ("ArgMaxOptions", 2),
    "ARG_MIN": ("ArgMinOptions", 2),
    "TRANSPOSE_CONV": ("TransposeConvOptions", 3),
    "DEQUANTIZE": ("DequantizeOptions", 3),
    "TRANSPOSE": ("TransposeOptions", 2),
    "SLICE": ("SliceOptions", 2),
    "STRIDED_SLICE": ("StridedSliceOptions", 2),
    "SPLIT": ("SplitOptions", 2),
    "SPLIT_V": ("SplitVOptions", 2),
    "CONCATENATION": ("ConcatenationOptions", 2),
    "PACK": ("PackOptions", 2),
    "UNPACK": ("UnpackOptions", 2),
    "PADV2": ("PadV2Options", 2),
    "MIRROR_PAD": ("MirrorPadOptions", 2),
    "SPACE_TO_DEPTH": ("SpaceToDepthOptions", 2),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", 1),
    "SPACE_TO_BATCH_ND": ("SpaceToBatchNDOptions", 2),
    "BATCH_TO_SPACE_ND": ("BatchToSpaceNDOptions", 2),
    "SQUEEZE": ("SqueezeOptions", 1),
    "EXPAND_DIMS": ("ExpandDimsOptions", 1),
    "GATHER": ("GatherOptions", 2),
    "GATHER_ND": ("GatherNdOptions", 2),
    "TILE": ("TileOptions", 2),
    "BROADCAST_TO": ("BroadcastToOptions", 2),
    "CAST": ("CastOptions", 1),
    "MAXIMUM": ("MaximumMinimumOptions", 2),
    "MINIMUM": ("MaximumMinimumOptions", 2),
    "FLOOR_DIV": ("FloorDivOptions", 1),
    "DIV": ("DivOptions", 1),
    "SQRT": ("", 1),
    "ABS": ("AbsOptions", 2),
    "CALL_ONCE": ("CallOnceOptions", 1),
    "VAR_HANDLE": ("VarHandleOptions", 1),
    "READ_VARIABLE": ("ReadVariableOptions", 1),
    "ASSIGN_VARIABLE": ("AssignVariableOptions", 1),
}


@dataclass(frozen=True)
class Tensor:
    """A tensor; ``scale`` a number, or one per slice along ``axis``; ``data`` makes it a constant."""

    name: str
    shape: Sequence[int]
    dtype: str
    scale: float | np.float32 | Sequence[float] | np.ndarray | None = None
    zero_point: int = 0
    data: np.ndarray | None = None
    axis: int = 0
    variable: bool = False  # keeps its value from one invocation to the next


@dataclass(frozen=True)
class Op:
    """An operator; names of tensors ('' for a missing one) and fields of its options table."""

    kind: str
    inputs: Sequence[str]
    output: str  # '' for none
    options: Mapping[str, Any] = field(default_factory=dict)
    intermediates: Sequence[str] = ()  # tensors that only carry quantization
    version: int | None = None  # of the operator; by default the 8-bit kernels' version
    more_outputs: Sequence[str] = ()  # after ``output``
    custom_options: bytes = b""  # of a kind "CUSTOM <name>"


def _table(builder: Any, name: str, fields: Mapping[str, Any]) -> int:
    getattr(tflite, f"{name}Start")(builder)
    for key, value in fields.items():
        getattr(tflite, f"{name}Add{key}")(builder, value)
    return int(getattr(tflite, f"{name}End")(builder))


def _vector(builder: Any, values: Any, dtype: type) -> int:
    return int(builder.CreateNumpyVector(np.atleast_1d(np.asarray(values, dtype))))


def _offsets(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):  # a flatbuffer grows downwards
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _quantization(builder: Any, tensor: Tensor) -> int:
    scales = np.atleast_1d(np.asarray(tensor.scale, np.float32))
    fields = {
        "Scale": _vector(builder, scales, np.float32),
        "ZeroPoint": _vector(builder, [tensor.zero_point] * scales.size, np.int64),
        "QuantizedDimension": tensor.axis,
    }
    return _table(builder, "QuantizationParameters", fields)


def _tensor(builder: Any, tensor: Tensor, buffer: int) -> int:
    fields: dict[str, Any] = {
        "Shape": _vector(builder, list(tensor.shape), np.int32),
        "Type": _TYPES[tensor.dtype],
        "Buffer": buffer,
        "Name": builder.CreateString(tensor.name),
    }
    if tensor.scale is not None:
        fields["Quantization"] = _quantization(builder, tensor)
    if tensor.variable:
        fields["IsVariable"] = True
    return _table(builder, "Tensor", fields)


def _described(op: Op) -> tuple[str, int]:
    """Options table and version of an operator."""
    return ("", 1) if op.kind.startswith("CUSTOM ") else _OPERATORS[op.kind]


def _option(builder: Any, value: Any) -> Any:
    if isinstance(value, str):
        return builder.CreateString(value)
    return _vector(builder, value, np.int32) if isinstance(value, list | tuple) else value


def _operator(builder: Any, op: Op, index: Mapping[str, int], code: int) -> int:
    options, _ = _described(op)
    made = (op.output, *op.more_outputs)
    fields: dict[str, Any] = {
        "OpcodeIndex": code,
        "Inputs": _vector(builder, [index[n] if n else -1 for n in op.inputs], np.int32),
        "Outputs": _vector(builder, [index[n] for n in made if n], np.int32),
    }
    if op.intermediates:
        fields["Intermediates"] = _vector(builder, [index[n] for n in op.intermediates], np.int32)
    if op.custom_options:
        fields["CustomOptions"] = builder.CreateByteVector(op.custom_options)
    if options:
        values = {key: _option(builder, value) for key, value in op.options.items()}
        fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, options)
        fields["BuiltinOptions"] = _table(builder, options, values)
    return _table(builder, "Operator", fields)


def _buffers(builder: Any, tensors: Sequence[Tensor]) -> tuple[list[int], list[int]]:
    """Buffer offsets, and each tensor's buffer; buffer 0 is empty, for tensors without data."""
    offsets, used = [_table(builder, "Buffer", {})], []
    for tensor in tensors:
        if tensor.data is None:
            used.append(0)
            continue
        raw = np.ascontiguousarray(tensor.data).tobytes()
        if tensor.dtype == "i4":  # two to a byte, the first in the low half
            nibbles = np.append(tensor.data.reshape(-1).astype(np.uint8) & 15, np.uint8(0))
            raw = (nibbles[:-1:2] | nibbles[1::2] << 4).tobytes()
        builder.Prep(16, len(raw))  # the schema's force_align, which the Python builder ignores
        data = builder.CreateByteVector(raw)
        used.append(len(offsets))
        offsets.append(_table(builder, "Buffer", {"Data": data}))
    return offsets, used


class _Subgraph(NamedTuple):
    tensors: Sequence[Tensor]
    ops: Sequence[Op]
    inputs: Sequence[str]
    outputs: Sequence[str]

    def write(self, builder: Any, used: Sequence[int], codes: Sequence[tuple[str, int]]) -> int:
        """``used``: the buffer of each tensor; ``codes``: the operators and versions of the file."""
        index = {t.name: i for i, t in enumerate(self.tensors)}
        written = [_tensor(builder, t, b) for t, b in zip(self.tensors, used, strict=True)]
        operators = [
            _operator(builder, op, index, codes.index((op.kind, _version(op)))) for op in self.ops
        ]
        fields = {
            "Tensors": _offsets(builder, written),
            "Inputs": _vector(builder, [index[n] for n in self.inputs], np.int32),
            "Outputs": _vector(builder, [index[n] for n in self.outputs], np.int32),
            "Operators": _offsets(builder, operators),
        }
        return _table(builder, "SubGraph", fields)


def _version(op: Op) -> int:
    return op.version or _described(op)[1]


def _starting(values: Mapping[str, np.ndarray]) -> _Subgraph:
    """The subgraph that gives variables their first values."""
    tensors, ops = [], []
    for name, value in values.items():
        kind = {"int8": "i8", "uint8": "u8", "int16": "i16"}[value.dtype.name]
        tensors += [
            Tensor(name, (1,), "resource"),
            Tensor(f"{name}/0", value.shape, kind, data=value),
        ]
        ops += [variable(name), Op("ASSIGN_VARIABLE", [name, f"{name}/0"], "")]
    return _Subgraph(tensors, ops, [], [])


def variable(name: str) -> Op:
    """The operator that makes the handle of a variable, a tensor of its name."""
    return Op("VAR_HANDLE", [], name, {"SharedName": name})


def build_model(
    tensors: Sequence[Tensor], ops: Sequence[Op], inputs: Sequence[str], outputs: Sequence[str],
    first_values: Mapping[str, np.ndarray] | None = None,
) -> bytes:  # fmt: skip
    """The bytes of a model file; with ``first_values`` of variables it has a second subgraph."""
    builder: Any = flatbuffers.Builder(1024)
    graphs = [_Subgraph(tensors, ops, inputs, outputs)]
    if first_values:
        once = Op("CALL_ONCE", [], "", {"InitSubgraphIndex": 1})
        graphs = [graphs[0]._replace(ops=[once, *ops]), _starting(first_values)]
    kinds = list(dict.fromkeys((op.kind, _version(op)) for graph in graphs for op in graph.ops))
    buffers, used = _buffers(builder, [t for graph in graphs for t in graph.tensors])
    written, done = [], 0
    for graph in graphs:
        own = used[done : done + len(graph.tensors)]
        written.append(graph.write(builder, own, kinds))
        done += len(graph.tensors)
    subgraphs = _offsets(builder, written)
    codes = []
    for kind, version in kinds:
        builtin, _, name = kind.partition(" ")
        number = getattr(tflite.BuiltinOperator, builtin)
        # The older field has eight bits; 127 there says that the number is in the newer one.
        fields = {"DeprecatedBuiltinCode": min(number, 127), "BuiltinCode": number}
        if name:
            fields["CustomCode"] = builder.CreateString(name)
        codes.append(_table(builder, "OperatorCode", {**fields, "Version": version}))
    model = {
        "Version": 3,
        "OperatorCodes": _offsets(builder, codes),
        "Subgraphs": subgraphs,
        "Buffers": _offsets(builder, buffers),
    }
    builder.Finish(_table(builder, "Model", model), file_identifier=b"TFL3")
    return bytes(builder.Output())
