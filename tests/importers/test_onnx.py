"""What the ONNX reader makes of sound files: the same graph from both ways of writing one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from onnx_models import (
    PAIRS,
    codes,
    lines,
    qdq_conv,
    qdq_end,
    qdq_start,
    read,
)
from real_models import SHARED

from simulator.graph.text import print_graph
from simulator.importers.onnx import supported_operators
from simulator.tensor import QuantParams


@pytest.mark.parametrize("name", PAIRS)
def test_both_forms_give_one_graph(name: str) -> None:
    qdq, qoperator = PAIRS[name]
    assert print_graph(read(qdq())) == print_graph(read(qoperator()))


def test_convolution_as_text() -> None:
    assert print_graph(read(PAIRS["conv"][0]())) == (
        'graph "m" profile=onnxruntime\n'
        'input  "x": f32[1,4,6,8]\n'
        'const  "b_q": i32[5] scale[5@0]=0.0002,0.0004,0.00059999997,.. zero_point=0,0,0,.. '
        "sha256=394c3f02e45e\n"
        'const  "w_q": i8[5,3,3,4] scale[5@0]=0.01,0.02,0.03,.. zero_point=0,0,0,.. '
        "sha256=d69a5b607c62\n"
        'quantize ("x") -> "x_q": u8[1,4,6,8] scale=0.02 zero_point=120\n'
        'transpose ("x_q") perm=(0,2,3,1) -> "x_q/nhwc": u8[1,6,8,4] scale=0.02 zero_point=120\n'
        'conv_2d ("x_q/nhwc", "w_q", "b_q") activation=NONE dilation_h=1 dilation_w=1 '
        "pad_bottom=1 pad_left=1 pad_right=1 pad_top=1 stride_h=1 stride_w=1 "
        '-> "y_q": u8[1,6,8,5] scale=0.03 zero_point=100\n'
        'transpose ("y_q") perm=(0,3,1,2) -> "y_q/file": u8[1,5,6,8] scale=0.03 zero_point=100\n'
        'dequantize ("y_q/file") -> "y_dq": f32[1,5,6,8]\n'
        'output "y_dq"\n'
    )


GOLDEN = {
    "gemm": [
        'fully_connected ("x_q", "w_q", "b_q") activation=NONE keep_dims=0 weights_format=DEFAULT '
        '-> "y_q": u8[3,5] scale=0.03 zero_point=100'
    ],
    "add": [
        'quantize ("z") -> "z_q": u8[1,4,6,8] scale=0.031 zero_point=7',
        'add ("x_q", "z_q") activation=NONE -> "y_q": u8[1,4,6,8] scale=0.03 zero_point=100',
    ],
    "mul": [
        'quantize ("z") -> "z_q": u8[1,4,6,8] scale=0.031 zero_point=7',
        'mul ("x_q", "z_q") activation=NONE -> "y_q": u8[1,4,6,8] scale=0.03 zero_point=100',
    ],
    "concat": [
        'quantize ("z") -> "z_q": u8[1,4,6,8] scale=0.031 zero_point=7',
        'quantize ("x_q") -> "x_q/requantized": u8[1,4,6,8] scale=0.03 zero_point=100',
        'quantize ("z_q") -> "z_q/requantized": u8[1,4,6,8] scale=0.03 zero_point=100',
        'concatenation ("x_q/requantized", "z_q/requantized") activation=NONE axis=1 '
        '-> "y_q": u8[1,8,6,8] scale=0.03 zero_point=100',
    ],
    "sigmoid": ['logistic ("x_q") -> "y_q": u8[1,4,6,8] scale=0.03 zero_point=100'],
    "leaky_relu": ['leaky_relu ("x_q") alpha=0.25 -> "y_q": u8[1,4,6,8] scale=0.03 zero_point=100'],
    "softmax": ['softmax ("x_q") beta=1.0 -> "y_q": u8[1,4,6,8] scale=0.00390625 zero_point=0'],
    "average_pool": [
        'transpose ("x_q") perm=(0,2,3,1) -> "x_q/nhwc": u8[1,6,8,4] scale=0.02 zero_point=120',
        'average_pool_2d ("x_q/nhwc") activation=NONE kernel_h=2 kernel_w=2 pad_bottom=0 pad_left=1 '
        "pad_right=0 pad_top=1 stride_h=1 stride_w=1 "
        '-> "y_q": u8[1,6,8,4] scale=0.03 zero_point=100',
        'transpose ("y_q") perm=(0,3,1,2) -> "y_q/file": u8[1,4,6,8] scale=0.03 zero_point=100',
    ],
    "global_average_pool": [
        'transpose ("x_q") perm=(0,2,3,1) -> "x_q/nhwc": u8[1,6,8,4] scale=0.02 zero_point=120',
        'mean ("x_q/nhwc", "y_q/axes") keep_dims=1 -> "y_q": u8[1,1,1,4] scale=0.03 zero_point=100',
        'reshape ("y_q") shape=(1,4,1,1) -> "y_q/file": u8[1,4,1,1] scale=0.03 zero_point=100',
    ],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_operators_as_text(name: str) -> None:
    assert lines(PAIRS[name][0]())[1:-1] == GOLDEN[name]


def test_every_pair_has_a_golden_text() -> None:
    assert {*GOLDEN, "conv"} == set(PAIRS)


def test_file_names_and_axes_of_tensors() -> None:
    graph = read(qdq_conv())
    found = {n: (t.key, t.file_axes) for n, t in graph.tensors.items()}
    assert found == {
        "x": ("x", ()), "x_q": ("x_q", ()), "x_q/nhwc": ("x_q", (0, 3, 1, 2)),
        "w_q": ("w_q", (0, 3, 1, 2)), "b_q": ("b_q", ()), "y_q": ("y_q", (0, 3, 1, 2)),
        "y_q/file": ("y_q", ()), "y_dq": ("y_dq", ()),
    }  # fmt: skip
    weights = codes(5, 4, 3, 3)
    assert np.array_equal(graph.constants["w_q"].transpose(0, 3, 1, 2), weights)
    assert graph.tensors["w_q"].quantization == QuantParams(
        tuple(float(np.float32(s)) for s in (0.01, 0.02, 0.03, 0.01, 0.02)), (0,) * 5, 0
    )


def test_depthwise_weights_and_channel_multiplier() -> None:
    b = qdq_start()
    scales = np.arange(1, 9, dtype=np.float32) / 100
    b.weights("w", codes(8, 1, 3, 3), scales)
    b.node("Conv", ["x_dq", "w_dq"], "y", group=4)
    graph = read(qdq_end(b, "y"))
    node = graph.nodes[2]
    weights = graph.tensors["w_q"]
    assert (node.operator, node.inputs) == ("depthwise_conv_2d", ("x_q/nhwc", "w_q"))
    assert (weights.spec.shape, weights.file_axes) == ((1, 3, 3, 8), (3, 0, 1, 2))
    assert weights.quantization == QuantParams(tuple(map(float, scales)), (0,) * 8, 3)
    assert np.array_equal(graph.constants["w_q"].transpose(3, 0, 1, 2), codes(8, 1, 3, 3))


@pytest.mark.parametrize(
    ("attrs", "pads"),
    [
        ({"pads": [1, 2, 3, 4]}, (1, 2, 3, 4)),
        ({"auto_pad": "VALID"}, (0, 0, 0, 0)),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 1]}, (0, 1, 1, 1)),
        ({"auto_pad": "SAME_LOWER", "strides": [2, 1]}, (1, 1, 0, 1)),
        ({}, (0, 0, 0, 0)),
    ],
)
def test_padding_of_a_convolution(attrs: dict, pads: tuple[int, ...]) -> None:
    node = next(n for n in read(qdq_conv(**attrs)).nodes if n.operator == "conv_2d")
    assert tuple(node.integer(f"pad_{s}") for s in ("top", "left", "bottom", "right")) == pads


@pytest.mark.parametrize(
    ("bounds", "zero_point", "activation", "clip"),
    [
        (("Relu",), 100, "RELU", None),
        (("Relu",), 0, "NONE", None),  # codes below the zero point do not exist
        ((0.0, 6.0), 100, "RELU", None),  # 6.0 is beyond the largest code
        ((0.0, 2.0), 100, "NONE", (100, 167)),
        ((-1.0, 1.0), 100, "RELU_N1_TO_1", None),
        ((-99.0, 99.0), 100, "NONE", None),
        ((-0.5, 99.0), 100, "NONE", (83, 255)),
    ],
)
def test_clamps_after_a_convolution(
    bounds: tuple, zero_point: int, activation: str, clip: tuple[int, int] | None
) -> None:
    b = qdq_start()
    b.weights("w", codes(5, 4, 3, 3), 0.01)
    b.node("Conv", ["x_dq", "w_dq"], "c")
    if bounds == ("Relu",):
        b.node("Relu", ["c"], "y")
    else:
        b.constant("low", bounds[0], np.float32)
        b.constant("high", bounds[1], np.float32)
        b.node("Clip", ["c", "low", "high"], "y")
    nodes = read(qdq_end(b, "y", 0.03, zero_point)).nodes
    conv, after = nodes[2], nodes[3]
    assert (conv.operator, conv.text("activation")) == ("conv_2d", activation)
    if clip is None:
        assert (conv.outputs, after.operator) == (("y_q",), "transpose")
    else:
        assert (conv.outputs, after.operator) == (("y_q/unclamped",), "clip")
        assert (after.integer("clamp_min"), after.integer("clamp_max")) == clip


def test_relu6_is_told_by_name_where_it_clamps() -> None:
    b = qdq_start(opset=10)
    b.weights("w", codes(5, 4, 3, 3), 0.01)
    b.nodes[-1].ClearField("attribute")  # DequantizeLinear has no axis before operator set 13
    b.node("Conv", ["x_dq", "w_dq"], "c")
    b.node("Clip", ["c"], "y", min=0.0, max=6.0)
    node = read(qdq_end(b, "y", 0.05, 3)).nodes[2]
    assert node.text("activation") == "RELU6"


def test_digest_is_that_of_the_file() -> None:
    content = qdq_conv()
    assert read(content).sha256 == hashlib.sha256(content).hexdigest()


def test_operators_are_listed() -> None:
    assert {"QLinearConv", "QGemm", "Conv", "ConvInteger"} <= set(supported_operators())


def test_mobilenet_v2() -> None:
    path: Path = SHARED / "onnx" / "mobilenet_v2_quant.onnx"
    if not path.exists():
        pytest.skip("../shared/data is not there")
    graph = read(path.read_bytes(), "mobilenet")
    count = {n.operator: 0 for n in graph.nodes}
    for node in graph.nodes:
        count[node.operator] += 1
    assert count == {
        "quantize": 1, "transpose": 1, "conv_2d": 35, "depthwise_conv_2d": 17, "add": 11, "mean": 1,
        "reshape": 1, "fully_connected": 1, "dequantize": 1,
    }  # fmt: skip
    assert print_graph(graph).splitlines()[-6:] == [
        'mean ("697_quantized", "534_quantized/axes") keep_dims=1 '
        '-> "534_quantized": u8[1,1,1,1280] scale=0.01777462 zero_point=0',
        'reshape ("534_quantized") shape=(1,1280) '
        '-> "542_quantized": u8[1,1280] scale=0.01777462 zero_point=0',
        'fully_connected ("542_quantized", "classifier.1.weight_quantized") activation=NONE '
        "keep_dims=0 weights_format=DEFAULT "
        '-> "output_MatMul_quantized": u8[1,1000] scale=0.100246556 zero_point=94',
        'add ("output_MatMul_quantized", "classifier.1.bias_quantized") activation=NONE '
        '-> "output_quantized": u8[1,1000] scale=0.10035347 zero_point=94',
        'dequantize ("output_quantized") -> "output": f32[1,1000]',
        'output "output"',
    ]
