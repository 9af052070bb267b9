"""QONNX networks on the datapath, against QONNX's own execution and the operators' naive references."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import drawn_rng
from graph_settings import graph_settings
from hypothesis import given
from hypothesis import strategies as st
from qonnx_models import DOMAIN, dense_network, image_network, residual_network
from random_devices import compile_tightly

from simulator.crosscheck.qonnx import open_runtime
from simulator.datapath.machine import Machine
from simulator.errors import ModelError
from simulator.graph import Graph
from simulator.importers.onnx import read_onnx
from simulator.ops import reference_values

pytest.importorskip("qonnx")

MAKERS = {"dense": dense_network, "image": image_network, "residual": residual_network}
NETWORKS = 40
FEWEST_ELEMENTS = 2_000
# QONNX sums in float32: with scales that are no powers of two its own rounding may cross a threshold.
MOST_ROUNDED = 0.005


def real_value(graph: Graph, name: str, values: np.ndarray) -> np.ndarray:
    """A tensor of one sample as the float32 numbers the file has, in the file's order."""
    tensor = graph.tensors[name]
    if not tensor.spec.real:
        params = graph.quantization(name)
        values = (values.astype(np.int64) - params.zero_point).astype(np.float32)
        values = values * np.float32(params.scale)
    return values.transpose(tensor.file_axes) if tensor.file_axes else values


def naive(graph: Graph, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of one sample by the operators' references."""
    known = dict(feed)
    for node in graph.nodes:
        inputs = [known[n] for n in node.inputs if n in known]
        made = reference_values(graph, node, inputs)
        for name, values in zip(node.outputs, made, strict=True):
            known[name] = values.astype(graph.spec(name).container)
    return known


def held(rng: np.random.Generator, kind: str, exact: bool, folder: Path) -> tuple[int, int]:
    """Elements of one network compared with QONNX, and how many of them differ; the definitions hold."""
    content, shape = MAKERS[kind](rng, exact)
    path = folder / "network.onnx"
    path.write_bytes(content)
    graph = read_onnx(content, path.name)
    x = rng.normal(0, 4, (1, *shape)).astype(np.float32)
    kept = Machine(compile_tightly(rng, graph)).run({"x": x}, keep=graph.tensors).tensors
    defined = naive(graph, {"x": x[0]})
    keys = {n: str(t.key) for n, t in graph.tensors.items() if n in kept and t.key}
    theirs = open_runtime(path).run({"x": x[0]}, list(keys.values()))
    compared = apart = 0
    for name, values in kept.items():
        np.testing.assert_array_equal(values[0], defined[name], f"naive, {name}")
    for name, key in keys.items():
        ours = real_value(graph, name, kept[name][0])
        if exact:
            np.testing.assert_array_equal(ours, theirs[key], f"QONNX, {key}")
        apart += int((ours != theirs[key]).sum())
        compared += ours.size
    return compared, apart


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("kind", MAKERS)
def test_equal_to_qonnx(kind: str, exact: bool, tmp_path: Path) -> None:
    """In every element where float32 holds QONNX's sums exactly."""
    compared = apart = 0
    for seed in range(NETWORKS):
        counts = held(np.random.default_rng([seed, len(kind), exact]), kind, exact, tmp_path)
        compared, apart = compared + counts[0], apart + counts[1]
    assert compared >= FEWEST_ELEMENTS
    assert apart <= MOST_ROUNDED * compared


@pytest.mark.parametrize("kind", MAKERS)
def test_drawn_networks_equal_qonnx(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same of networks and devices that hypothesis draws, and shrinks."""
    folder = tmp_path_factory.mktemp("qonnx")

    @graph_settings(10, len(MAKERS))
    @given(st.composite(drawn_rng)())
    def check(rng: np.random.Generator) -> None:
        compared, _ = held(rng, kind, True, folder)
        assert compared

    check()


def test_the_networks_use_what_they_should() -> None:
    dtypes, directions = set[str](), set[int]()
    for seed in range(NETWORKS):
        graph = read_onnx(dense_network(np.random.default_rng([seed, 5, 1]))[0], "dense")
        dtypes |= {t.spec.dtype for t in graph.tensors.values()}
        for name, values in graph.constants.items():
            directions |= set(values.tolist()) if name.endswith("/directions") else set()
    assert {"b1", "i2", "u2", "i8", "u8", "i64"} <= dtypes
    assert directions == {-1, 1}


def _model(**changes: Any) -> bytes:
    """Quant of the input, then a product by quantized weights; ``changes`` break one thing."""
    from onnx_builder import OnnxBuilder

    build = OnnxBuilder(opset=13)
    x = build.input("x", (1, 4))
    wanted = {
        "scale": 0.5,
        "zero": 0.0,
        "bits": 4.0,
        "rounding_mode": "ROUND",
        "signed": 1,
    } | changes
    build.constant("s", wanted["scale"], np.float32)
    build.constant("z", wanted["zero"], np.float32)
    build.constant("b", wanted["bits"], np.float32)
    attrs = {"rounding_mode": wanted["rounding_mode"], "signed": wanted["signed"], "narrow": 0}
    q = build.node("Quant", [x, "s", "z", "b"], "q", DOMAIN, **attrs)
    build.constant("w", np.ones((4, 2)), np.float32)
    w = "w"
    if not changes.get("plain"):
        w = build.node("Quant", ["w", "s", "z", "b"], "wq", DOMAIN, **attrs)
    build.output(build.node(changes.get("operator", "MatMul"), [q, w], "y"))
    return build.write()


BAD = {
    "scale 0": ({"scale": 0.0}, "m.onnx: qonnx.custom_op.general.Quant 'q': scale 0.0; allowed: above 0"),
    "half a bit": ({"bits": 3.5}, "bit width [3.5]; allowed: one whole number"),
    "too many bits": ({"bits": 33.0}, "bit width 33; allowed: 1..32"),
    "zero point outside": ({"zero": 9.0}, "zero point 9; allowed: -8..7"),
    "rounding": ({"rounding_mode": "NEAREST"}, "rounding mode 'NEAREST'; allowed: ROUND, HALF_EVEN"),
    "plain weights": ({"plain": 1}, "multiplies by numbers that no quantizer made; allowed: quantized"),
    "NaN scale": ({"scale": float("nan")}, "has no scale; allowed: finite numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused(case: str) -> None:
    changes, message = BAD[case]
    with pytest.raises(ModelError, match=re.escape(message)):
        read_onnx(_model(**changes), "m.onnx")


def test_the_model_that_is_broken_is_sound_otherwise() -> None:
    assert read_onnx(_model(), "m.onnx").profile == "qonnx"
