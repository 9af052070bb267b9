"""Models an operator does not support are refused with the rule they break, never with a traceback."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from random_layers import LAYERS
from tflite_builder import Op, Tensor, build_model

from simulator.errors import ModelError
from simulator.importers.tflite import read_tflite
from simulator.ops import operator, operator_names

CONV = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
POOL = {"Padding": 0, "StrideH": 1, "StrideW": 1, "FilterHeight": 2, "FilterWidth": 2}
SIGN_BIT, TANH = 5, 4


def x(*shape: int, dtype: str = "i8", **changes: Any) -> Tensor:
    return replace(Tensor("x", shape, dtype, 0.5), **changes)


def y(*shape: int, dtype: str = "i8", scale: Any = 0.5, zero_point: int = 0) -> Tensor:
    return Tensor("y", shape, dtype, scale, zero_point)


def w(
    *shape: int, dtype: str = "i8", zero_point: int = 0, scale: Any = 0.5, axis: int = 0
) -> Tensor:
    container = {"i8": np.int8, "u8": np.uint8, "i16": np.int16}[dtype]
    return Tensor("w", shape, dtype, scale, zero_point, np.ones(shape, container), axis)


def b(count: int, dtype: str = "i32") -> Tensor:
    container = {"i32": np.int32, "i64": np.int64}[dtype]
    return Tensor("b", (count,), dtype, 0.25, 0, np.zeros(count, container))


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
    "fully connected of 16 bits": (
        Op("FULLY_CONNECTED", ["x", "w"], "y"), [x(1, 2, dtype="i16"), w(3, 2), y(1, 3, dtype="i16")],
        "int8 or uint8",
    ),
    "add with broadcasting": (
        Op("ADD", ["x", "z"], "y"), [x(2, 3), Tensor("z", (1, 3), "i8", 0.5), y(2, 3)], "broadcasting"
    ),
    "add of a constant": (Op("ADD", ["x", "w"], "y"), [x(2, 3), w(2, 3), y(2, 3)], "not constants"),
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
        "same 8-bit type",
    ),
    "reshape to more elements": (
        Op("RESHAPE", ["x"], "y", {"NewShape": [7]}), [x(2, 3), y(7)], "number of elements"
    ),
    "relu from int8 to uint8": (Op("RELU", ["x"], "y"), [x(3), y(3, dtype="u8")], "of the same type"),
    "quantize to 16 bits": (Op("QUANTIZE", ["x"], "y"), [x(3), y(3, dtype="i16")], "int8 or uint8"),
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
    for rule in (*described.RULES, *described.DEVICE_RULES):
        assert (rule.__doc__ or "").strip()
    assert described.SUMMARY
    assert described.COMMAND


@pytest.mark.parametrize("name", operator_names())
def test_random_layers_meet_the_rules(name: str) -> None:
    graph = read_tflite(LAYERS[name](np.random.default_rng(1)).content, name)
    (node,) = graph.nodes
    described = operator(name)
    assert described.infer(graph, node) == graph.spec(node.outputs[0]).shape
    assert all(rule(graph, node) for rule in described.RULES)
