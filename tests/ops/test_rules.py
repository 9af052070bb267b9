"""Models an operator does not support are refused with the rule they break, never with a traceback."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from random_layers import LAYERS
from tflite_builder import Op, Tensor, build_model

from simulator.compiler.host import RULES as DEVICE_RULES
from simulator.errors import ModelError
from simulator.importers.tflite import read_tflite
from simulator.ops import operator, operator_names, output_shapes

CONV = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
UPSAMPLE = {"Padding": 0, "StrideH": 2, "StrideW": 2}
POOL = {"Padding": 0, "StrideH": 1, "StrideW": 1, "FilterHeight": 2, "FilterWidth": 2}
SIGN_BIT, TANH = 5, 4


def x(*shape: int, dtype: str = "i8", **changes: Any) -> Tensor:
    return replace(Tensor("x", shape, dtype, 0.5), **changes)


def y(*shape: int, dtype: str = "i8", scale: Any = 0.5, zero_point: int = 0) -> Tensor:
    return Tensor("y", shape, dtype, scale, zero_point)


def w(
    *shape: int, dtype: str = "i8", zero_point: int = 0, scale: Any = 0.5, axis: int = 0
) -> Tensor:
    container = {"i4": np.int8, "i8": np.int8, "u8": np.uint8, "i16": np.int16}[dtype]
    return Tensor("w", shape, dtype, scale, zero_point, np.ones(shape, container), axis)


def b(count: int, dtype: str = "i32") -> Tensor:
    container = {"i32": np.int32, "i64": np.int64}[dtype]
    return Tensor("b", (count,), dtype, 0.25, 0, np.zeros(count, container))


def shape_of(*sizes: int) -> Tensor:
    return Tensor("s", (len(sizes),), "i32", data=np.array(sizes, np.int32))


IMAGE = x(1, 4, 4, 2)
CASES: dict[str, tuple[Op, list[Tensor], str]] = {
    "conv with tanh": (
        Op("CONV_2D", ["x", "w"], "y", {**CONV, "FusedActivationFunction": TANH}),
        [IMAGE, w(3, 1, 1, 2), y(1, 4, 4, 3)], "fused activation is",
    ),
    "conv with channels that are no multiple": (
        Op("CONV_2D", ["x", "w"], "y", CONV), [x(1, 4, 4, 3), w(3, 1, 1, 2), y(1, 4, 4, 3)],
        "multiple of I",
    ),
    "conv of uint8 with int8 weights": (
        Op("CONV_2D", ["x", "w"], "y", CONV),
        [x(1, 4, 4, 2, dtype="u8"), w(3, 1, 1, 2), y(1, 4, 4, 3, dtype="u8")], "weights are int8",
    ),
    "conv from int8 to uint8": (
        Op("CONV_2D", ["x", "w"], "y", CONV), [IMAGE, w(3, 1, 1, 2), y(1, 4, 4, 3, dtype="u8")],
        "of the same type",
    ),
    "conv with asymmetric int8 weights": (
        Op("CONV_2D", ["x", "w"], "y", CONV), [IMAGE, w(3, 1, 1, 2, zero_point=1), y(1, 4, 4, 3)],
        "zero points 0",
    ),
    "conv with scales along the wrong axis": (
        Op("CONV_2D", ["x", "w"], "y", CONV),
        [IMAGE, w(2, 1, 1, 2, scale=[0.5, 0.25], axis=3), y(1, 4, 4, 2)], "along axis 0",
    ),
    "depthwise with scales along the wrong axis": (
        Op("DEPTHWISE_CONV_2D", ["x", "w"], "y", {**CONV, "DepthMultiplier": 1}),
        [IMAGE, w(1, 2, 2, 2, scale=[0.5, 0.25], axis=1), y(1, 4, 4, 2)], "along axis 3",
    ),
    "depthwise with odd channels": (
        Op("DEPTHWISE_CONV_2D", ["x", "w"], "y", {**CONV, "DepthMultiplier": 1}),
        [IMAGE, w(1, 2, 2, 3), y(1, 4, 4, 3)], "multiplier",
    ),
    "conv with a bias of 64 bits": (
        Op("CONV_2D", ["x", "w", "b"], "y", CONV), [IMAGE, w(3, 1, 1, 2), b(3, "i64"), y(1, 4, 4, 3)],
        "bias is int32",
    ),
    "conv with a short bias": (
        Op("CONV_2D", ["x", "w", "b"], "y", CONV), [IMAGE, w(3, 1, 1, 2), b(2), y(1, 4, 4, 3)],
        "per output channel",
    ),
    "conv of a constant": (
        Op("CONV_2D", ["w", "w"], "y", CONV), [x(1, 1), w(3, 1, 1, 3), y(3, 1, 1, 3)], "not a constant"
    ),
    "conv with another output shape": (
        Op("CONV_2D", ["x", "w"], "y", CONV), [IMAGE, w(3, 1, 1, 2), y(1, 4, 3, 3)], "has shape"
    ),
    "conv with a window larger than the image": (
        Op("CONV_2D", ["x", "w"], "y", {**CONV, "Padding": 1}), [IMAGE, w(3, 9, 9, 2), y(1, 1, 1, 3)],
        "larger than its padded input",
    ),
    "fully connected to a row that does not fit": (
        Op("FULLY_CONNECTED", ["x", "w"], "y"), [x(1, 7), w(3, 2), y(3, 3)], "reduction length"
    ),
    "fully connected keeping dimensions that do not fit": (
        Op("FULLY_CONNECTED", ["x", "w"], "y", {"KeepNumDims": True}), [x(2, 3), w(3, 6), y(2, 3)],
        "reduction length",
    ),
    "fully connected in shuffled format": (
        Op("FULLY_CONNECTED", ["x", "w"], "y", {"WeightsFormat": 1}), [x(1, 2), w(3, 2), y(1, 3)],
        "default format",
    ),
    "fully connected of int16 with int16 weights": (
        Op("FULLY_CONNECTED", ["x", "w"], "y"),
        [x(1, 2, dtype="i16"), w(3, 2, dtype="i16"), y(1, 3, dtype="i16")], "weights are int8",
    ),
    "fully connected of int16 with a zero point": (
        Op("FULLY_CONNECTED", ["x", "w"], "y"),
        [x(1, 2, dtype="i16", zero_point=1), w(3, 2), y(1, 3, dtype="i16")], "zero points 0",
    ),
    "fully connected of int16 with an int32 bias that is not announced": (
        Op("FULLY_CONNECTED", ["x", "w", "b"], "y"),
        [x(1, 2, dtype="i16"), w(3, 2), b(3), y(1, 3, dtype="i16")], "quantized_bias_type",
    ),
    "fully connected of a huge bias": (
        Op("FULLY_CONNECTED", ["x", "w", "b"], "y"),
        [x(1, 2, dtype="i16"), w(3, 2), replace(b(3, "i64"), data=np.full(3, 2**46)),
         y(1, 3, dtype="i16")], "2**46",
    ),
    "fully connected of uint8 with int8 weights": (
        Op("FULLY_CONNECTED", ["x", "w"], "y"),
        [x(1, 2, dtype="u8"), w(3, 2), y(1, 3, dtype="u8")], "weights are int8",
    ),
    "fully connected of int16 with made weights of int16": (
        Op("FULLY_CONNECTED", ["x", "z"], "y"),
        [x(1, 2, dtype="i16"), Tensor("z", (3, 2), "i16", 0.5), y(1, 3, dtype="i16")],
        "weights are int8",
    ),
    "fully connected with a made bias": (
        Op("FULLY_CONNECTED", ["x", "w", "z"], "y"),
        [x(1, 2), w(3, 2), Tensor("z", (3,), "i32", 0.25), y(1, 3)], "a bias is a constant",
    ),
    "conv with made weights": (
        Op("CONV_2D", ["x", "z"], "y", CONV),
        [IMAGE, Tensor("z", (3, 1, 1, 2), "i8", 0.5), y(1, 4, 4, 3)], "are constants",
    ),
    "depthwise of int16 with a bias of 32 bits": (
        Op("DEPTHWISE_CONV_2D", ["x", "w", "b"], "y", {**CONV, "DepthMultiplier": 1}),
        [x(1, 4, 4, 2, dtype="i16"), w(1, 2, 2, 2), b(2), y(1, 4, 4, 2, dtype="i16")], "int64",
    ),
    "depthwise of int16 with int4 weights": (
        Op("DEPTHWISE_CONV_2D", ["x", "w"], "y", {**CONV, "DepthMultiplier": 1}),
        [x(1, 4, 4, 2, dtype="i16"), w(1, 2, 2, 2, dtype="i4"), y(1, 4, 4, 2, dtype="i16")],
        "weights are int8",
    ),
    "transposed conv to a size that does not fit": (
        Op("TRANSPOSE_CONV", ["s", "w", "x"], "y", UPSAMPLE),
        [shape_of(1, 9, 9, 3), w(3, 2, 2, 2), IMAGE, y(1, 9, 9, 3)], "the image's size",
    ),
    "transposed conv to other channels": (
        Op("TRANSPOSE_CONV", ["s", "w", "x"], "y", UPSAMPLE),
        [shape_of(1, 8, 8, 4), w(3, 2, 2, 2), IMAGE, y(1, 8, 8, 4)], "I channels",
    ),
    "transposed conv to a made shape": (
        Op("TRANSPOSE_CONV", ["z", "w", "x"], "y", UPSAMPLE),
        [Tensor("z", (4,), "i32"), w(3, 2, 2, 2), IMAGE, y(1, 8, 8, 3)], "a constant of four int32",
    ),
    "transposed conv of int4 weights": (
        Op("TRANSPOSE_CONV", ["s", "w", "x"], "y", UPSAMPLE),
        [shape_of(1, 8, 8, 3), w(3, 2, 2, 2, dtype="i4"), IMAGE, y(1, 8, 8, 3)], "weights are int8",
    ),
    "matrices of different depth": (
        Op("BATCH_MATMUL", ["x", "z"], "y"), [x(2, 3), Tensor("z", (2, 3), "i8", 0.5), y(2, 3)],
        "a common length",
    ),
    "matrices that do not broadcast": (
        Op("BATCH_MATMUL", ["x", "z"], "y"),
        [x(2, 2, 3), Tensor("z", (3, 3, 2), "i8", 0.5), y(3, 2, 2)], "leading dimensions",
    ),
    "matrices of int16 with a zero point": (
        Op("BATCH_MATMUL", ["x", "z"], "y"),
        [x(2, 3, dtype="i16"), Tensor("z", (3, 2), "i16", 0.5, 1), y(2, 2, dtype="i16")],
        "zero points are 0",
    ),
    "sums of matrices with a zero point": (
        Op("BATCH_MATMUL", ["x", "z"], "y"),
        [x(2, 3), Tensor("z", (3, 2), "i8", 0.5, 1), y(2, 2, dtype="i32", scale=None)],
        "zero points are 0",
    ),
    "matrices of uint8": (
        Op("BATCH_MATMUL", ["x", "z"], "y"),
        [x(2, 3, dtype="u8"), Tensor("z", (3, 2), "u8", 0.5), y(2, 2, dtype="u8")], "weights are int8",
    ),
    "a second matrix of several scales": (
        Op("BATCH_MATMUL", ["x", "w"], "y"), [x(2, 3), w(3, 2, scale=[0.5, 0.25], axis=1), y(2, 2)],
        "one scale",
    ),
    "a product of a constant": (
        Op("BATCH_MATMUL", ["w", "x"], "y"), [x(3, 2), w(2, 3), y(2, 2)], "not a constant"
    ),
    "add of shapes that do not broadcast": (
        Op("ADD", ["x", "z"], "y"), [x(2, 3), Tensor("z", (2,), "i8", 0.5), y(2, 3)], "broadcast"
    ),
    "add of two constants": (
        Op("ADD", ["w", "w"], "y"), [x(2, 3), w(2, 3), y(2, 3)], "at most one is a constant"
    ),
    "add of an int8 and an int16": (
        Op("ADD", ["x", "z"], "y"), [x(3), Tensor("z", (3,), "i16", 0.5), y(3)], "the same type: i8"
    ),
    "add of int16 with a zero point": (
        Op("ADD", ["x", "x"], "y"), [x(3, dtype="i16"), y(3, dtype="i16", zero_point=1)],
        "int16 codes the zero point 0",
    ),
    "add of int16 whose power of two is above the output's": (
        Op("ADD", ["x", "x"], "y", {"PotScaleInt16": True}),
        [x(3, dtype="i16"), y(3, dtype="i16", scale=0.25)], "other no larger one",
    ),
    "sub of floats with tanh": (
        Op("SUB", ["x", "x"], "y", {"FusedActivationFunction": TANH}),
        [Tensor("x", (3,), "f32"), Tensor("y", (3,), "f32")], "fused activation is",
    ),
    "mul per channel": (
        Op("MUL", ["x", "w"], "y"), [x(2, 3), w(2, 3, scale=[0.5, 0.25]), y(2, 3)], "one scale"
    ),
    "maximum of different scales": (
        Op("MAXIMUM", ["x", "z"], "y"), [x(3), Tensor("z", (3,), "i8", 0.25), y(3)],
        "same quantization",
    ),
    "prelu with alpha larger than the input": (
        Op("PRELU", ["x", "w"], "y"), [x(1, 3), w(2, 3), y(2, 3)], "alpha broadcasts to"
    ),
    "leaky relu with a negative alpha": (
        Op("LEAKY_RELU", ["x"], "y", {"Alpha": -0.5}), [x(3), y(3)], "alpha is not negative"
    ),
    "logistic to another scale": (Op("LOGISTIC", ["x"], "y"), [x(3), y(3)], "scale 1/256"),
    "tanh of 16 bits to another scale": (
        Op("TANH", ["x"], "y"), [x(3, dtype="i16"), y(3, dtype="i16")], "scale 2**-15"
    ),
    "tanh of floats": (
        Op("TANH", ["x"], "y"), [Tensor("x", (3,), "f32"), Tensor("y", (3,), "f32")],
        "quantize the model first",
    ),
    "hard swish to a scale much finer": (
        Op("HARD_SWISH", ["x"], "y"), [x(3), y(3, scale=0.001)], "at least 1/128"
    ),
    "division by a constant zero": (
        Op("FLOOR_DIV", ["x", "n"], "y"),
        [Tensor("x", (3,), "i32"), Tensor("n", (1,), "i32", data=np.zeros(1, np.int32)),
         Tensor("y", (3,), "i32")],
        "has no zeros",
    ),
    "dequantize to codes": (
        Op("DEQUANTIZE", ["x"], "y"), [x(3), y(3)], "output float32"
    ),
    "pooling to another scale": (
        Op("MAX_POOL_2D", ["x"], "y", POOL), [IMAGE, y(1, 4, 4, 2, scale=0.25)], "same quantization"
    ),
    "softmax to another scale": (
        Op("SOFTMAX", ["x"], "y", {"Beta": 1.0}), [x(1, 4), y(1, 4)], "scale 1/256"
    ),
    "softmax of a tiny scale": (
        Op("SOFTMAX", ["x"], "y", {"Beta": 1.0}),
        [x(1, 4, scale=1e-9), y(1, 4, scale=1 / 256, zero_point=-128)], "Q5.26",
    ),
    "pad with negative amounts": (
        Op("PAD", ["x", "a"], "y"),
        [x(3), Tensor("a", (1, 2), "i32", data=np.array([[-1, 1]], np.int32)), y(3)], "not negative",
    ),
    "pad to another scale": (
        Op("PAD", ["x", "a"], "y"),
        [x(3), Tensor("a", (1, 2), "i32", data=np.array([[1, 1]], np.int32)), y(5, scale=0.25)],
        "of codes, the same quantization",
    ),
    "reshape to more elements": (
        Op("RESHAPE", ["x"], "y", {"NewShape": [7]}), [x(2, 3), y(7)], "number of elements"
    ),
    "relu from int8 to uint8": (Op("RELU", ["x"], "y"), [x(3), y(3, dtype="u8")], "have the same type"),
    "quantize to 32 bits": (Op("QUANTIZE", ["x"], "y"), [x(3), y(3, dtype="i32")], "int8 to those"),
    "quantize per channel": (
        Op("QUANTIZE", ["x"], "y"), [x(2, 3), y(2, 3, scale=[0.5, 0.25])], "one scale"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused_with_the_rule(case: str) -> None:
    op, tensors, allowed = CASES[case]
    inputs = [t.name for t in tensors if t.data is None and t.name != "y"]
    content = build_model(tensors, [op], inputs, ["y"])
    with pytest.raises(ModelError) as caught:
        read_tflite(content, "refused")
    assert allowed in str(caught.value)
    assert op.kind in str(caught.value)


@pytest.mark.parametrize("name", operator_names())
def test_rules_say_what_they_are(name: str) -> None:
    """A rule's docstring is what a user reads, after "allowed:" or "the device does not meet:"."""
    described = operator(name)
    for rule in (*described.RULES, *DEVICE_RULES):
        assert (rule.__doc__ or "").strip()
    assert described.SUMMARY
    assert described.COMMAND


@pytest.mark.parametrize("name", operator_names())
def test_random_layers_meet_the_rules(name: str) -> None:
    graph = read_tflite(LAYERS[name](np.random.default_rng(1)).content, name)
    (node,) = graph.nodes
    described = operator(name)
    assert output_shapes(graph, node) == [graph.spec(name).shape for name in node.outputs]
    assert all(rule(graph, node) for rule in described.RULES)
