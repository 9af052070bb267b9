"""Passes over graphs: what they change, and that they never change a bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from litert_runner import LiteRTRunner
from random_devices import small_device
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.errors import ModelError
from simulator.graph import Graph, GraphTensor, Node, State, attributes
from simulator.graph.passes import canonicalize, fold_constants
from simulator.graph.text import print_graph
from simulator.importers.tflite import read_tflite
from simulator.ops import constant_values
from simulator.tensor import QuantParams, TensorSpec

RELU = 1  # as a fused activation
CONV = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
SHAPE = (1, 4, 5, 2)


def tensor(
    name: str, scale: float = 0.5, zero_point: int = -3, shape: tuple[int, ...] = SHAPE
) -> Tensor:
    return Tensor(name, shape, "i8", scale, zero_point)


def convolution(output: str, **options: Any) -> tuple[list[Tensor], Op]:
    """Constants of a 1 x 1 convolution of x, and its operator."""
    weights = np.array([[3, -2], [1, 4]], np.int8).reshape(2, 1, 1, 2)
    constants = [
        Tensor("w", (2, 1, 1, 2), "i8", 0.25, 0, weights),
        Tensor("b", (2,), "i32", 0.125, 0, np.array([5, -9], np.int32)),
    ]
    return constants, Op("CONV_2D", ["x", "w", "b"], output, {**CONV, **options})


def graph_and_check(
    tensors: list[Tensor], ops: list[Op], outputs: list[str], *, runs: bool = True
) -> Graph:
    """The canonical graph, after comparing all its outputs with LiteRT's."""
    content = build_model(tensors, ops, ["x"], outputs)
    graph = read_tflite(content, "passes")
    x = np.random.default_rng(0).integers(-128, 128, (3, *tensors[0].shape)).astype(np.int8)
    got = Machine(compile_graph(graph, small_device())).run({"x": x}).outputs
    if runs:
        for name, values in LiteRTRunner(content).run({"x": x}).items():
            np.testing.assert_array_equal(got[name], values)
    return graph


def kinds(graph: Graph) -> list[str]:
    return [n.operator for n in graph.nodes]


def fused_model(
    relu: str = "RELU6", *, middle: float = 0.5, outputs: tuple[str, ...] = ("y",),
    second_reader: bool = False, **options: Any,
) -> Graph:  # fmt: skip
    constants, conv = convolution("m", **options)
    tensors = [tensor("x"), tensor("m", middle), tensor("y"), *constants]
    ops = [conv, Op(relu, ["m"], "y")]
    if second_reader:
        tensors.append(tensor("z"))
        ops.append(Op("ADD", ["m", "y"], "z"))
        outputs = ("z",)
    return graph_and_check(tensors, ops, list(outputs))


@pytest.mark.parametrize("relu", ["RELU", "RELU6"])
def test_a_relu_joins_the_operator_before_it(relu: str) -> None:
    graph = fused_model(relu)
    (node,) = graph.nodes
    assert (node.operator, node.text("activation"), node.outputs) == ("conv_2d", relu, ("y",))
    assert "m" not in graph.tensors


def test_a_relu_stays_where_joining_could_be_seen() -> None:
    assert kinds(fused_model(outputs=("y", "m"))) == ["conv_2d", "relu6"]
    assert kinds(fused_model(second_reader=True)) == ["conv_2d", "relu6", "add"]
    assert kinds(fused_model(middle=0.25)) == ["conv_2d", "relu6"]
    assert kinds(fused_model(FusedActivationFunction=RELU)) == ["conv_2d", "relu6"]


def test_only_the_first_of_two_relus_joins() -> None:
    constants, conv = convolution("m")
    tensors = [tensor("x"), tensor("m"), tensor("n"), tensor("y"), *constants]
    ops = [conv, Op("RELU", ["m"], "n"), Op("RELU6", ["n"], "y")]
    graph = graph_and_check(tensors, ops, ["y"])
    assert kinds(graph) == ["conv_2d", "relu6"]
    assert graph.nodes[0].text("activation") == "RELU"


