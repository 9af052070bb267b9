"""What the reader makes of a sound file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from broken_tflite import Op, T, conv_model, pool_model, simple_model

from simulator import load_device, load_model, simulate
from simulator.errors import ModelError
from simulator.importers import load_graph
from simulator.importers._tflite_operators import FORMS
from simulator.importers._tflite_tensors import LARGEST_SCALE, SMALLEST_ACTIVATION_SCALE
from simulator.importers._tflite_variables import OPERATORS as VARIABLE_OPERATORS
from simulator.importers.tflite import read_tflite, supported_operators
from simulator.ops import operator_names
from simulator.tensor import QuantParams, TensorSpec


def test_convolution_as_written() -> None:
    graph = read_tflite(conv_model().write(), "conv")
    node = graph.nodes[0]
    assert (node.operator, node.name, node.inputs) == (
        "conv_2d", "maps", ("image", "weights", "bias"),
    )  # fmt: skip
    assert [node.integer(f"pad_{side}") for side in ("top", "bottom", "left", "right")] == [1] * 4
    assert graph.tensors["weights"].quantization == QuantParams((0.25, 0.5), (0, 0), 0)
    assert graph.tensors["image"].spec == TensorSpec((1, 4, 4, 1), "i8")
    assert graph.tensors["maps"].key == 3
    assert graph.constants["weights"].reshape(-1).tolist() == list(range(18))
    assert graph.constants["bias"].tolist() == [7, -7]
    assert (graph.inputs, graph.outputs, graph.fused) == (("image",), ("maps",), ())


def test_every_operator_read_has_a_file_in_ops() -> None:
    read = set(supported_operators()) - set(VARIABLE_OPERATORS)
    assert {FORMS[n].operator or n.lower() for n in read} <= set(operator_names())


def test_digest_is_that_of_the_file() -> None:
    import hashlib

    content = pool_model().write()
    assert read_tflite(content, "pool").sha256 == hashlib.sha256(content).hexdigest()


def test_equal_names_are_told_apart() -> None:
    model = conv_model()
    for tensor in model.tensors:
        tensor.name = "same"
    graph = read_tflite(model.write(), "names")
    assert graph.nodes[0].inputs == ("same", "same#1", "same#2")
    assert graph.outputs == ("same#3",)


def test_nameless_tensors_get_their_number() -> None:
    model = pool_model()
    for tensor in model.tensors:
        tensor.name = ""
    assert read_tflite(model.write(), "names").nodes[0].inputs == ("tensor_0",)


def test_zero_points_may_be_left_out() -> None:
    model = pool_model()
    for tensor in model.tensors:
        tensor.zero = []
    graph = read_tflite(model.write(), "zero")
    assert graph.quantization("image").zero_points == (0,)


def test_add_without_options_has_no_activation() -> None:
    model = simple_model("ADD", T("a", [1, 4]), T("b", [1, 4]), T("c", [1, 4]))
    assert read_tflite(model.write(), "add").nodes[0].text("activation") == "NONE"


def test_a_missing_bias_is_none() -> None:
    model = conv_model()
    model.operators[0].inputs = [0, 1, -1]
    assert read_tflite(model.write(), "bias").nodes[0].inputs == ("image", "weights", "")
    model.operators[0].inputs = [0, 1]
    assert read_tflite(model.write(), "bias").nodes[0].inputs == ("image", "weights")


def test_relu_with_another_quantization_stays() -> None:
    model = conv_model()
    model.tensors.append(T("clamped", [1, 4, 4, 2], scale=[0.25]))
    model.operators.append(Op("RELU", [3], [4]))
    model.outputs = [4]
    graph = read_tflite(model.write(), "relu")
    assert [n.operator for n in graph.nodes] == ["conv_2d", "relu"]
    assert graph.fused == ()


def test_a_tensor_that_is_an_output_as_well_is_not_fused() -> None:
    model = conv_model()
    model.tensors.append(T("clamped", [1, 4, 4, 2]))
    model.operators.append(Op("RELU", [3], [4]))
    model.outputs = [3, 4]
    graph = read_tflite(model.write(), "relu")
    assert (len(graph.nodes), graph.fused) == (2, ())


@pytest.mark.parametrize(
    ("scale", "constant"),
    [(SMALLEST_ACTIVATION_SCALE, False), (LARGEST_SCALE, False), (2.0**-127, True)],
)
def test_scales_at_the_limits_run(scale: float, constant: bool) -> None:
    model = conv_model()
    # The ratio input * weights / output must stay below 2**30.
    for tensor in model.tensors if not constant else model.tensors[1:2]:
        tensor.scale = [scale] * len(tensor.scale)
    if not constant:
        model.tensors[1].scale = [0.5, 0.5]
    assert simulate(read_tflite(model.write(), "scale"), load_device("wear")).totals.macs == 288


def test_reshaped_constant_is_folded() -> None:
    model = conv_model()
    model.tensors[1].shape = [2, 9]
    model.tensors.append(T("filters", [2, 3, 3, 1], scale=[0.25, 0.5], zero=[0, 0]))
    model.operators.insert(0, Op("RESHAPE", [1], [4]))
    model.operators[1].inputs = [0, 4, 2]
    graph = read_tflite(model.write(), "fold")
    assert [n.operator for n in graph.nodes] == ["conv_2d"]
    assert np.array_equal(graph.constants["filters"].reshape(-1), np.arange(18))


def test_suffix_decides_and_capitals_count_as_well(tmp_path: Path) -> None:
    path = tmp_path / "POOL.TFLITE"
    path.write_bytes(pool_model().write())
    assert load_graph(path).name == "POOL.TFLITE"
    with pytest.raises(
        ModelError,
        match=r"^x\.pb: file type \.pb; allowed: \.tflite, \.onnx, \.csv \(a SCALE-Sim topology\)$",
    ):
        load_graph(Path("x.pb"))
    with pytest.raises(ModelError, match=r"gone\.tflite: cannot be read: No such file"):
        load_graph(tmp_path / "gone.tflite")


def test_digits_by_name_and_by_path() -> None:
    from simulator.resources import data_folder

    by_path = load_model(data_folder("workloads") / "digits" / "digits_int8.tflite")
    assert by_path.sha256 == load_model("digits").sha256
    assert len(by_path.nodes) == 14
