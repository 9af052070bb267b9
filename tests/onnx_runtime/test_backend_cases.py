"""ONNX's own test cases of the quantized operators: each passes, or is refused for a stated reason.

The cases come with the onnx package; operands that say how (scales, zero points, weights) are graph inputs
there, and are made constants here, as our importer wants them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import onnx
import pytest
from random_devices import small_device

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.errors import ModelError
from simulator.importers.onnx import read_onnx

_OPERATORS = (
    "QLinearConv", "QLinearMatMul", "QuantizeLinear", "DequantizeLinear", "ConvInteger",
    "MatMulInteger", "DynamicQuantizeLinear",
)  # fmt: skip
_PREFIXES = tuple(f"test_{name.lower()}" for name in _OPERATORS)
_ACTIVATIONS = {"QLinearMatMul": (0, 3), "MatMulInteger": (0, 1)}

PASSED = {
    "test_convinteger_without_padding", "test_dequantizelinear", "test_dequantizelinear_axis",
    "test_dequantizelinear_int16", "test_dequantizelinear_int4", "test_dequantizelinear_uint16",
    "test_dequantizelinear_uint4", "test_dynamicquantizelinear",
    "test_dynamicquantizelinear_max_adjusted", "test_dynamicquantizelinear_min_adjusted",
    "test_matmulinteger", "test_qlinearconv", "test_qlinearmatmul_2D_int8_float32",
    "test_qlinearmatmul_2D_uint8_float32", "test_qlinearmatmul_3D_int8_float32",
    "test_qlinearmatmul_3D_uint8_float32", "test_quantizelinear", "test_quantizelinear_int16",
    "test_quantizelinear_uint16",
}  # fmt: skip
# Part of the message, which says the reason.
REFUSED = {
    "test_convinteger_with_padding": "one zero point",
    "test_dequantizelinear_blocked": "in blocks",
    "test_dequantizelinear_e4m3fn": "FLOAT8E4M3FN",
    "test_dequantizelinear_e4m3fn_float16": "FLOAT8E4M3FN",
    "test_dequantizelinear_e4m3fn_zero_point": "FLOAT8E4M3FN",
    "test_dequantizelinear_e5m2": "FLOAT8E5M2",
    "test_dequantizelinear_float4e2m1": "FLOAT4E2M1",
    "test_dequantizelinear_int2": "INT2",
    "test_dequantizelinear_uint2": "UINT2",
    "test_dynamicquantizelinear_expanded": "ReduceMin",
    "test_dynamicquantizelinear_max_adjusted_expanded": "ReduceMin",
    "test_dynamicquantizelinear_min_adjusted_expanded": "ReduceMin",
    "test_qlinearmatmul_2D_int8_float16": "float16",
    "test_qlinearmatmul_2D_uint8_float16": "float16",
    "test_qlinearmatmul_3D_int8_float16": "float16",
    "test_qlinearmatmul_3D_uint8_float16": "float16",
    "test_quantizelinear_axis": "3 scales",
    "test_quantizelinear_blocked_asymmetric": "in blocks",
    "test_quantizelinear_blocked_symmetric": "in blocks",
    "test_quantizelinear_e4m3fn": "FLOAT8E4M3FN",
    "test_quantizelinear_e5m2": "FLOAT8E5M2",
    "test_quantizelinear_float4e2m1": "FLOAT4E2M1",
    "test_quantizelinear_int2": "INT2",
    "test_quantizelinear_int4": "3 scales",
    "test_quantizelinear_uint2": "UINT2",
    "test_quantizelinear_uint4": "3 scales",
}
# Cases that ONNX Runtime 1.31.1 itself refuses or answers otherwise.
RUNTIME_DEPARTS = {"test_convinteger_with_padding"}


def _cases() -> dict[str, Any]:
    nodes = import_module("onnx.backend.test.case.node")
    for name in _OPERATORS:
        import_module(f"onnx.backend.test.case.node.{name.lower()}")
    return {c.name: c for c in nodes._NodeTestCases if c.name.startswith(_PREFIXES)}


CASES = _cases()


def _model(case: Any) -> tuple[bytes, dict[str, np.ndarray]]:
    """The model with its operands made constants, and the values of what stays an input."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph, values = model.graph, case.data_sets[0][0]
    kept = _ACTIVATIONS.get(graph.node[0].op_type, (0,))
    feed, inputs = {}, list(graph.input)
    del graph.input[:]
    for place, (described, value) in enumerate(zip(inputs, values, strict=True)):
        if place in kept:
            graph.input.append(described)
            feed[described.name] = value
            continue
        known = value if isinstance(value, onnx.TensorProto) else onnx.numpy_helper.from_array(
            np.asarray(value)
        )  # fmt: skip
        made = graph.initializer.add()
        made.CopyFrom(known)
        made.name = described.name
    return model.SerializeToString(), feed


def _array(value: Any) -> np.ndarray:
    held = isinstance(value, onnx.TensorProto)
    return onnx.numpy_helper.to_array(value) if held else np.asarray(value)


def test_every_case_has_its_place() -> None:
    assert set(CASES) == PASSED | set(REFUSED)
    assert not PASSED & set(REFUSED)
    assert set(CASES) >= RUNTIME_DEPARTS


@pytest.mark.parametrize("name", sorted(PASSED))
def test_passes(name: str) -> None:
    content, feed = _model(CASES[name])
    graph = read_onnx(content, name)
    given = {n: _array(v)[np.newaxis].astype(graph.spec(n).container) for n, v in feed.items()}
    found = Machine(compile_graph(graph, small_device())).run(given).outputs
    for output, expected in zip(graph.outputs, CASES[name].data_sets[0][1], strict=True):
        np.testing.assert_array_equal(found[output][0].reshape(np.shape(expected)), expected)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_is_refused_for_its_reason(name: str) -> None:
    content, _ = _model(CASES[name])
    with pytest.raises(ModelError) as caught:
        read_onnx(content, name)
    assert REFUSED[name] in str(caught.value)


def test_the_runtime_agrees_with_the_cases_but_where_it_is_said() -> None:
    runtime = pytest.importorskip("onnxruntime", reason="an extra: npusim[verify]")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    departs = set()
    for name in PASSED | RUNTIME_DEPARTS:
        case = CASES[name]
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        model.opset_import[0].version = min(model.opset_import[0].version, 21)
        model.ir_version = min(model.ir_version, 10)
        names = [i.name for i in model.graph.input]
        given = {n: np.asarray(v) for n, v in zip(names, case.data_sets[0][0], strict=True)}
        try:
            session = runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            found = session.run(None, given)
        except Exception:  # the runtime's errors have no base of their own
            departs.add(name)
            continue
        wanted = case.data_sets[0][1]
        if not all(np.array_equal(a, np.asarray(b)) for a, b in zip(found, wanted, strict=True)):
            departs.add(name)
    # 4-bit arrays cannot be handed to the runtime from numpy.
    assert departs - {n for n in departs if "int4" in n} == RUNTIME_DEPARTS