def test_a_relu_after_what_does_not_clamp_stays() -> None:
    for op in (Op("QUANTIZE", ["x"], "m"), Op("RESHAPE", ["x"], "m", {"NewShape": list(SHAPE)})):
        tensors = [tensor("x"), tensor("m"), tensor("y")]
        graph = graph_and_check(tensors, [op, Op("RELU", ["m"], "y")], ["y"])
        assert kinds(graph) == [op.kind.lower(), "relu"]
    graph = graph_and_check([tensor("x"), tensor("y")], [Op("RELU", ["x"], "y")], ["y"])
    assert kinds(graph) == ["relu"]


def test_dead_code_is_dropped() -> None:
    constants, conv = convolution("dead")
    tensors = [tensor("x"), tensor("y"), tensor("dead"), tensor("deader"), *constants]
    ops = [Op("RELU", ["x"], "y"), conv, Op("ADD", ["dead", "y"], "deader")]
    graph = graph_and_check(tensors, ops, ["y"])
    assert kinds(graph) == ["relu"]
    assert set(graph.tensors) == {"x", "y"}
    assert not graph.constants


def test_an_input_that_nothing_reads_stays() -> None:
    tensors = [tensor("x"), tensor("unused"), tensor("y")]
    content = build_model(tensors, [Op("RELU", ["x"], "y")], ["x", "unused"], ["y"])
    graph = read_tflite(content, "unused")
    assert graph.inputs == ("x", "unused")
    x = np.zeros((1, *SHAPE), np.int8)
    machine = Machine(compile_graph(graph, small_device()))
    assert (machine.run({"x": x, "unused": x}).outputs["y"] == 0).all()


def test_a_reshape_of_a_constant_is_folded() -> None:
    weights = np.arange(-12, 12, dtype=np.int8)
    tensors = [
        tensor("x", shape=(1, 6)), Tensor("flat", (24,), "i8", 0.25, 0, weights),
        Tensor("w", (4, 6), "i8", 0.25), tensor("y", 8.0, shape=(1, 4)),
    ]  # fmt: skip
    ops = [
        Op("RESHAPE", ["flat"], "w", {"NewShape": [4, 6]}), Op("FULLY_CONNECTED", ["x", "w"], "y")
    ]  # fmt: skip
    graph = graph_and_check(tensors, ops, ["y"])
    assert kinds(graph) == ["fully_connected"]
    np.testing.assert_array_equal(graph.constants["w"], weights.reshape(4, 6))


def test_a_transpose_of_weights_is_folded() -> None:
    stored = np.arange(-12, 12, dtype=np.int8).reshape(6, 4)
    scales = np.array([0.25, 0.5, 0.125, 1.0], np.float32)
    tensors = [
        tensor("x", shape=(1, 6)), Tensor("stored", (6, 4), "i8", scales, 0, stored, 1),
        Tensor("p", (2,), "i32", data=np.array([1, 0], np.int32)), Tensor("w", (4, 6), "i8", scales),
        tensor("y", 8.0, shape=(1, 4)),
    ]  # fmt: skip
    ops = [Op("TRANSPOSE", ["stored", "p"], "w"), Op("FULLY_CONNECTED", ["x", "w"], "y")]
    graph = graph_and_check(tensors, ops, ["y"])
    assert kinds(graph) == ["fully_connected"]
    np.testing.assert_array_equal(graph.constants["w"], stored.T)
    assert graph.constants["w"].flags.c_contiguous


