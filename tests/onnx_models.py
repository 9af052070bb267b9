"""Small quantized ``.onnx`` models: one operator each, in both of the ways they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx_builder import MICROSOFT, OnnxBuilder

from simulator.graph import Graph
from simulator.graph.text import print_graph
from simulator.importers.onnx import read_onnx

SHAPE = (1, 4, 6, 8)


def read(content: bytes, name: str = "m") -> Graph:
    """The graph, without the rules of operators: those are tested where the operators are."""
    return read_onnx(content, name, check=False)


def lines(content: bytes) -> list[str]:
    """The graph's nodes as text."""
    text = print_graph(read(content)).splitlines()
    return [line for line in text if not line.startswith(("graph", "const", "input", "output"))]


def operators(content: bytes) -> list[str]:
    return [node.operator for node in read(content).nodes]


def codes(*shape: int, kind: type = np.int8, seed: int = 0) -> np.ndarray:
    """Drawn codes, away from the ends of the type."""
    low, high = (-100, 100) if kind is not np.uint8 else (20, 220)
    return np.random.default_rng(seed).integers(low, high, shape).astype(kind)


def qdq_start(shape: tuple[int | str | None, ...] = SHAPE, opset: int = 21) -> OnnxBuilder:
    """x, quantized: scale 0.02, zero point 120."""
    b = OnnxBuilder(opset)
    b.input("x", shape)
    b.qdq("x", 0.02, 120)
    return b


def qdq_end(b: OnnxBuilder, name: str, scale: float = 0.03, zero_point: int = 100) -> bytes:
    """``name`` quantized as the graph's output."""
    b.qdq(name, scale, zero_point)
    b.output(f"{name}_dq")
    return b.write()


def image(b: OnnxBuilder) -> str:
    """A quantized value whose codes are kept as NHWC: x after a MaxPool, [1,4,5,7]."""
    b.node("MaxPool", ["x_dq"], "m", kernel_shape=[2, 2])
    b.qdq("m", 0.02, 120)
    return "m_dq"


def qdq_conv(**attrs: Any) -> bytes:
    """Conv of 5 filters with a scale each, and a bias."""
    b = qdq_start()
    scales = np.array([0.01, 0.02, 0.03, 0.01, 0.02], np.float32)
    b.weights("w", codes(5, 4, 3, 3), scales)
    b.weights("b", codes(5, kind=np.int32), np.float32(0.02) * scales)
    b.node("Conv", ["x_dq", "w_dq", "b_dq"], "y", **attrs)
    return qdq_end(b, "y")


def qoperator_conv(**attrs: Any) -> bytes:
    """The same as one operator."""
    b = OnnxBuilder(21)
    b.input("x", SHAPE)
    b.quantize("x", 0.02, 120)
    b.constant("w_q", codes(5, 4, 3, 3))
    b.constant("b_q", codes(5, kind=np.int32))
    w = b.scale("w", [0.01, 0.02, 0.03, 0.01, 0.02], [0] * 5, np.int8)
    y = b.scale("y", 0.03, 100, np.uint8)
    inputs = ["x_q", "x_scale", "x_zero_point", "w_q", *w, *y, "b_q"]
    b.node("QLinearConv", inputs, "y_q", **attrs)
    b.node("DequantizeLinear", ["y_q", *y], "y_dq")
    b.output("y_dq")
    return b.write()


def qdq_unary(operator: str, scale: float = 0.03, zero_point: int = 100, **attrs: Any) -> bytes:
    b = qdq_start()
    b.node(operator, ["x_dq"], "y", **attrs)
    return qdq_end(b, "y", scale, zero_point)


def microsoft_unary(
    operator: str, scale: float = 0.03, zero_point: int = 100, **attrs: Any
) -> bytes:
    b = OnnxBuilder(21)
    b.input("x", SHAPE)
    b.quantize("x", 0.02, 120)
    y = b.scale("y", scale, zero_point, np.uint8)
    b.node(operator, ["x_q", "x_scale", "x_zero_point", *y], "y_q", MICROSOFT, **attrs)
    b.node("DequantizeLinear", ["y_q", *y], "y_dq")
    b.output("y_dq")
    return b.write()


