"""Broken model files: each is refused in one line that says where, what was given and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite
from broken_tflite import Model, Op, T, conv_model, pool_model, simple_model

from simulator.importers.tflite import supported_operators
from simulator.resources import data_folder

DIGITS = (data_folder("workloads") / "digits" / "digits_int8.tflite").read_bytes()
NAN, INFINITY = float("nan"), float("inf")
OPERATORS = ", ".join(supported_operators())

TYPES = "INT4, INT8, UINT8, INT16, INT32, INT64, FLOAT32"
SCALES = "allowed: 7.89e-31 to 1.15e+18"
CONV = "operator 0 (CONV_2D) 'maps'"
GIVEN = "CONV_2D 'maps': not supported as given"
ONE_TYPE = (
    "input and output are of the same type, int8, uint8 or int16, each with one scale and zero point; an "
    "output of int32 takes the sums as they are; in profile qonnx codes of at most 8 bits, compared with "
    "thresholds"
)
WINDOW = "allowed: 1..32767"
WHOLE = "allowed: a whole .tflite file"
Change = Callable[[Model], object]


def set_all(thing: object, values: dict[str, Any]) -> None:
    for key, value in values.items():
        assert hasattr(thing, key)
        setattr(thing, key, value)


def tensor(index: int, **values: Any) -> Change:
    return lambda model: set_all(model.tensors[index], values)


def operator(**values: Any) -> Change:
    return lambda model: set_all(model.operators[0], values)


def options(**values: Any) -> Change:
    return lambda model: model.operators[0].fields.update(values)


def graph(**values: Any) -> Change:
    return lambda model: set_all(model, values)


def twice(model: Model) -> None:
    model.operators.append(model.operators[0])


# id, change to the convolution model, message after the file's name
CONVOLUTIONS: list[tuple[str, Change, str]] = [
    ("unsupported-operator", operator(kind="HASHTABLE"),
     f"operator 0 (HASHTABLE): is not supported; allowed: {OPERATORS}"),
    ("custom-operator", operator(kind="CUSTOM", custom="MyOp"),
     f"operator 0 (CUSTOM MyOp): is not supported; allowed: {OPERATORS}"),
    ("unknown-operator-number", operator(kind=9999),
     f"operator 0 (number 9999): is not supported; allowed: {OPERATORS}"),
    ("operator-code-index", operator(code=7),
     "operator 0: names operator code 7; allowed: 0..0"),
    ("tensor-index", operator(inputs=[0, 1, 77]),
     "operator 0 (CONV_2D): names tensor 77; allowed: 0..3"),
    ("input-index", graph(inputs=[-1]),
     "list of inputs or outputs: names tensor -1; allowed: 0..3"),
    ("buffer-index", tensor(1, buffer=99), "tensor 1 (weights): names buffer 99; allowed: 0..4"),
    ("float-model", tensor(0, kind="FLOAT32"),
     "CONV_2D 'maps': not supported as given (f32[1,4,4,1], i8[2,3,3,1], i32[2] -> i8[1,4,4,2]); "
     f"allowed: {ONE_TYPE} (quantize the model first)"),
    ("half-floats", tensor(0, kind="FLOAT16"),
     f"tensor 0 (image): element type FLOAT16; allowed: {TYPES}"),
    ("four-bit-weights", tensor(1, kind="INT4"),
     "tensor 1 (weights): holds 18 bytes; allowed: 9 for i4[2,3,3,1]"),
    ("no-subgraph", graph(subgraphs=0), "has 0 subgraphs; allowed: at least one"),
    ("no-operators", graph(operators=[]), "has no operators; allowed: at least one"),
    ("no-inputs", graph(inputs=[]), "has no inputs; allowed: at least one"),
    ("no-outputs", graph(outputs=[]), "has no outputs; allowed: at least one"),
    ("nan-scale", tensor(0, scale=[NAN]),
     "tensor 0 (image): scale nan; allowed: finite and above 0"),
    ("scale-0", tensor(0, scale=[0.0]), "tensor 0 (image): scale 0.0; allowed: finite and above 0"),
    ("negative-scale", tensor(1, scale=[0.5, -1.0]),
     "tensor 1 (weights): scale -1.0; allowed: finite and above 0"),
    ("infinite-scale", tensor(3, scale=[INFINITY]),
     "tensor 3 (maps): scale inf; allowed: finite and above 0"),
    ("tiny-scale", tensor(3, scale=[2.0**-120]),
     f"tensor 3 (maps): scale 7.52316384526264e-37; {SCALES}"),
    ("huge-scale", tensor(0, scale=[2.0**100]),
     f"tensor 0 (image): scale 1.2676506002282294e+30; {SCALES}"),
    ("zero-point", tensor(0, zero=[128]), "tensor 0 (image): zero point 128; allowed: -128..127"),
    ("zero-points", tensor(0, zero=[1, 2]),
     "tensor 0 (image): 1 scales and 2 zero points; allowed: as many of each, at least one"),
    ("number-of-scales", tensor(1, scale=[1.0] * 3, zero=[0] * 3),
     "tensor 1 (weights): 3 scales along axis 0 of shape [2, 3, 3, 1]; allowed: 1 or 2"),
    ("axis-of-scales", tensor(1, axis=4),
     "tensor 1 (weights): scales along axis 4 of shape [2, 3, 3, 1]; allowed: 0..3"),
    ("negative-axis-of-scales", tensor(1, axis=-4),
     "tensor 1 (weights): scales along axis -4 of shape [2, 3, 3, 1]; allowed: 0..3"),
    ("no-quantization", tensor(3, scale=[]),
     "CONV_2D 'maps': not supported as given (i8[1,4,4,1], i8[2,3,3,1], i32[2] -> i8[1,4,4,2]); "
     f"allowed: {ONE_TYPE}"),
    ("no-quantization-of-weights", tensor(1, scale=[]),
     "CONV_2D 'maps': not supported as given (i8[1,4,4,1], i8[2,3,3,1], i32[2] -> i8[1,4,4,2]); "
     "allowed: weights are int8 (int8 or int16 inputs), int4 (int8 or int16 inputs), uint8 (uint8 "
     "inputs), with a scale"),
    ("bytes-of-a-constant", tensor(1, data=b"123"),
     "tensor 1 (weights): holds 3 bytes; allowed: 18 for i8[2,3,3,1]"),
    ("dimension-0", tensor(0, shape=[1, 0, 4, 1]),
     "tensor 0 (image): shape [1, 0, 4, 1]; allowed: dimensions of at least 1"),
    ("huge-tensor", tensor(0, shape=[1, 1 << 20, 1 << 20, 1]),
     "tensor 0 (image): shape [1, 1048576, 1048576, 1]; allowed: at most 8 dimensions and 268435456 "
     "elements"),
    ("nine-dimensions", tensor(0, shape=[1] * 9),
     "tensor 0 (image): shape [1, 1, 1, 1, 1, 1, 1, 1, 1]; allowed: at most 8 dimensions and "
     "268435456 elements"),
    ("flat-image", tensor(0, shape=[4, 4, 1]),
     f"{CONV}: input 'image' has shape [4, 4, 1]; allowed: 4 dimensions"),
    ("flat-weights", tensor(1, shape=[2, 9, 1]),
     f"{CONV}: input 'weights' has shape [2, 9, 1]; allowed: 4 dimensions"),
    ("flat-output", tensor(3, shape=[]),
     f"{CONV}: output 'maps' has shape []; allowed: 4 dimensions"),
    ("output-shape", tensor(3, shape=[1, 5, 4, 2]),
     "CONV_2D 'maps': output 'maps' has shape [1, 5, 4, 2]; allowed: [1, 4, 4, 2], which follows "
     "from its inputs"),
    ("stride-0", options(StrideH=0), f"{CONV}: stride_h = 0; {WINDOW}"),
    ("negative-stride", options(StrideW=-1), f"{CONV}: stride_w = -1; {WINDOW}"),
    ("dilation-0", options(DilationHFactor=0), f"{CONV}: dilation_h = 0; {WINDOW}"),
    ("window-larger-than-image",
     options(Padding=tflite.Padding.VALID, DilationHFactor=2),
     "CONV_2D 'maps': its window is larger than its padded input (i8[1,4,4,1], i8[2,3,3,1], "
     "i32[2]); allowed: at most as large"),
    ("unknown-padding", options(Padding=9), f"{CONV}: padding number 9; allowed: SAME, VALID"),
    ("unknown-activation", options(FusedActivationFunction=99),
     f"{CONV}: fused activation number 99; allowed: NONE, RELU, RELU_N1_TO_1, RELU6, TANH, "
     "SIGN_BIT"),
    ("no-options", operator(options=""), f"{CONV}: has no options; allowed: Conv2DOptions"),
    ("options-of-another", operator(options="AddOptions", fields={}),
     f"{CONV}: its options are of type AddOptions; allowed: Conv2DOptions"),
    ("too-few-inputs", operator(inputs=[0]), f"{CONV}: has inputs ['image']; allowed: at least 2"),
    ("missing-weights", operator(inputs=[0, -1, 2]),
     f"{CONV}: has inputs ['image', '', 'bias']; allowed: at least 2"),
    ("two-outputs", operator(outputs=[3, 0]),
     "operator 0 (CONV_2D): has 2 outputs; allowed: 1"),
    ("made-twice", twice, "conv_2d 'maps': tensor 'maps' is made twice"),
    ("read-before-made", graph(inputs=[3], outputs=[0]),
     "conv_2d 'maps': input 'image' is neither a constant nor made by an earlier operator"),
    ("constant-output", graph(outputs=[3, 1]),
     "graph output 'weights' is a constant; allowed: activations"),
    ("constant-input", graph(inputs=[0, 1]),
     "graph input 'weights' is a constant; allowed: activations"),
    ("input-twice", graph(inputs=[0, 0]),
     "graph inputs ['image', 'image']; allowed: each one once"),
    ("line-break-in-a-name", tensor(0, name="a\nb\x1b[31m", scale=[0.0]),
     "tensor 0 (a?b?[31m): scale 0.0; allowed: finite and above 0"),
]  # fmt: skip

# id, change to the convolution model, what the message after "allowed: " starts with
RULES: list[tuple[str, Change, str]] = [
    ("weights-not-constant",
     lambda m: (set_all(m.tensors[1], {"data": None}), m.inputs.append(1)), ""),
    ("zero-point-of-weights", tensor(1, zero=[0, 3]), "int8 and int4 weights have zero points 0"),
    ("length-of-bias", tensor(2, shape=[3], scale=[], data=bytes(12)), "the bias is int32"),
    ("type-of-bias", tensor(2, kind="INT64", data=bytes(16)), "the bias is int32"),
    ("scales-along-an-input-axis", tensor(1, scale=[1.0] * 3, zero=[0] * 3, axis=1), "weights with"),
    ("scale-per-row-of-the-image", tensor(0, scale=[1.0] * 4, zero=[0] * 4, axis=1), ONE_TYPE),
    ("sixteen-bit-image", tensor(0, kind="INT16"), ONE_TYPE),
    ("channels", tensor(0, shape=[1, 4, 4, 3]), "weights are O x H x W x I"),
    ("fused-tanh", options(FusedActivationFunction=4), "the fused activation is NONE, RELU"),
]  # fmt: skip

POINTS: dict[str, Any] = {"scale": [1 / 256], "zero": [-128]}
PAIR = T("a", [1, 4])
AMOUNTS = np.array([0, 0, 0, -1], np.int32).tobytes()

# id, model, message after the file's name
OTHERS: list[tuple[str, Model, str]] = [
    ("broadcast", simple_model("ADD", PAIR, T("b", [3]), T("c", [1, 4])),
     "ADD 'c': not supported as given (i8[1,4], i8[3] -> i8[1,4]); allowed: the inputs' shapes "
     "broadcast: from the last on, dimensions are equal or one of them is 1"),
    ("reshape", simple_model("RESHAPE", PAIR, T("c", [1, 5])),
     "operator 0 (RESHAPE) 'c': reshapes i8[1,4] to i8[1,5]; allowed: the same type and number of "
     "elements"),
    ("softmax-output", simple_model("SOFTMAX", PAIR, T("c", [1, 4]), options="SoftmaxOptions",
                                    Beta=1.0),
     "SOFTMAX 'c': not supported as given (i8[1,4] -> i8[1,4]); allowed: the output has scale 1/256 "
     "and the smallest code as zero point"),
    ("softmax-beta", simple_model("SOFTMAX", PAIR, T("c", [1, 4], **POINTS),
                                  options="SoftmaxOptions", Beta=NAN),
     "operator 0 (SOFTMAX) 'c': beta = nan; allowed: finite and above 0"),
    ("negative-padding",
     simple_model("PAD", PAIR, T("p", [2, 2], "INT32", [], [], data=AMOUNTS), T("c", [1, 3])),
     "PAD 'c': not supported as given (i8[1,4], i32[2,2] -> i8[1,3]); allowed: the amounts are a "
     "constant with two numbers, not negative, per dimension"),
    ("shuffled-weights",
     simple_model("FULLY_CONNECTED", PAIR, T("w", [3, 4], data=bytes(12)), T("c", [1, 3]),
                  options="FullyConnectedOptions", WeightsFormat=1),
     "FULLY_CONNECTED 'c': not supported as given (i8[1,4], i8[3,4] -> i8[1,3]); allowed: weights "
     "are a matrix in the default format"),
    ("quantize-to-float", simple_model("QUANTIZE", PAIR, T("c", [1, 4], "FLOAT32")),
     "QUANTIZE 'c': not supported as given (i8[1,4] -> f32[1,4]); allowed: it turns float32 to int8, "
     "uint8 or int16, int8 to those, uint8 to uint8 or int8, int16 to int8, int16 or int32, or int32 to "
     "int8 or int16"),
]  # fmt: skip

# id, change to the pooling model, message after the file's name
POOLS: list[tuple[str, Change, str]] = [
    ("window", options(FilterHeight=5),
     "MAX_POOL_2D 'maps': its window is larger than its padded input (i8[1,4,4,1]); allowed: at "
     "most as large"),
    ("window-0", options(FilterWidth=0),
     f"operator 0 (MAX_POOL_2D) 'maps': kernel_w = 0; {WINDOW}"),
    ("window-huge", options(FilterHeight=1 << 20, Padding=tflite.Padding.SAME),
     f"operator 0 (MAX_POOL_2D) 'maps': kernel_h = 1048576; {WINDOW}"),
    ("quantization", tensor(1, scale=[1.0]),
     "MAX_POOL_2D 'maps': not supported as given (i8[1,4,4,1] -> i8[1,2,2,1]); allowed: input and "
     "output have the same quantization"),
]  # fmt: skip

# id, content of the file, message after the file's name
FILES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "is not a TensorFlow Lite file (0 bytes); allowed: a flatbuffer with identifier "
     "b'TFL3'"),
    ("another-identifier", b"\x1c\0\0\0ONNX" + bytes(100),
     "is not a TensorFlow Lite file (identifier b'ONNX'); allowed: a flatbuffer with identifier "
     "b'TFL3'"),
    ("identifier-alone", DIGITS[:8], f"is damaged or incomplete (8 bytes); {WHOLE}"),
    ("half", DIGITS[: len(DIGITS) // 2],
     f"is damaged or incomplete ({len(DIGITS) // 2} bytes); {WHOLE}"),
    ("one-byte-short", DIGITS[:-1],
     f"is damaged or incomplete ({len(DIGITS) - 1} bytes); {WHOLE}"),
    ("zeros", DIGITS[:8] + bytes(1000), "has 0 subgraphs; allowed: at least one"),
]  # fmt: skip


def rows(table: list[tuple[str, Any, str]]) -> list[object]:
    return [pytest.param(*row[1:], id=row[0]) for row in table]


def check(content: bytes, message: str, refused: Callable[..., None]) -> None:
    Path("my.tflite").write_bytes(content)
    refused(f"my.tflite: {message}", "run", "my.tflite", "--device", "wear")


def test_what_is_broken_below_was_whole() -> None:
    from simulator.importers.tflite import read_tflite

    assert len(read_tflite(conv_model().write(), "conv").nodes) == 1
    assert len(read_tflite(pool_model().write(), "pool").nodes) == 1


@pytest.mark.parametrize(("change", "message"), rows(CONVOLUTIONS))
def test_convolution(change: Change, message: str, refused: Callable[..., None]) -> None:
    model = conv_model()
    change(model)
    check(model.write(), message, refused)


@pytest.mark.parametrize(("change", "message"), rows(POOLS))
def test_pooling(change: Change, message: str, refused: Callable[..., None]) -> None:
    model = pool_model()
    change(model)
    check(model.write(), message, refused)


@pytest.mark.parametrize(("model", "message"), rows(OTHERS))
def test_other_operators(model: Model, message: str, refused: Callable[..., None]) -> None:
    check(model.write(), message, refused)


@pytest.mark.parametrize(("content", "message"), rows(FILES))
def test_file(content: bytes, message: str, refused: Callable[..., None]) -> None:
    check(content, message, refused)


@pytest.mark.parametrize(("change", "rule"), rows(RULES))
def test_broken_rule_of_an_operator(
    change: Change, rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from simulator import cli

    model = conv_model()
    change(model)
    path = tmp_path / "my.tflite"
    path.write_bytes(model.write())
    out = tmp_path / "out.json"
    assert cli.main(["run", str(path), "--device", "wear", "--json", str(out)]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"npusim: my.tflite: {GIVEN} (")
    assert f"); allowed: {rule}" in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert not out.exists()


MODELS = (
    "digits, digits-float, mobilenet-v1-float, mobilenet-v2-float, mlperf-tiny-resnet8, "
    "mlperf-tiny-dscnn, mlperf-tiny-mobilenet, mlperf-tiny-autoencoder, mlperf-tiny-wakeword"
)


@pytest.mark.parametrize("command", ["run", "compile", "verify"])
def test_no_such_model(command: str, refused: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "model.pb").write_bytes(b"1234")
    (tmp_path / "model").write_bytes(b"1234")
    path_or_name = f"allowed: the path of a .tflite file, or one of {MODELS}"
    for name, message in (
        ("resnet", f"resnet: no such file or model; {path_or_name}"),
        ("no/such.tflite", f"no/such.tflite: no such file or model; {path_or_name}"),
        ("folder", f"folder: is a folder; {path_or_name}"),
        (
            "model.pb",
            "model.pb: file type .pb; allowed: .tflite, .onnx, .csv (a SCALE-Sim topology)",
        ),
        (
            "model",
            "model: file type without a suffix; allowed: .tflite, .onnx, .csv (a SCALE-Sim topology)",
        ),
    ):
        refused(message, command, name, "--device", "wear")


def test_operator_without_inputs(refused: Callable[..., None]) -> None:
    model = conv_model()
    model.operators.append(Op("RELU", [], [3]))
    check(model.write(), "operator 1 (RELU) 'maps': has inputs []; allowed: at least 1", refused)