def test_folding_goes_on_through_several_outputs() -> None:
    """SPLIT of constants, then PACK of its parts, then what is added: only the PACK's value is left."""
    values = np.arange(8, dtype=np.int8).reshape(2, 4)
    tensors = [
        tensor("x", shape=(2, 2, 2)), tensor("y", shape=(3, 2, 2)),
        Tensor("c", (2, 4), "i8", 0.5, -3, values), tensor("a", shape=(2, 2)), tensor("b", shape=(2, 2)),
        tensor("p", shape=(1, 2, 2)), tensor("unused", shape=(1, 2, 2)),
        Tensor("axis", (), "i32", data=np.array(1, np.int32)),
        Tensor("zero", (), "i32", data=np.array(0, np.int32)),
    ]  # fmt: skip
    ops = [
        Op("SPLIT", ["axis", "c"], "a", {"NumSplits": 2}, more_outputs=["b"]),
        Op("EXPAND_DIMS", ["b", "zero"], "p"), Op("EXPAND_DIMS", ["a", "zero"], "unused"),
        Op("CONCATENATION", ["x", "p"], "y", {"Axis": 0}),
    ]  # fmt: skip
    graph = graph_and_check(tensors, ops, ["y"])
    assert kinds(graph) == ["concatenation"]
    assert list(graph.constants) == ["p"]
    np.testing.assert_array_equal(graph.constants["p"], values[np.newaxis, :, 2:])


def test_what_breaks_a_rule_is_refused_not_folded() -> None:
    tensors = [
        tensor("x", shape=(2, 2)), tensor("m", shape=(2, 2)), tensor("y", shape=(4, 2)),
        Tensor("c", (2, 2), "i8", 0.5, -3, np.zeros((2, 2), np.int8)),
        Tensor("p", (2,), "i32", data=np.array([1, 1], np.int32)),
    ]  # fmt: skip
    ops = [Op("TRANSPOSE", ["c", "p"], "m"), Op("CONCATENATION", ["x", "m"], "y", {"Axis": 0})]
    with pytest.raises(ModelError, match="every dimension once"):
        read_tflite(build_model(tensors, ops, ["x"], ["y"]), "broken")


def test_a_state_is_not_folded() -> None:
    spec = TensorSpec((2, 3), "i8")
    params = QuantParams((0.5,), (0,))
    names = ("state", "x", "m")
    found = {n: GraphTensor(n, spec, params, n) for n in names}
    found["m"] = GraphTensor("m", TensorSpec((3, 2), "i8"), params, "m")
    constants = {"state": np.zeros((2, 3), np.int8)}
    nodes = (Node("m", "transpose", ("state",), ("m",), attributes(perm=(1, 0))),)
    graph = Graph(
        "g", "tflite", found, constants, nodes, ("x",), ("m",), states=(State("state", "x"),)
    )
    assert kinds(fold_constants(graph, constant_values)) == ["transpose"]
    fixed = replace(graph, states=())
    assert not fold_constants(fixed, constant_values).nodes


def test_a_reshape_to_another_scale_reinterprets() -> None:
    tensors = [tensor("x"), tensor("m", 0.25, 9, shape=(8, 5)), tensor("y", 0.125, 0, shape=(8, 5))]
    ops = [Op("RESHAPE", ["x"], "m", {"NewShape": [8, 5]}), Op("QUANTIZE", ["m"], "y")]
    graph = graph_and_check(tensors, ops, ["y"])
    assert kinds(graph) == ["reinterpret", "quantize"]
    assert len(compile_graph(graph, small_device()).commands) == 1


@pytest.mark.parametrize("said", [[8, 5], [-1, 5], [8, -1]])
def test_a_shape_may_leave_one_size_out(said: list[int]) -> None:
    tensors = [tensor("x"), tensor("y", shape=(8, 5))]
    graph = graph_and_check(tensors, [Op("RESHAPE", ["x"], "y", {"NewShape": said})], ["y"])
    assert graph.nodes[0].attr("shape") == (8, 5)


@pytest.mark.parametrize("said", [[-1, -1], [8, 6], [0, -1], [-40, -1], [-8, -5]])
def test_a_shape_that_does_not_fit_is_refused(said: list[int]) -> None:
    tensors = [tensor("x"), tensor("y", shape=(8, 5))]
    content = build_model(tensors, [Op("RESHAPE", ["x"], "y", {"NewShape": said})], ["x"], ["y"])
    with pytest.raises(ModelError, match="new shape is a constant"):
        read_tflite(content, "broken")