def qdq_binary(operator: str) -> bytes:
    b = qdq_start()
    b.input("z", SHAPE)
    b.qdq("z", 0.031, 7)
    b.node(operator, ["x_dq", "z_dq"], "y")
    return qdq_end(b, "y")


def microsoft_binary(operator: str) -> bytes:
    b = OnnxBuilder(21)
    for name, scale, point in (("x", 0.02, 120), ("z", 0.031, 7)):
        b.input(name, SHAPE)
        b.quantize(name, scale, point)
    y = b.scale("y", 0.03, 100, np.uint8)
    x, z = ([f"{n}_q", f"{n}_scale", f"{n}_zero_point"] for n in "xz")
    b.node(operator, [*x, *z, *y], "y_q", MICROSOFT)
    b.node("DequantizeLinear", ["y_q", *y], "y_dq")
    b.output("y_dq")
    return b.write()


def qdq_gemm() -> bytes:
    b = qdq_start((3, 8))
    b.weights("w", codes(5, 8), 0.01)
    b.weights("b", codes(5, kind=np.int32), np.float32(0.02) * np.float32(0.01))
    b.node("Gemm", ["x_dq", "w_dq", "b_dq"], "y", transB=1)
    return qdq_end(b, "y")


def qoperator_gemm() -> bytes:
    b = OnnxBuilder(21)
    b.input("x", (3, 8))
    b.quantize("x", 0.02, 120)
    b.constant("w_q", codes(5, 8))
    b.constant("b_q", codes(5, kind=np.int32))
    w = b.scale("w", 0.01, 0, np.int8)
    y = b.scale("y", 0.03, 100, np.uint8)
    inputs = ["x_q", "x_scale", "x_zero_point", "w_q", *w, "b_q", *y]
    b.node("QGemm", inputs, "y_q", MICROSOFT, transB=1)
    b.node("DequantizeLinear", ["y_q", *y], "y_dq")
    b.output("y_dq")
    return b.write()


def qdq_concat() -> bytes:
    b = qdq_start()
    b.input("z", SHAPE)
    b.qdq("z", 0.031, 7)
    b.node("Concat", ["x_dq", "z_dq"], "y", axis=1)
    return qdq_end(b, "y")


def qoperator_concat() -> bytes:
    b = OnnxBuilder(21)
    for name, scale, point in (("x", 0.02, 120), ("z", 0.031, 7)):
        b.input(name, SHAPE)
        b.quantize(name, scale, point)
    y = b.scale("y", 0.03, 100, np.uint8)
    x, z = ([f"{n}_q", f"{n}_scale", f"{n}_zero_point"] for n in "xz")
    b.node("QLinearConcat", [*y, *x, *z], "y_q", MICROSOFT, axis=1)
    b.node("DequantizeLinear", ["y_q", *y], "y_dq")
    b.output("y_dq")
    return b.write()


# The same network in both forms: (QDQ, QOperator).
PAIRS: dict[str, tuple[Callable[[], bytes], Callable[[], bytes]]] = {
    "conv": (lambda: qdq_conv(pads=[1, 1, 1, 1]), lambda: qoperator_conv(pads=[1, 1, 1, 1])),
    "gemm": (qdq_gemm, qoperator_gemm),
    "add": (lambda: qdq_binary("Add"), lambda: microsoft_binary("QLinearAdd")),
    "mul": (lambda: qdq_binary("Mul"), lambda: microsoft_binary("QLinearMul")),
    "concat": (qdq_concat, qoperator_concat),
    "sigmoid": (lambda: qdq_unary("Sigmoid"), lambda: microsoft_unary("QLinearSigmoid")),
    "leaky_relu": (
        lambda: qdq_unary("LeakyRelu", alpha=0.25),
        lambda: microsoft_unary("QLinearLeakyRelu", alpha=0.25),
    ),
    "softmax": (
        lambda: qdq_unary("Softmax", 1 / 256, 0, axis=-1),
        lambda: microsoft_unary("QLinearSoftmax", 1 / 256, 0, axis=-1, opset=13),
    ),
    "average_pool": (
        lambda: qdq_unary("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
        lambda: microsoft_unary("QLinearAveragePool", kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
    ),
    "global_average_pool": (
        lambda: qdq_unary("GlobalAveragePool"),
        lambda: microsoft_unary("QLinearGlobalAveragePool"),
    ),
}
