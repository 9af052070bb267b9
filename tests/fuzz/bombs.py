"""Small files that ask for much: each names one part of itself many times, or states a size that it does
not hold.

``python -m fuzz.bombs`` reads each in a process of its own under the bound of its size, and prints how that
ended, as JSON: name -> ``read``, the text of our error, or the name of any other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import tflite
from broken_tflite import T, simple_model
from fuzz.limits import at_most
from onnx_builder import OnnxBuilder
from onnx_models import qdq_end, qdq_start
from tflite_builder import Op, Tensor, build_model

from simulator.errors import NpusimError
from simulator.importers import memory_bound

QONNX = "qonnx.custom_op.general"
_MANY = 1 << 19  # bytes of the part that is named many times


# --- flatbuffers -------------------------------------------------------------------------------------


def _one_buffer() -> bytes:
    """4000 tensors of the same half megabyte."""
    count = 4000
    shared = T("w", [_MANY], data=bytes(_MANY))
    others = [T(f"w{i}", [_MANY], buffer=1) for i in range(count)]
    made = T("y", [_MANY * (count + 1)])
    return simple_model(
        "CONCATENATION", shared, *others, made, options="ConcatenationOptions"
    ).write()


def _one_list() -> bytes:
    """An operator's list of inputs used by 3000 operators."""
    builder: Any = flatbuffers.Builder(1 << 20)
    inputs = builder.CreateNumpyVector(np.zeros(_MANY // 4, np.int32))
    outputs = builder.CreateNumpyVector(np.ones(1, np.int32))
    tflite.OperatorStart(builder)
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    operator = tflite.OperatorEnd(builder)
    tensors = _offsets(builder, [_tensor(builder, f"t{i}", [4]) for i in range(2)])
    return _finished(builder, tensors, _offsets(builder, [operator] * 3000), "CONCATENATION")


def _one_tensor() -> bytes:
    """60000 scales, and a name of 100000 letters, of one tensor that is listed 3000 times."""
    builder: Any = flatbuffers.Builder(1 << 20)
    tensor = _tensor(builder, "x" * 100_000, [60_000], np.full(60_000, 0.5, np.float32))
    tensors = _offsets(builder, [tensor] * 3000)
    inputs = builder.CreateNumpyVector(np.arange(2999, dtype=np.int32))
    outputs = builder.CreateNumpyVector(np.full(1, 2999, np.int32))
    tflite.OperatorStart(builder)
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    operators = _offsets(builder, [tflite.OperatorEnd(builder)])
    return _finished(builder, tensors, operators, "CONCATENATION")


def _offsets(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _tensor(builder: Any, name: str, shape: list[int], scales: np.ndarray | None = None) -> int:
    text, sizes = builder.CreateString(name), builder.CreateNumpyVector(np.array(shape, np.int32))
    quantization = 0
    if scales is not None:
        stated = builder.CreateNumpyVector(scales)
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, stated)
        quantization = tflite.QuantizationParametersEnd(builder)
    tflite.TensorStart(builder)
    tflite.TensorAddName(builder, text)
    tflite.TensorAddShape(builder, sizes)
    tflite.TensorAddType(builder, tflite.TensorType.INT8)
    tflite.TensorAddQuantization(builder, quantization)
    return tflite.TensorEnd(builder)


def _finished(builder: Any, tensors: int, operators: int, kind: str) -> bytes:
    numbers = [builder.CreateNumpyVector(np.array([i], np.int32)) for i in (0, 1)]
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensors)
    tflite.SubGraphAddInputs(builder, numbers[0])
    tflite.SubGraphAddOutputs(builder, numbers[1])
    tflite.SubGraphAddOperators(builder, operators)
    subgraphs = _offsets(builder, [tflite.SubGraphEnd(builder)])
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddBuiltinCode(builder, getattr(tflite.BuiltinOperator, kind))
    codes = _offsets(builder, [tflite.OperatorCodeEnd(builder)])
    tflite.BufferStart(builder)
    buffers = _offsets(builder, [tflite.BufferEnd(builder)])
    tflite.ModelStart(builder)
    tflite.ModelAddSubgraphs(builder, subgraphs)
    tflite.ModelAddOperatorCodes(builder, codes)
    tflite.ModelAddBuffers(builder, buffers)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def _states() -> bytes:
    """Eight variable tensors of 2^28 elements."""
    names = [f"s{i}" for i in range(8)]
    tensors = [Tensor(n, (1 << 14, 1 << 14), "i8", 0.5, variable=True) for n in names]
    tensors += [Tensor("x", (1, 4), "i8", 0.5), Tensor("y", (1, 4), "i8", 0.5)]
    ops = [Op("CONCATENATION", ["x", *names], "y", {"Axis": 0})]
    return build_model(tensors, ops, ["x"], ["y"])


def _evaluated(kind: str, operand: list[int], options: dict[str, int] | None = None) -> bytes:
    """A constant of 8 elements made large by an operator, then added."""
    large = (1, operand[1] * 8) if kind == "TILE" else tuple(operand)
    tensors = [
        Tensor("c", (1, 8), "i8", 0.5, data=np.ones((1, 8), np.int8)),
        Tensor("n", (2,), "i32", data=np.array(operand, np.int32)),
        *(Tensor(n, large, "i8", 0.5) for n in ("x", "large", "y")),
    ]
    ops = [Op(kind, ["c", "n"], "large", options or {}), Op("ADD", ["x", "large"], "y")]
    return build_model(tensors, ops, ["x"], ["y"])


def _flexbuffer() -> bytes:
    """Options of 40 vectors, each of which names the one before it eight times."""
    vector = 10 << 2  # packed: of elements one byte wide
    options, before = bytearray(b"\x01"), 0
    for _ in range(40):
        options.append(8)
        start = len(options)
        options += bytes(start + i - before for i in range(8)) + bytes([vector] * 8)
        before = start
    options += bytes([len(options) - before, vector, 1])
    shapes = {"boxes": (1, 4, 4), "scores": (1, 4, 2), "anchors": (4, 4)}
    tensors = [Tensor(n, shape, "f32") for n, shape in shapes.items()]
    outputs = {"y": (1, 4, 4), "classes": (1, 4), "found": (1, 4), "count": (1,)}
    tensors += [Tensor(n, shape, "f32") for n, shape in outputs.items()]
    op = Op(
        "CUSTOM TFLite_Detection_PostProcess", [*shapes], "y", more_outputs=[*outputs][1:],
        custom_options=bytes(options),
    )  # fmt: skip
    return build_model(tensors, [op], [*shapes], [*outputs])


# --- protobuf ----------------------------------------------------------------------------------------


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def _records(number: int, content: bytes = b"", of_node: bool = False) -> bytes:
    """A model whose graph (or only node) has half a megabyte of field ``number``, again and again."""
    record = _field(number, content)
    many = record * (_MANY // len(record))
    node = _field(1, _field(4, b"Relu") + (many if of_node else b""))
    graph = node + (b"" if of_node else many)
    return b"\x08\x0a" + _field(8, b"\x10\x15") + _field(7, graph)


def _expanded() -> bytes:
    b = qdq_start()
    b.constant("one", np.float32(1))
    b.constant("shape", [1 << 13, 1 << 13])
    b.node("Expand", ["one", "shape"], "large")
    b.node("Add", ["x_dq", "large"], "y")
    return qdq_end(b, "y")


def _outer_quantized() -> bytes:
    """A column of numbers with scales for a row."""
    b = qdq_start((1, 1 << 16))
    b.constant("w", np.ones((1 << 16, 1), np.float32))
    b.constant("s", np.full(1 << 16, 0.5, np.float32))
    b.constant("z", np.zeros(1 << 16, np.int8))
    b.node("QuantizeLinear", ["w", "s", "z"], "w_q", axis=1)
    b.node("DequantizeLinear", ["w_q", "s", "z"], "w_dq", axis=1)
    b.node("MatMul", ["x_dq", "w_dq"], "y")
    return qdq_end(b, "y")


def _qonnx_weights(weights: np.ndarray, scale: np.ndarray) -> bytes:
    b = OnnxBuilder(13)
    b.input("x", (1, weights.shape[0]))
    b.constant("s", np.float32(0.5))
    b.constant("zero", np.float32(0))
    b.constant("bits", np.float32(8))
    b.constant("w", weights)
    b.constant("ws", scale)
    quantize = [["x", "s"], ["w", "ws"]]
    for (x, s), made in zip(quantize, ("x_q", "w_q"), strict=True):
        b.node("Quant", [x, s, "zero", "bits"], made, QONNX, signed=1, rounding_mode="ROUND")
    b.node("MatMul", ["x_q", "w_q"], "y")
    b.node("Quant", ["y", "s", "zero", "bits"], "y_q", QONNX, signed=1, rounding_mode="ROUND")
    b.output("y_q")
    return b.write()


def _qonnx_outer() -> bytes:
    return _qonnx_weights(np.ones((1 << 16, 1), np.float32), np.ones((1, 1 << 16), np.float32))


def _qonnx_thresholds() -> bytes:
    """255 thresholds for each of half a million channels."""
    return _qonnx_weights(np.ones((1, _MANY), np.float32), np.ones((), np.float32))


def _qonnx_relu() -> bytes:
    """A function of 2^28 channels, declared and nowhere stored."""
    b = OnnxBuilder(13)
    b.input("x", (1, 1 << 28))
    b.constant("s", np.float32(0.5))
    b.constant("zero", np.float32(0))
    b.constant("bits", np.float32(8))
    b.node("Relu", ["x"], "r")
    b.node("Quant", ["r", "s", "zero", "bits"], "y", QONNX, signed=1, rounding_mode="ROUND")
    b.output("y")
    return b.write()


def _scales_again() -> bytes:
    """100 000 scales named by 300 operators."""
    b = qdq_start()
    size = 100_000
    b.constant("w", np.ones(size, np.int8))
    b.constant("s", np.full(size, 0.5, np.float32))
    b.constant("z", np.zeros(size, np.int8))
    for i in range(300):
        b.node("DequantizeLinear", ["w", "s", "z"], f"w{i}", axis=0)
    b.node("Concat", [f"w{i}" for i in range(300)], "y", axis=0)
    return qdq_end(b, "y")


BOMBS: dict[str, Callable[[], bytes]] = {
    "tflite one buffer": _one_buffer,
    "tflite one list": _one_list,
    "tflite one tensor": _one_tensor,
    "tflite states": _states,
    "tflite tile": lambda: _evaluated("TILE", [1, 1 << 24]),
    "tflite broadcast": lambda: _evaluated("BROADCAST_TO", [1 << 24, 8]),
    "tflite flexbuffer": _flexbuffer,
    "onnx nodes": lambda: _records(1),
    "onnx initializers": lambda: _records(5),
    "onnx inputs": lambda: _records(11),
    "onnx attributes": lambda: _records(5, of_node=True),
    "onnx names": lambda: _records(1, b"ab", of_node=True),
    "onnx expand": _expanded,
    "onnx outer": _outer_quantized,
    "onnx scales": _scales_again,
    "onnx qonnx outer": _qonnx_outer,
    "onnx qonnx thresholds": _qonnx_thresholds,
    "onnx qonnx relu": _qonnx_relu,
}


def ending(name: str) -> str:
    """How reading a file of ``BOMBS`` ends within the bound of its size."""
    from simulator.importers.onnx import read_onnx
    from simulator.importers.tflite import read_tflite

    content = BOMBS[name]()
    read = read_tflite if name.startswith("tflite") else read_onnx
    try:
        with at_most(memory_bound(len(content))):
            read(content, "bomb")
    except NpusimError as error:
        return str(error)
    except Exception as error:
        return type(error).__name__
    return "read"


def main() -> None:
    for name in BOMBS:
        inside = os.fork()
        if inside == 0:
            print(json.dumps({name: ending(name)}), flush=True)
            os._exit(0)
        os.waitpid(inside, 0)


if __name__ == "__main__":
    main()
