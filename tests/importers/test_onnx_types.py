"""What is quantized when: biases, weights, sums, float remainders, types of few and many bits."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_builder import OnnxBuilder
from onnx_models import (
    SHAPE,
    codes,
    lines,
    operators,
    qdq_end,
    qdq_start,
    qdq_unary,
    read,
)

from simulator.tensor import QuantParams


def test_a_float_bias_is_quantized_as_onnx_runtime_does() -> None:
    # rint(f32(bias / f32(0.0173 * 0.0113))): ties to even, and no double rounding.
    scale = np.float32(0.0173) * np.float32(0.0113)
    b = OnnxBuilder(21)
    b.input("x", (1, 4, 6, 8))
    b.qdq("x", 0.0173, 128)
    b.weights("w", codes(5, 4, 3, 3), 0.0113)
    numbers = (np.array([2.5, -3.5, 1829.5, 1e30, -7.4]) * float(scale)).astype(np.float32)
    b.constant("b", numbers, np.float32)
    b.node("Conv", ["x_dq", "w_dq", "b"], "y")
    graph = read(qdq_end(b, "y"))
    assert graph.constants["b"].tolist() == [2, -4, 1830, 2**31 - 1, -7]
    assert graph.tensors["b"].quantization == QuantParams((float(scale),), (0,), 0)


def test_weights_quantized_in_the_file() -> None:
    b = qdq_start()
    b.constant("w", np.array([[0.5, -1.5, 2.5, 300.0]], np.float32))
    b.node("QuantizeLinear", ["w", *b.scale("w", 1.0, 3, np.int8)], "w_q")
    b.node("DequantizeLinear", ["w_q", "w_scale", "w_zero_point"], "w_dq")
    b.constant("s", [-1, 4])
    b.node("Reshape", ["x_dq", "s"], "r")
    b.qdq("r", 0.02, 120)
    b.node("Gemm", ["r_dq", "w_dq"], "y", transB=1)
    graph = read(qdq_end(b, "y"))
    assert graph.constants["w_q"].tolist() == [[3, 1, 5, 127]]
    assert [n.operator for n in graph.nodes] == [
        "quantize", "reshape", "fully_connected", "dequantize",
    ]  # fmt: skip


def test_float_graph_output_of_a_product_is_its_sums() -> None:
    b = qdq_start((3, 4))
    b.weights("w", codes(4, 5), [0.01, 0.02, 0.01, 0.03, 0.04], axis=1)
    b.output(b.node("MatMul", ["x_dq", "w_dq"], "y"))
    assert lines(b.write())[1:] == [
        'fully_connected ("x_q", "w_q") activation=NONE keep_dims=0 weights_format=DEFAULT '
        '-> "y/sums": i32[3,5] scale[5@1]=0.0002,0.0004,0.0002,.. zero_point=0,0,0,..',
        'dequantize ("y/sums") -> "y": f32[3,5]',
    ]


def test_codes_seen_with_another_scale_are_reinterpreted() -> None:
    b = OnnxBuilder(21)
    b.input("x", (2, 3))
    b.quantize("x", 0.02, 120)
    other = b.scale("other", 0.025, 118, np.uint8)
    b.node("DequantizeLinear", ["x_q", *other], "x_dq")
    b.node("Sigmoid", ["x_dq"], "y")
    assert lines(qdq_end(b, "y"))[1] == (
        'reinterpret ("x_q") -> "x_q/stated": u8[2,3] scale=0.025 zero_point=118'
    )


def test_what_does_not_become_codes_stays_float() -> None:
    b = qdq_start()
    b.constant("k", 0.5, np.float32)
    b.node("Mul", ["x_dq", "k"], "y")
    assert lines(qdq_end(b, "y"))[1:] == [
        'dequantize ("x_q") -> "x_dq": f32[1,4,6,8]',
        'mul ("x_dq", "k") activation=NONE -> "y": f32[1,4,6,8]',
        'quantize ("y") -> "y_q": u8[1,4,6,8] scale=0.03 zero_point=100',
        'dequantize ("y_q") -> "y_dq": f32[1,4,6,8]',
    ]


def test_dynamic_quantization() -> None:
    b = OnnxBuilder(21)
    b.input("x", (2, 8))
    b.node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    b.constant("w", codes(8, 5))
    b.constant("wz", np.int8(3))
    b.node("MatMulInteger", ["q", "w", "z", "wz"], "sums")
    b.node("Cast", ["sums"], "real", to=1)
    b.node("Mul", ["real", "s"], "y")
    b.output("y")
    assert lines(b.write()) == [
        'dynamic_quantize ("x") -> "q": u8[2,8] scale=1.0 zero_point=0, "s": f32[], '
        '"z": u8[] scale=1.0 zero_point=0',
        'fully_connected ("q", "w", -, "z") activation=NONE keep_dims=0 weights_format=DEFAULT '
        '-> "sums": i32[2,5]',
        'cast ("sums") -> "real": f32[2,5]',
        'mul ("real", "s") activation=NONE -> "y": f32[2,5]',
    ]


def test_integer_convolution_of_codes() -> None:
    b = OnnxBuilder(21)
    b.input("x", (1, 4, 6, 8), "UINT8")
    b.constant("xz", np.uint8(7))
    b.constant("w", codes(5, 4, 3, 3))
    b.node("ConvInteger", ["x", "w", "xz"], "y", pads=[1, 1, 1, 1])
    b.output("y", "INT32")
    graph = read(b.write())
    assert [n.operator for n in graph.nodes] == ["transpose", "conv_2d", "transpose"]
    assert graph.tensors["x"].quantization == QuantParams((1.0,), (7,))
    assert graph.tensors["y/nhwc"].quantization is None
    assert graph.spec("y").dtype == "i32"


@pytest.mark.parametrize(("kind", "dtype", "low"), [("INT4", "i4", -8), ("UINT4", "u4", 0)])
def test_four_bit_weights(kind: str, dtype: str, low: int) -> None:
    values = np.arange(15).reshape(5, 3) + low
    b = qdq_start((2, 5))
    b.constant("w_q", values, kind)
    b.constant("w_scale", [0.1, 0.2, 0.3], np.float32)
    b.constant("w_zero_point", [0, 1, 2], kind)
    b.node("DequantizeLinear", ["w_q", "w_scale", "w_zero_point"], "w_dq", axis=1)
    b.node("MatMul", ["x_dq", "w_dq"], "y")
    graph = read(qdq_end(b, "y"))
    assert graph.spec("w_q").dtype == dtype
    assert np.array_equal(graph.constants["w_q"].T, values)
    assert graph.quantization("w_q").zero_points == (0, 1, 2)


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.int8])
def test_activations_of_other_types(kind: type) -> None:
    b = OnnxBuilder(21)
    b.input("x", (2, 3))
    b.qdq("x", 0.001, 5, kind)
    b.output("x_dq")
    graph = read(b.write())
    bits = np.dtype(kind).itemsize * 8
    assert graph.spec("x_q").dtype == f"{np.dtype(kind).kind}{bits}"
    assert [n.operator for n in graph.nodes] == ["quantize", "dequantize"]


def test_mean_of_stated_axes_is_of_numbers() -> None:
    b = qdq_start()
    b.constant("a", [1])
    b.node("ReduceMean", ["x_dq", "a"], "y", keepdims=0)
    graph = read(qdq_end(b, "y"))
    kinds = ["quantize", "dequantize", "mean", "quantize", "dequantize"]
    assert [n.operator for n in graph.nodes] == kinds
    assert dict(graph.nodes[2].attrs) == {"keep_dims": 0}
    assert graph.constants[graph.nodes[2].inputs[1]].tolist() == [1]


def test_what_nothing_joins_is_marked() -> None:
    def arithmetic(low: float, high: float) -> object:
        b = qdq_start()
        b.input("z", SHAPE)
        b.qdq("z", 0.031, 7)
        b.node("Add", ["x_dq", "z_dq"], "t")
        b.constant("low", np.float32(low))
        b.constant("high", np.float32(high))
        b.node("Clip", ["t", "low", "high"], "y")
        graph = read(qdq_end(b, "y"))
        (add,) = (n for n in graph.nodes if n.operator == "add")
        return dict(add.attrs).get("arithmetic")

    assert arithmetic(-3.0, 4.65) is None  # what the codes hold anyway
    assert arithmetic(0.0, 6.0) == "float"


def test_ceil_mode_becomes_padding() -> None:
    node = read(qdq_unary("MaxPool", 0.02, 120, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1))
    pads = {k: v for k, v in node.nodes[2].attrs if k.startswith("pad_")}
    assert pads == {"pad_top": 0, "pad_left": 0, "pad_bottom": 1, "pad_right": 1}


def test_resize() -> None:
    b = qdq_start()
    b.constant("sizes", [1, 4, 12, 16])
    b.node("Resize", ["x_dq", "", "", "sizes"], "y", mode="nearest")
    graph = read(qdq_end(b, "y", 0.02, 120))
    nearest = graph.nodes[2]
    assert (nearest.operator, dict(nearest.attrs)) == (
        "resize_nearest_neighbor",
        {"align_corners": 0, "half_pixel_centers": 1, "nearest_mode": "round_prefer_floor"},
    )
    assert graph.constants[nearest.inputs[1]].tolist() == [12, 16]


def test_nodes_no_output_needs_are_left_out() -> None:
    b = qdq_start()
    b.node("Einsum", ["x_dq"], "unused", equation="abcd->a")
    b.node("Sigmoid", ["x_dq"], "y")
    assert operators(qdq_end(b, "y")) == ["quantize", "logistic", "dequantize"]


def test_an_output_that_is_another_name_is_a_copy() -> None:
    b = qdq_start()
    b.node("Identity", ["x_q"], "again")
    b.output("x_q", "UINT8")
    b.output("again", "UINT8")
    graph = read(b.write())
    assert graph.outputs == ("x_q", "again")
    assert operators(b.write()) == ["quantize", "reshape"]
