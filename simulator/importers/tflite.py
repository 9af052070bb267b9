"""TensorFlow Lite flatbuffers, read through the ``tflite`` schema package."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import tflite

from simulator.errors import ModelError
from simulator.graph import Graph, GraphTensor, Node, attributes
from simulator.graph.ir import Attributes
from simulator.graph.passes import canonicalize
from simulator.importers._check import check_graph
from simulator.ops import operator_names
from simulator.tensor import QuantParams, TensorSpec

# What reading a damaged flatbuffer raises in the schema package and in numpy.
_DAMAGED = (
    struct.error, IndexError, TypeError, ValueError, OverflowError, AttributeError, MemoryError,
    UnicodeDecodeError,
)  # fmt: skip


def _names_by_code(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int) and not k.startswith("_")}


_OPERATORS = _names_by_code(tflite.BuiltinOperator)
_TYPES = _names_by_code(tflite.TensorType)
_DTYPES = {"INT8": "i8", "UINT8": "u8", "INT16": "i16", "INT32": "i32", "INT64": "i64"}
_ACTIVATIONS = _names_by_code(tflite.ActivationFunctionType)
_PADDINGS = _names_by_code(tflite.Padding)
_WEIGHT_FORMATS = _names_by_code(tflite.FullyConnectedOptionsWeightsFormat)


def _options(operator: Any, kind: type) -> Any:
    table = operator.BuiltinOptions()
    options = kind()
    if table is None:
        return None
    options.Init(table.Bytes, table.Pos)
    return options


def _convolution(operator: Any, kind: type) -> Attributes:
    o = _options(operator, kind)
    return attributes(
        padding=_PADDINGS[o.Padding()], stride_h=o.StrideH(), stride_w=o.StrideW(),
        dilation_h=o.DilationHFactor(), dilation_w=o.DilationWFactor(),
        activation=_ACTIVATIONS[o.FusedActivationFunction()],
    )  # fmt: skip


def _pooling(operator: Any) -> Attributes:
    o = _options(operator, tflite.Pool2DOptions)
    return attributes(
        padding=_PADDINGS[o.Padding()], stride_h=o.StrideH(), stride_w=o.StrideW(),
        kernel_h=o.FilterHeight(), kernel_w=o.FilterWidth(),
        activation=_ACTIVATIONS[o.FusedActivationFunction()],
    )  # fmt: skip


def _fully_connected(operator: Any) -> Attributes:
    o = _options(operator, tflite.FullyConnectedOptions)
    return attributes(
        activation=_ACTIVATIONS[o.FusedActivationFunction()],
        weights_format=_WEIGHT_FORMATS[o.WeightsFormat()],
        keep_dims=int(o.KeepNumDims()),
    )


def _add(operator: Any) -> Attributes:
    o = _options(operator, tflite.AddOptions)
    activation = _ACTIVATIONS[o.FusedActivationFunction()] if o is not None else "NONE"
    return attributes(activation=activation)


def _softmax(operator: Any) -> Attributes:
    return attributes(beta=float(_options(operator, tflite.SoftmaxOptions).Beta()))


def _none(operator: Any) -> Attributes:
    return ()


# TFLite operator -> its attributes. An operator is read when it has a row here and a file in ops/.
_READERS: dict[str, Callable[[Any], Attributes]] = {
    "CONV_2D": lambda o: _convolution(o, tflite.Conv2DOptions),
    "DEPTHWISE_CONV_2D": lambda o: _convolution(o, tflite.DepthwiseConv2DOptions),
    "FULLY_CONNECTED": _fully_connected,
    "ADD": _add,
    "AVERAGE_POOL_2D": _pooling,
    "MAX_POOL_2D": _pooling,
    "RESHAPE": _none,
    "SOFTMAX": _softmax,
    "QUANTIZE": _none,
    "RELU": _none,
    "RELU6": _none,
    "PAD": _none,
}


def supported_operators() -> list[str]:
    """TFLite operators this importer reads."""
    return sorted(_READERS)


def read_tflite(content: bytes, name: str) -> Graph:
    """The canonical, checked graph of a ``.tflite`` file's bytes."""
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise ModelError(name, "is not a TensorFlow Lite file", "a flatbuffer with identifier TFL3")
    try:
        graph = _Reader(content, name).graph()
    except _DAMAGED as error:
        raise ModelError(name, f"is damaged: {type(error).__name__}: {error}") from None
    return check_graph(canonicalize(graph))


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
        self.taken: set[str] = set()

    def graph(self) -> Graph:
        nodes = [self._node(i) for i in range(self.subgraph.OperatorsLength())]
        inputs = tuple(self._tensor(int(i)) for i in self._vector(self.subgraph.InputsAsNumpy()))
        outputs = tuple(self._tensor(int(i)) for i in self._vector(self.subgraph.OutputsAsNumpy()))
        if not nodes or not inputs or not outputs:
            raise ModelError(self.name, "has no operators, no inputs or no outputs")
        return Graph(
            self.name, "tflite", self.tensors, self.constants, tuple(nodes), inputs, outputs,
            self.sha256,
        )  # fmt: skip

    @staticmethod
    def _vector(values: Any) -> list[int]:
        # The schema package returns 0 for an absent vector.
        return [] if isinstance(values, int) else [int(v) for v in values]

    def _node(self, index: int) -> Node:
        op: Any = self.subgraph.Operators(index)
        code: Any = self.model.OperatorCodes(op.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = _OPERATORS.get(number, f"number {number}")
        if kind == "CUSTOM":
            kind = f"CUSTOM {(code.CustomCode() or b'').decode()}"
        where = f"{self.name}: operator {index} ({kind})"
        if kind not in _READERS or kind.lower() not in operator_names():
            raise ModelError(where, "is not supported", ", ".join(supported_operators()))
        inputs = tuple(self._tensor(i) if i >= 0 else "" for i in self._vector(op.InputsAsNumpy()))
        outputs = tuple(self._tensor(i) for i in self._vector(op.OutputsAsNumpy()))
        if not inputs or len(outputs) != 1:
            raise ModelError(where, f"has {len(inputs)} inputs and {len(outputs)} outputs")
        attrs = _READERS[kind](op)
        # The output's name is the layer's name users know from their training framework.
        return Node(outputs[0], kind.lower(), inputs, outputs, attrs)

    def _tensor(self, index: int) -> str:
        if index in self.by_index:
            return self.by_index[index]
        if not 0 <= index < self.subgraph.TensorsLength():
            raise ModelError(
                self.name, f"tensor number {index}", f"0..{self.subgraph.TensorsLength() - 1}"
            )
        tensor: Any = self.subgraph.Tensors(index)
        base = (tensor.Name() or b"").decode() or f"tensor_{index}"
        name = base if base not in self.taken else f"{base}#{index}"
        self.taken.add(name)
        where = f"{self.name}: tensor {index} ({name})"
        type_name = _TYPES.get(tensor.Type(), f"number {tensor.Type()}")
        if type_name not in _DTYPES:
            allowed = ", ".join(_DTYPES) + " (quantize the model first)"
            raise ModelError(where, f"element type {type_name}", allowed)
        shape = tuple(self._vector(tensor.ShapeAsNumpy()))
        try:
            spec = TensorSpec(shape, _DTYPES[type_name])
            params = self._quantization(tensor, spec)
        except ModelError as error:
            raise ModelError(where, error.problem, error.allowed) from None
        self.by_index[index] = name
        self.tensors[name] = GraphTensor(name, spec, params, index)
        self._constant(tensor, name, spec, where)
        return name

    def _quantization(self, tensor: Any, spec: TensorSpec) -> QuantParams | None:
        q = tensor.Quantization()
        if q is None or q.ScaleLength() == 0:
            return None
        scales = tuple(float(s) for s in q.ScaleAsNumpy())
        points = tuple(self._vector(q.ZeroPointAsNumpy())) or (0,) * len(scales)
        axis = q.QuantizedDimension()
        if len(scales) > 1 and not (axis < len(spec.shape) and spec.shape[axis] == len(scales)):
            raise ModelError(
                "", f"{len(scales)} scales along axis {axis} of shape {list(spec.shape)}"
            )
        if any(not spec.minimum <= z <= spec.maximum for z in points):
            raise ModelError("", f"zero point outside {spec.minimum}..{spec.maximum}")
        return QuantParams(scales, points, axis if len(scales) > 1 else 0)

    def _constant(self, tensor: Any, name: str, spec: TensorSpec, where: str) -> None:
        buffer: Any = self.model.Buffers(tensor.Buffer())
        if buffer is None or buffer.DataLength() == 0:
            return
        if buffer.DataLength() != spec.elements * spec.container.itemsize:
            raise ModelError(
                where, f"holds {buffer.DataLength()} bytes",
                f"{spec.elements * spec.container.itemsize} for {spec}",
            )  # fmt: skip
        raw = buffer.DataAsNumpy().tobytes()
        self.constants[name] = np.frombuffer(raw, spec.container.newbyteorder("<")).reshape(
            spec.shape
        )
