"""Random inputs: the whole range of codes, and real numbers at and beyond the edges of a quantizer."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import compile, load_device, load_model
from simulator.crosscheck.inputs import data_inputs, random_inputs
from simulator.errors import DataError
from simulator.graph import Graph, GraphTensor, Node
from simulator.tensor import QuantParams, TensorSpec
from simulator.workload import Dataset


def real_graph(*operators: str, scale: float = 0.25, zero_point: int = 7) -> Graph:
    """x (f32) through ``operators`` to y (i8); not checked, since only its form matters here."""
    shape = (4000,)
    tensors = {
        "x": GraphTensor("x", TensorSpec(shape, "f32"), None, "x"),
        "y": GraphTensor("y", TensorSpec(shape, "i8"), QuantParams((scale,), (zero_point,)), "y"),
    }
    nodes, before = [], "x"
    for i, operator in enumerate(operators):
        after = "y" if i == len(operators) - 1 else f"t{i}"
        tensors.setdefault(after, GraphTensor(after, TensorSpec(shape, "f32"), None, after))
        nodes.append(Node(after, operator, (before,), (after,)))
        before = after
    return Graph("real", "tflite", tensors, {}, tuple(nodes), ("x",), ("y",))


def test_codes_cover_the_range_and_follow_the_seed() -> None:
    graph = load_model("digits")
    first, same, other = (random_inputs(graph, 50, seed)["image"] for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert (first.min(), first.max()) == (-128, 127)
    assert first.shape == (50, 1, 28, 28, 1)


def test_a_sample_does_not_depend_on_how_many_there_are() -> None:
    graph = load_model("digits")
    few, many = (random_inputs(graph, n, 3)["image"] for n in (2, 5))
    assert np.array_equal(few, many[:2])
    assert not np.array_equal(many[0], many[1])


@pytest.mark.parametrize("operators", [("quantize",), ("reshape", "quantize")])
def test_real_inputs_reach_beyond_the_quantizer_and_hit_its_ties(
    operators: tuple[str, ...],
) -> None:
    graph = real_graph(*operators)
    x = random_inputs(graph, 1, 0)["x"]
    assert x.dtype == np.float32
    low, high = (-128 - 7) * 0.25, (127 - 7) * 0.25
    reach = 0.1 * (high - low)
    assert low - reach <= x.min() < low - 0.8 * reach
    assert high + 0.8 * reach < x.max() <= high + reach
    ties = x / 0.25 % 1 == 0.5
    assert 0.2 < ties.mean() < 0.3
    assert len(np.unique(x[ties])) > 200  # of 256 places between codes, and one on either side


def test_real_inputs_that_nothing_quantizes_lie_around_0() -> None:
    graph = real_graph("quantize")
    tensors = {**graph.tensors, "y": GraphTensor("y", TensorSpec((4000,), "f32"), None, "y")}
    floats = Graph("floats", "tflite", tensors, {}, graph.nodes, ("x",), ("y",))
    x = random_inputs(floats, 1, 0)["x"]
    assert -1 <= x.min() < -0.99
    assert 0.99 < x.max() <= 1


def test_int64_codes_cover_their_range() -> None:
    tensors = {n: GraphTensor(n, TensorSpec((2000,), "i64"), None, n) for n in ("x", "y")}
    node = Node("y", "reshape", ("x",), ("y",))
    x = random_inputs(Graph("wide", "tflite", tensors, {}, (node,), ("x",), ("y",)), 1, 0)["x"]
    assert x.dtype == np.int64
    assert x.min() < -(2**62)
    assert x.max() > 2**62


def test_data_becomes_codes_and_real_data_stays_real() -> None:
    graph = load_model("digits")
    program = compile(graph, load_device("wear"))
    pixels = Dataset("pixels", np.full((3, 784), 128, np.uint8), np.zeros(3, np.int64))
    found = data_inputs(graph, program, pixels, "auto", 2)["image"]
    assert (found.shape, found.dtype, int(found.max())) == ((2, 1, 28, 28, 1), np.int8, 0)
    reals = Dataset("reals", np.full((3, 4000), 0.3), np.zeros(3, np.int64))
    x = data_inputs(real_graph("quantize"), program, reals, "auto", 2)["x"]
    assert (x.shape, x.dtype) == ((2, 4000), np.float32)


def test_data_is_for_one_input() -> None:
    graph = load_model("digits")
    program = compile(graph, load_device("wear"))
    two = Graph(
        "two", "tflite", graph.tensors, graph.constants, graph.nodes, ("image", "spare"),
        graph.outputs,
    )  # fmt: skip
    data = Dataset("set", np.zeros((1, 784), np.int8), np.zeros(1, np.int64))
    with pytest.raises(DataError) as raised:
        data_inputs(two, program, data, "auto", 1)
    assert str(raised.value) == "set: the model has 2 inputs; allowed: one"
