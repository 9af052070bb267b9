"""Whole ONNX models against ONNX Runtime in every tensor: a quantizer's own output, dynamic quantization,
and, where it is at hand, a MobileNet v2."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_builder import OnnxBuilder
from onnx_compare import LARGEST_WEIGHT, compared
from random_devices import random_device, small_device
from real_models import SHARED

from simulator import verify
from simulator.compiler import compile_graph

pytest.importorskip("onnxruntime", reason="the reference runtime is an extra: npusim[verify]")

MOBILENET = SHARED / "onnx" / "mobilenet_v2_quant.onnx"
SAMPLES = int(os.environ.get("ONNX_SAMPLES", "1"))


def network() -> onnx.ModelProto:
    """A float CNN: convolutions, depthwise with a Relu, a residual sum, pools, a classifier."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": (8, 3, 3, 3), "w2": (8, 1, 3, 3), "w3": (8, 8, 1, 1), "w4": (8, 10), "b1": (8,),
        "b2": (8,), "b3": (8,), "b4": (10,),
    }  # fmt: skip
    known = [
        numpy_helper.from_array(rng.normal(0, 0.4, shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"]),
        helper.make_node("Add", ["c3", "r1"], ["a"]),
        helper.make_node("MaxPool", ["a"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["m"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph(nodes, "cnn", [x], [y], known)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_quantizers_network(tmp_path: Path, form: str, per_channel: bool) -> None:
    tools = pytest.importorskip("onnxruntime.quantization")
    rng = np.random.default_rng(1)
    batches = iter([{"x": rng.normal(0, 1, (1, 3, 16, 16)).astype(np.float32)} for _ in range(8)])

    class Reader(tools.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(batches, None)

    source, target = tmp_path / "float.onnx", tmp_path / "quantized.onnx"
    onnx.save(network(), source)
    tools.quantize_static(
        str(source), str(target), Reader(), quant_format=getattr(tools.QuantFormat, form),
        per_channel=per_channel, weight_type=tools.QuantType.QInt8, reduce_range=LARGEST_WEIGHT < 128,
    )  # fmt: skip
    device = random_device(np.random.default_rng(2), 8192)
    found = compared(
        tmp_path, target.read_bytes(), 8, compiled=lambda graph: compile_graph(graph, device)
    )
    assert not found.different, found
    assert found.elements > 8 * 3000


@pytest.mark.parametrize("convolution", [False, True])
def test_dynamic_quantization(tmp_path: Path, convolution: bool) -> None:
    rng = np.random.default_rng(3)
    b = OnnxBuilder(21)
    b.input("x", (1, 4, 6, 8) if convolution else (3, 8))
    b.node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    shape = (5, 4, 3, 3) if convolution else (8, 5)
    b.constant("w", rng.integers(-LARGEST_WEIGHT, LARGEST_WEIGHT, shape).astype(np.int8))
    b.constant("wz", np.int8(3))
    attrs: dict[str, Any] = {"pads": [1, 0, 1, 1], "strides": [2, 1]} if convolution else {}
    operator = "ConvInteger" if convolution else "MatMulInteger"
    b.node(operator, ["q", "w", "z", "wz"], "y", "", **attrs)
    b.node("Cast", ["y"], "f", to=1)
    b.constant("ws", np.float32(0.013))
    b.node("Mul", ["s", "ws"], "sw")
    b.node("Mul", ["f", "sw"], "scaled")
    b.constant("b", rng.normal(0, 1, (5, 1, 1) if convolution else 5).astype(np.float32))
    b.node("Add", ["scaled", "b"], "sum")
    b.node("Relu", ["sum"], "r")
    b.output("r")
    b.output("y", "INT32")
    b.output("z", "UINT8")
    b.output("s")
    found = compared(tmp_path, b.write(), 20)
    assert not found.different, found


@pytest.mark.skipif(not MOBILENET.exists(), reason="../shared/data is not there")
def test_mobilenet_v2_equals_in_every_tensor() -> None:
    # Ten samples and more: ONNX_SAMPLES=10.
    found = verify(MOBILENET, small_device(), samples=SAMPLES)
    assert found.different == 0
    assert sum(t.elements for t in found.tensors) == SAMPLES * 7_201_112
