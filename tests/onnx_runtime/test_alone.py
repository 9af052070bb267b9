"""What ONNX Runtime computes in float32 between codes and we in integers: products of 4-bit weights, before
a clamp, of int8 codes, with a result that stays float32; averages and softmaxes of int8 codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_builder import OnnxBuilder
from onnx_compare import LARGEST_WEIGHT
from random_devices import small_device

from simulator.crosscheck import verify
from simulator.crosscheck.inputs import random_inputs
from simulator.datapath.machine import Machine
from simulator.importers.onnx import read_onnx
from simulator.npu import compile, exact_device
from simulator.ops import reference_values
from simulator.profiles import CHOSEN

pytest.importorskip("onnxruntime", reason="the reference runtime is an extra: npusim[verify]")

CODES = {"i8": np.int8, "u8": np.uint8}
FOUR_BITS = {"i4": ("INT4", -8, 8), "u4": ("UINT4", 0, 16)}
KINDS = ("Conv", "depthwise", "MatMul", "Gemm")


def weights(
    b: OnnxBuilder, rng: np.random.Generator, dtype: str, shape: tuple[int, ...], axis: int
) -> str:
    """DequantizeLinear of drawn weights with a scale per output; those of uint4 have a zero point."""
    kind, low, high = FOUR_BITS.get(dtype, (CODES.get(dtype), -LARGEST_WEIGHT, LARGEST_WEIGHT))
    scales = rng.uniform(0.01, 0.03, shape[axis]).astype(np.float32)
    b.constant("w", rng.integers(low, high, shape), kind)
    b.constant("ws", scales)
    b.constant("wz", np.full(scales.size, 7 if dtype == "u4" else 0), kind)
    return b.node("DequantizeLinear", ["w", "ws", "wz"], "wd", "", axis=axis)


def model(kind: str, x: str, w: str, *, clamp: bool = False, real: bool = False) -> bytes:
    """One product of ``x`` codes by ``w`` weights, with a bias where ``kind`` has one."""
    rng = np.random.default_rng([len(kind), len(w), ord(x[0]), ord(w[0])])
    b, image = OnnxBuilder(21), kind in ("Conv", "depthwise")
    b.input("x", (1, 8, 9, 7) if image else (5, 40), {"i8": "INT8", "u8": "UINT8"}[x])
    b.scale("x", 0.02, 3, CODES[x])
    b.node("DequantizeLinear", ["x", "x_scale", "x_zero_point"], "xd")
    shape = {"Conv": (6, 8, 3, 2), "depthwise": (8, 1, 3, 2)}.get(kind, (40, 6))
    inputs = ["xd", weights(b, rng, w, shape, 0 if image else 1)]
    if kind in ("Conv", "Gemm"):
        scales = np.float32(0.02) * np.random.default_rng(0).uniform(0.01, 0.03, 6)
        b.constant("b", (rng.integers(-500, 500, 6) * scales).astype(np.float32))
        inputs.append("b")
    attrs = {"group": 8} if kind == "depthwise" else {}
    y = b.node("Conv" if image else kind, inputs, "y", "", **attrs)
    if clamp:
        b.constant("low", np.float32(-0.5))
        b.constant("high", np.float32(1.25))
        y = b.node("Clip", [y, "low", "high"], "clipped")
    if not real:
        y = b.quantize(y, 0.011, 5, CODES[x])
    b.output(y, "FLOAT" if real else {"i8": "INT8", "u8": "UINT8"}[x])
    return b.write()


CASES = [
    *((kind, x, w, {}) for kind in KINDS for x in CODES for w in FOUR_BITS),
    *((kind, "u8", "i8", {"clamp": True}) for kind in KINDS),
    *((kind, "i8", "i8", {}) for kind in KINDS if kind != "Gemm"),
    *((kind, "u8", "u4", {"real": True}) for kind in KINDS),
    ("Conv", "u8", "i8", {"real": True}),
]


@pytest.mark.parametrize(("kind", "x", "w", "more"), CASES)
def test_sums_are_exact_and_the_runtime_is_within_its_rounding(
    tmp_path: Path, kind: str, x: str, w: str, more: dict[str, bool]
) -> None:
    content = model(kind, x, w, **more)
    graph = read_onnx(content, "m")
    (node,) = (n for n in graph.nodes if n.operator in (
        "conv_2d", "depthwise_conv_2d", "fully_connected"))  # fmt: skip
    assert dict(node.attrs)["arithmetic"] == "float"
    feed = random_inputs(graph, 2, 5)
    made = Machine(compile(graph, small_device())).run(feed, [*node.inputs[:1], node.outputs[0]])
    values = {**feed, **made.tensors}
    naive = reference_values(graph, node, [values[node.inputs[0]][0]])[0]
    np.testing.assert_array_equal(values[node.outputs[0]][0], naive)
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    found = verify(path, exact_device(), samples=40)
    assert [t.evidence for t in found.tensors if t.name == node.outputs[0]] == [CHOSEN]
    last = next(t for t in found.tensors if t.name == graph.outputs[0])
    if more.get("real"):
        # Sums of some fifty products, each rounded to 24 bits; small ones cancelled.
        assert last.equal > last.elements / 20
    else:
        assert last.worse == 0
        assert last.off_by_one < last.elements / 1000


AVERAGES = {
    "AveragePool": {"kernel_shape": [3, 2]},
    "GlobalAveragePool": {},
    "Softmax": {"axis": -1},
}


@pytest.mark.parametrize("kind", AVERAGES)
def test_averages_are_within_the_rounding_of_the_runtime(tmp_path: Path, kind: str) -> None:
    """Of int8 codes that come in as such to ones that the runtime makes uint8: it joins nothing."""
    b = OnnxBuilder(21)
    b.input("x", (1, 6, 9, 7), "INT8")
    stated = b.scale("x", 0.02, 3, np.int8)
    b.node("DequantizeLinear", ["x", *stated], "x_dq")
    b.node(kind, ["x_dq"], "y", "", **AVERAGES[kind])
    b.output(b.qdq("y", 0.006, -5, np.int8))
    path = tmp_path / "m.onnx"
    path.write_bytes(b.write())
    found = verify(path, exact_device(), samples=40)
    known = {t.name: t for t in found.tensors}
    assert known["y_q"].evidence == CHOSEN
    last = known["y_dq"]
    assert last.elements > 200
    assert last.different < last.elements / 50  # by one code, which is many units of a number


def test_codes_inside_are_those_of_the_users_session(tmp_path: Path) -> None:
    """Showing int8 codes would keep the runtime from joining: an optimized copy shows them."""
    rng = np.random.default_rng(4)
    b = OnnxBuilder(21)
    b.input("x", (1, 4, 9, 9))
    last = b.qdq("x", 0.02, 3, np.int8)
    for i in range(3):
        values = rng.integers(-LARGEST_WEIGHT, LARGEST_WEIGHT, (4, 4, 3, 3)).astype(np.int8)
        conv = b.node("Conv", [last, b.weights(f"w{i}", values, 0.004)], f"y{i}")
        last = b.qdq(b.node("Relu", [conv], f"r{i}"), 0.02, -128, np.int8)
    b.output(last)
    path = tmp_path / "m.onnx"
    path.write_bytes(b.write())
    found = verify(path, exact_device(), samples=20)
    seen = {t.name.split("/")[0] for t in found.tensors if t.operator == "conv_2d" and t.elements}
    assert seen == {"r0_q", "r1_q", "r2_q"}
    assert found.different == 0
