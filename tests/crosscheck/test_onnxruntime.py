"""ONNX Runtime as a reference: every tensor of codes, joined operators or not, and its errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_builder import OnnxBuilder
from onnx_models import PAIRS, codes, qdq_conv, read

from simulator.errors import CrosscheckError, ModelError

pytest.importorskip("onnxruntime", reason="the reference runtime is an extra: npusim[verify]")

from simulator.crosscheck.onnxruntime import OnnxRuntime, open_runtime, pairs_saturate


def opened(tmp_path: Path, content: bytes, optimize: bool = True) -> OnnxRuntime:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    return open_runtime(path, optimize)


def drawn(graph_inputs: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {n: rng.normal(0, 1, shape).astype(np.float32) for n, shape in graph_inputs.items()}


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("name", PAIRS)
def test_every_tensor_of_a_graph_can_be_had(tmp_path: Path, name: str, optimize: bool) -> None:
    graph = read(PAIRS[name][0]())
    runtime = opened(tmp_path, PAIRS[name][0](), optimize)
    inputs = drawn({n: graph.spec(n).shape for n in graph.inputs})
    made = [graph.tensors[o] for node in graph.nodes for o in node.outputs]
    keys = [str(t.key) for t in made if t.key]
    found = runtime.run(inputs, keys)
    for tensor in made:
        if not tensor.key:
            continue
        value = found[str(tensor.key)]
        axes = tensor.file_axes or tuple(range(value.ndim))
        assert value.dtype == tensor.spec.container
        assert value.shape == tuple(tensor.spec.shape[i] for i in axes)


def test_known_values(tmp_path: Path) -> None:
    # reference: QuantizeLinear rounds half to even, then adds the zero point, then clamps.
    b = OnnxBuilder(21)
    b.input("x", (9,))
    b.qdq("x", 1.0, 1, np.int8)
    b.output("x_dq")
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 127.5, 300, -300], np.float32)
    found = opened(tmp_path, b.write()).run({"x": x}, ["x_q", "x_dq", "x"])
    assert found["x_q"].tolist() == [-1, -1, 1, 1, 3, 3, 127, 127, -128]
    assert found["x_dq"].tolist() == [-2, -2, 0, 0, 2, 2, 126, 126, -129]
    assert found["x"] is x


def test_codes_as_outputs_do_not_keep_operators_apart(tmp_path: Path) -> None:
    """A tie of the exact sum, which float32 products and sums miss, tells which of both ran."""
    inputs = drawn({"x": (1, 4, 6, 8)})
    apart = 0
    for seed in range(40):
        b = OnnxBuilder(21)
        b.input("x", (1, 4, 6, 8))
        b.qdq("x", 0.02, 120)
        b.weights("w", codes(5, 4, 3, 3, seed=seed), 0.01)
        b.node("Conv", ["x_dq", "w_dq"], "y")
        b.qdq("y", 0.03, 100)
        b.output("y_dq")
        joined = opened(tmp_path, b.write())
        alone = opened(tmp_path, b.write(), optimize=False)
        with_codes = joined.run(inputs, ["x_q", "y_q"])["y_q"]
        as_user = joined.run(inputs, ["y_dq"])["y_dq"]
        real = (with_codes.astype(np.int64) - 100).astype(np.float32) * np.float32(0.03)
        assert np.array_equal(real, as_user)
        apart += int((alone.run(inputs, ["y_q"])["y_q"] != with_codes).sum())
    assert apart > 0


def test_versions_name_the_level(tmp_path: Path) -> None:
    cpu = "CPU without VNNI (sums of uint8 by int8 saturate)" if pairs_saturate() else "CPU"
    assert opened(tmp_path, qdq_conv()).version.endswith(f", {cpu}, ORT_ENABLE_ALL")
    assert opened(tmp_path, qdq_conv(), False).version.endswith(f", {cpu}, ORT_DISABLE_ALL")


def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ModelError, match=r"^m\.tflite: ONNX Runtime runs ONNX files only; allowed: "
    ):
        open_runtime(Path("m.tflite"))
    with pytest.raises(ModelError, match=r"gone\.onnx: cannot be read: No such file"):
        open_runtime(tmp_path / "gone.onnx")
    with pytest.raises(CrosscheckError, match=r"^onnxruntime: refuses model\.onnx: "):
        opened(tmp_path, b"\xff\xff\xff")
    with pytest.raises(CrosscheckError, match=r"^onnxruntime: refuses model\.onnx: "):
        opened(tmp_path, qdq_conv().replace(b"QuantizeLinear", b"QuantizeLineal"))
    runtime = opened(tmp_path, qdq_conv())
    with pytest.raises(CrosscheckError, match=r"^onnxruntime: model\.onnx makes no tensor 'z'$"):
        runtime.run({}, ["z"])
    with pytest.raises(CrosscheckError, match=r"^onnxruntime: stopped: "):
        runtime.run({"x": np.zeros(3, np.float32)}, ["y_q"])
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    wanted = "onnxruntime: the package onnxruntime is not installed; allowed: pip install 'npusim[verify]'"
    with pytest.raises(CrosscheckError) as caught:
        opened(tmp_path, qdq_conv())
    assert str(caught.value) == wanted


@pytest.mark.parametrize("sides", [(5, 7), (5, 5)])
def test_a_tensor_with_its_axes_moved_is_not_shown(tmp_path: Path, sides: tuple[int, int]) -> None:
    """The runtime cancels the two Transpose nodes: HardSwish runs in the order before them."""
    b = OnnxBuilder(21)
    b.input("x", (1, 3, *sides))
    b.qdq("x", 0.05, 3, np.int8)
    b.node("Transpose", ["x_dq"], "t", perm=[0, 1, 3, 2])
    b.qdq("t", 0.05, 3, np.int8)
    b.node("HardSwish", ["t_dq"], "h")
    b.qdq("h", 0.04, 1, np.int8)
    b.node("Transpose", ["h_dq"], "y", perm=[0, 1, 3, 2])
    b.qdq("y", 0.04, 1, np.int8)
    b.output("y_dq")
    inputs = drawn({"x": (1, 3, *sides)})
    moved = opened(tmp_path, b.write()).run(inputs, ["h_q", "y_dq"])
    alone = opened(tmp_path, b.write(), optimize=False).run(inputs, ["h_q", "y_dq"])
    assert "h_q" not in moved
    assert alone["h_q"].shape == (1, 3, *sides[::-1])
    np.testing.assert_array_equal(moved["y_dq"], alone["y_dq"])
