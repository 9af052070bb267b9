"""Float graphs against ONNX Runtime and LiteRT, and what may not change what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from float_networks import samples, write_network
from litert_runner import LiteRTRunner
from real_models import SHARED

from simulator.errors import DataError, ModelError
from simulator.quantization.equalization import PRODUCTS, equalize, fold_batch_norms, output_axis
from simulator.quantization.float_graph import batches, run_float
from simulator.quantizing import load_float_model

nets = pytest.mark.parametrize(("seed", "six"), [(0, False), (1, True), (2, False)])
FLOATS = ("pretrainedResnet", "vww_96_float", "ad01_fp32", "kws_ref_model_float32")


def _near(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return bool(np.abs(ours - theirs).max() <= 1e-4 * max(1.0, float(np.abs(theirs).max())))


@nets
def test_values_are_those_of_onnxruntime(tmp_path: Path, seed: int, six: bool) -> None:
    runtime: Any = pytest.importorskip("onnxruntime")
    path = write_network(tmp_path / "net.onnx", seed, six)
    graph, x = load_float_model(path), samples(5)
    session = runtime.InferenceSession(str(path))
    theirs = np.concatenate([session.run(None, {"image": i[None]})[0] for i in x])
    made = run_float(graph, x)[graph.outputs[0]]
    assert _near(made, theirs)
    assert theirs.std() > 0.05


@nets
def test_folded_norms_change_nothing(tmp_path: Path, seed: int, six: bool) -> None:
    graph, x = load_float_model(write_network(tmp_path / "net.onnx", seed, six)), samples(5)
    folded = fold_batch_norms(graph)
    assert sum(n.operator == "batch_normalization" for n in graph.nodes) == 2
    assert not any(n.operator == "batch_normalization" for n in folded.nodes)
    output = graph.outputs[0]
    assert _near(run_float(folded, x)[output], run_float(graph, x)[output])


@nets
def test_equalized_channels_change_nothing_but_their_ranges(
    tmp_path: Path, seed: int, six: bool
) -> None:
    graph, x = load_float_model(write_network(tmp_path / "net.onnx", seed, six)), samples(5)
    folded = fold_batch_norms(graph)
    equal = equalize(folded)
    output = graph.outputs[0]
    assert _near(run_float(equal, x)[output], run_float(folded, x)[output])
    changed = {
        n.name for n in folded.nodes if n.operator in PRODUCTS
        if (folded.constants[n.inputs[1]] != equal.constants[n.inputs[1]]).any()
    }  # fmt: skip
    # A ReLU6 lets no factor through; what another layer reads, too, stays.
    assert len(changed) == (0 if six else 2)
    if six:
        return
    pair = [n for n in equal.nodes if n.name in changed]
    spans = [
        np.abs(np.moveaxis(equal.constants[n.inputs[1]], output_axis(n), 0)).reshape(16, -1).max(1)
        for n in pair
    ]
    inputs = np.abs(equal.constants[pair[1].inputs[1]]).max(axis=(0, 1, 2))
    assert spans[0] == pytest.approx(inputs, rel=0.02)


def test_a_norm_that_follows_no_product_is_refused(tmp_path: Path) -> None:
    from onnx_builder import OnnxBuilder

    b = OnnxBuilder()
    b.input("x", [1, 2, 4, 4])
    given = [b.constant(k, np.ones(2, np.float32)) for k in ("gain", "beta", "mean", "var")]
    b.node("BatchNormalization", ["x", *given], "y")
    b.output("y")
    path = tmp_path / "norm.onnx"
    path.write_bytes(b.write())
    with pytest.raises(ModelError, match="does not directly follow a product; allowed: folded"):
        fold_batch_norms(load_float_model(path))


def test_what_cannot_be_quantized_is_refused(tmp_path: Path) -> None:
    from simulator.workload import model_path

    with pytest.raises(
        ModelError, match=r"input 'image' is i8\[1,28,28,1\]; allowed: a float32 model"
    ):
        load_float_model(model_path("digits"))
    graph = load_float_model(write_network(tmp_path / "net.onnx"))
    with pytest.raises(
        DataError, match=r"a sample has shape \[4\]; allowed: \[3, 9, 9\], its 243 elements"
    ):
        run_float(graph, np.zeros((2, 4), np.float32))
    bad = tmp_path / "net.csv"
    bad.write_text("x")
    with pytest.raises(ModelError, match=r"file type \.csv; allowed: \.tflite, \.onnx"):
        load_float_model(bad)


@pytest.mark.parametrize("name", FLOATS)
def test_mlperf_tiny_in_float_is_that_of_litert(name: str) -> None:
    path = SHARED / "mlperf_tiny" / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not part of the project")
    graph = load_float_model(path)
    spec = graph.spec(graph.inputs[0])
    x = np.random.default_rng(0).uniform(0, 1, (3, *spec.shape[1:])).astype(np.float32)
    if name == "pretrainedResnet":
        x *= 255
    theirs = LiteRTRunner(path.read_bytes(), "xnnpack").run({graph.inputs[0]: x[:, None]})
    made = np.concatenate([run_float(graph, p)[graph.outputs[0]] for p in batches(graph, x)])
    (other,) = theirs.values()
    # LiteRT quantizes the inputs of the hybrid keyword model's layers on their way.
    allowed = 0.05 if name.startswith("kws") else 1e-3
    assert np.abs(made - other.reshape(made.shape)).max() <= allowed * max(1, np.abs(other).max())
