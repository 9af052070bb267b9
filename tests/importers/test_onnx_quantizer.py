"""Files as ONNX Runtime's own quantizer writes them, in both formats, from one float network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_builder import OnnxBuilder
from onnx_models import read

quantization = pytest.importorskip(
    "onnxruntime.quantization", reason="the reference runtime is an extra: npusim[verify]"
)

OPERATORS = [
    "quantize", "transpose", "conv_2d", "depthwise_conv_2d", "add", "max_pool_2d", "logistic", "mul",
    "concatenation", "conv_2d", "leaky_relu", "mean", "reshape", "fully_connected", "softmax",
    "dequantize",
]  # fmt: skip


def float_network() -> bytes:
    """conv+relu, depthwise+clip, add, pool, swish, concat, 1x1 conv, leaky relu, means, gemm, softmax."""
    rng = np.random.default_rng(3)
    b = OnnxBuilder(opset=17)

    def convolved(x: str, name: str, shape: tuple[int, ...], **attrs: Any) -> str:
        b.constant(f"{name}_w", rng.normal(0, 0.3, shape), np.float32)
        b.constant(f"{name}_b", rng.normal(0, 0.1, shape[0]), np.float32)
        return b.node("Conv", [x, f"{name}_w", f"{name}_b"], name, **attrs)

    x = b.input("x", ["batch", 3, 16, 16])
    first = convolved(x, "c1", (8, 3, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    first = b.node("Relu", [first], "r1")
    deep = convolved(first, "dw", (8, 1, 3, 3), pads=[1, 1, 1, 1], group=8)
    b.constant("low", 0.0, np.float32)
    b.constant("high", 6.0, np.float32)
    deep = b.node("Clip", [deep, "low", "high"], "r2")
    pooled = b.node(
        "MaxPool", [b.node("Add", [first, deep], "sum")], "mp", kernel_shape=[2, 2], strides=[2, 2]
    )
    swish = b.node("Mul", [pooled, b.node("Sigmoid", [pooled], "sig")], "swish")
    both = b.node("Concat", [swish, swish], "cat", axis=1)
    leaky = b.node("LeakyRelu", [convolved(both, "c2", (12, 16, 1, 1))], "lr", alpha=0.1)
    flat = b.node("Flatten", [b.node("GlobalAveragePool", [leaky], "gap")], "flat")
    b.constant("fw", rng.normal(0, 0.4, (10, 12)), np.float32)
    b.constant("fb", rng.normal(0, 0.1, 10), np.float32)
    b.node("Softmax", [b.node("Gemm", [flat, "fw", "fb"], "fc", transB=1)], "y", axis=-1)
    b.output("y")
    return b.write()


class Images(quantization.CalibrationDataReader):
    """A few drawn images."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        images = [rng.normal(0, 1, (1, 3, 16, 16)).astype(np.float32) for _ in range(4)]
        self.feeds = iter([{"x": image} for image in images])

    def get_next(self) -> Any:
        return next(self.feeds, None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(
    ("activations", "weights"), [("QUInt8", "QInt8"), ("QInt8", "QInt8"), ("QUInt8", "QUInt8")]
)
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_both_formats_give_the_same_operators(
    tmp_path: Path, form: str, activations: str, weights: str, per_channel: bool
) -> None:
    source, target = tmp_path / "float.onnx", tmp_path / "quantized.onnx"
    source.write_bytes(float_network())
    logging.disable(logging.WARNING)  # it advises to preprocess
    try:
        quantization.quantize_static(
            source, target, Images(), quant_format=quantization.QuantFormat[form],
            activation_type=quantization.QuantType[activations],
            weight_type=quantization.QuantType[weights], per_channel=per_channel,
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    graph = read(target.read_bytes())
    assert [node.operator for node in graph.nodes] == OPERATORS
    convolution = graph.nodes[2]
    assert graph.quantization(convolution.inputs[1]).per_channel == per_channel
    # The quantizer itself makes int8 of weights with a scale per channel in the one format.
    signed = weights == "QInt8" or (per_channel and form == "QOperator")
    assert graph.spec(convolution.inputs[1]).dtype == ("i8" if signed else "u8")
    assert graph.spec(convolution.outputs[0]).dtype == ("i8" if activations == "QInt8" else "u8")