def test_a_shape_made_at_run_time_is_refused() -> None:
    tensors = [tensor("x"), Tensor("s", (2,), "i32"), tensor("y", shape=(8, 5))]
    content = build_model(tensors, [Op("RESHAPE", ["x", "s"], "y")], ["x", "s"], ["y"])
    with pytest.raises(ModelError, match="made at run time"):
        read_tflite(content, "broken")


def test_a_reshape_s_operand_becomes_its_attribute() -> None:
    shape = Tensor("s", (2,), "i32", data=np.array([8, -1], np.int32))
    tensors = [tensor("x"), shape, tensor("y", shape=(8, 5))]
    graph = graph_and_check(tensors, [Op("RESHAPE", ["x", "s"], "y")], ["y"])
    (node,) = graph.nodes
    assert (node.inputs, node.attr("shape")) == (("x",), (8, 5))
    assert not graph.constants


def _row_model(size: int, kernel: int, stride: int, dilation: int) -> bytes:
    """A convolution along one row of length ``size``, SAME."""
    w = (np.arange(kernel) ** 2 + 1).reshape(1, 1, kernel, 1).astype(np.int8)
    out = -(-size // stride)
    tensors = [
        Tensor("x", (1, 1, size, 1), "i8", 1.0), Tensor("w", w.shape, "i8", 1.0, 0, w),
        Tensor("b", (1,), "i32", 1.0, 0, np.zeros(1, np.int32)),
        Tensor("y", (1, 1, out, 1), "i8", 1.0),
    ]  # fmt: skip
    options = {**CONV, "StrideW": stride, "DilationWFactor": dilation}
    return build_model(tensors, [Op("CONV_2D", ["x", "w", "b"], "y", options)], ["x"], ["y"])


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_same_padding_is_litert_s(stride: int) -> None:
    """Sliding by hand over the row with the stated padding gives LiteRT's values and length."""
    for size in range(1, 13):
        for kernel, dilation in [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (2, 3), (3, 2), (4, 3)]:
            content = _row_model(size, kernel, stride, dilation)
            (node,) = read_tflite(content, "row").nodes
            row = (np.arange(size) % 3 - 1).astype(np.int64)
            before, after = node.integer("pad_left"), node.integer("pad_right")
            padded = np.pad(row, (before, after))
            taps = np.arange(kernel) * dilation
            starts = range(0, len(padded) - int(taps[-1]), stride)
            slid = [int((padded[s + taps] * (np.arange(kernel) ** 2 + 1)).sum()) for s in starts]
            x = row.astype(np.int8).reshape(1, 1, 1, size, 1)
            expected = LiteRTRunner(content).run({"x": x})["y"]
            assert slid == expected.reshape(-1).tolist()
            assert (node.integer("pad_top"), node.integer("pad_bottom")) == (0, 0)


def test_canonicalizing_again_changes_nothing() -> None:
    graph = fused_model()
    assert print_graph(canonicalize(graph)) == print_graph(graph)


# The digests are SHA-256 of the constants' bytes.
GOLDEN = (
    'graph "tiny" profile=tflite\n'
    'input  "x": i8[1,4,5,2] scale=0.5 zero_point=-3\n'
    'const  "w": i8[2,1,1,2] scale=0.25 zero_point=0 sha256=53d27ec44b31\n'
    'const  "b": i32[2] scale=0.125 zero_point=0 sha256=2e4c20453284\n'
    'conv_2d ("x", "w", "b") activation=RELU dilation_h=1 dilation_w=1 '
    "pad_bottom=0 pad_left=0 pad_right=0 pad_top=0 stride_h=1 stride_w=1 "
    '-> "y": i8[1,4,5,2] scale=0.5 zero_point=-3\n'
    'output "y"\n'
)


def test_graph_text() -> None:
    constants, conv = convolution("m")
    tensors = [tensor("x"), tensor("m"), tensor("y"), *constants]
    content = build_model(tensors, [conv, Op("RELU", ["m"], "y")], ["x"], ["y"])
    assert print_graph(read_tflite(content, "tiny")) == GOLDEN
