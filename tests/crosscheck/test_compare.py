"""The comparison itself, with a stand-in for the reference runtime."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from stand_in import Change, StandIn, off_by

from simulator import cli, compile, load_device, load_model, verify
from simulator.crosscheck import litert
from simulator.crosscheck.compare import apart, compare
from simulator.crosscheck.inputs import random_inputs
from simulator.crosscheck.runtimes import RUNTIMES, Entry
from simulator.crosscheck.sides import Reference, Simulated
from simulator.errors import CrosscheckError, UsageError
from simulator.graph import Graph, GraphTensor, Node, State, attributes
from simulator.importers._check import check_graph
from simulator.profiles import PROFILES
from simulator.result import Place, Verification
from simulator.tensor import QuantParams, TensorSpec

WEAR = load_device("wear")


def against_stand_in(
    monkeypatch: pytest.MonkeyPatch, change: Change | None, samples: int, **more: Any
) -> Verification:
    graph = load_model("digits")
    monkeypatch.setattr(
        litert, "open_runtime", lambda path, kernels: StandIn(graph, change, **more)
    )
    return verify("digits", WEAR, samples=samples)


@pytest.mark.parametrize(
    ("spoil", "number", "operator", "index", "explained"),
    [
        ("conv2/Relu", 1, "conv_2d", (0, 0, 0, 3), True),
        ("logits/MatMul", 12, "fully_connected", (0, 3), True),
        ("add3/Relu", 4, "add", (0, 0, 0, 3), False),
        ("flatten/Reshape", 11, "reshape", (0, 3), False),
    ],
)
def test_a_wrong_element_is_found(
    spoil: str, number: int, operator: str, index: tuple[int, ...], explained: bool,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = against_stand_in(monkeypatch, off_by(spoil, 2), 4)
    first = found.first_difference
    assert first is not None
    assert (first.sample, first.tensor, first.node) == (1, spoil, number)
    assert (first.operator, first.index) == (operator, index)
    assert first.ours - first.theirs == 2
    assert (first.explanation is not None) == explained
    assert found.different == 3
    wrong = [t for t in found.tensors if t.different]
    assert [(t.name, t.off_by_one, t.worse, t.largest_difference) for t in wrong] == [
        (spoil, 0, 3, 2)
    ]
    assert wrong[0].first == Place(1, index)
    assert all(t.equal + t.different == t.elements for t in found.tensors)
    change = off_by(spoil, 2)
    monkeypatch.setattr(
        litert, "open_runtime", lambda path, kernels: StandIn(load_model("digits"), change)
    )
    assert cli.main(["verify", "digits", "--device", "wear", "--samples", "4"]) == 1
    shown = capsys.readouterr().out
    assert f"first difference: sample 1, operator {number}, {operator} {spoil!r}" in shown
    place = ",".join(str(i) for i in index)
    assert f"step by step: --explain {number} {place} --sample 1" in shown


def test_off_by_one_is_told_from_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    found = against_stand_in(monkeypatch, off_by("conv2/Relu", 1), 3)
    (wrong,) = (t for t in found.tensors if t.different)
    assert (wrong.off_by_one, wrong.worse, wrong.largest_difference) == (2, 0, 1)


def test_the_first_difference_is_in_the_earliest_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    early, late = off_by("logits/MatMul", 1, after=1), off_by("conv1/Relu", 1, after=2)
    found = against_stand_in(
        monkeypatch, lambda call, name, value: late(call, name, early(call, name, value)), 4
    )
    first = found.first_difference
    assert first is not None
    assert (first.sample, first.tensor) == (1, "logits/MatMul")
    assert [t.name for t in found.tensors if t.different] == ["conv1/Relu", "logits/MatMul"]


def test_differences_in_later_chunks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = against_stand_in(monkeypatch, off_by("conv2/Relu", 1, after=20), 22)
    assert found.first_difference is not None
    assert (found.first_difference.sample, found.different) == (20, 2)


def test_explanation_computes_our_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    first = against_stand_in(monkeypatch, off_by("conv2/Relu", 1), 2).first_difference
    assert first is not None
    e = first.explanation
    assert e is not None
    code = round(e.accumulator * e.multiplier * 2.0 ** (e.shift - 31)) + e.zero_point
    assert min(max(code, e.clamp_min), e.clamp_max) == first.ours


def test_what_the_runtime_does_not_show_is_not_called_equal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = against_stand_in(monkeypatch, None, 2, hidden={"conv2/Relu"})
    hidden = {t.name: t.not_visible for t in found.tensors if t.not_visible}
    assert hidden == {"conv2/Relu": "the runtime does not show it"}
    (one,) = (t for t in found.tensors if t.not_visible)
    assert (one.elements, one.equal, one.first) == (0, 0, None)
    assert found.different == 0
    graph = load_model("digits")
    monkeypatch.setattr(
        litert, "open_runtime", lambda path, kernels: StandIn(graph, None, {"conv2/Relu"})
    )
    assert cli.main(["verify", "digits", "--samples", "2"]) == 0
    shown = capsys.readouterr().out
    assert "equal: 13 tensors, 80,808 elements; 1 tensors not visible" in shown
    assert "not visible: the runtime does not show it" in shown


def test_a_hidden_graph_output_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CrosscheckError) as raised:
        against_stand_in(monkeypatch, None, 1, hidden={"probabilities/Softmax"})
    assert str(raised.value) == (
        "litert: graph output 'probabilities/Softmax' cannot be compared: the runtime does not show it"
    )


@pytest.mark.parametrize(
    ("value", "given"),
    [
        (np.zeros((1, 11), np.int8), "int8[1, 11]"),
    ],
)
def test_another_shape_or_kind_is_an_error(
    value: np.ndarray, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(call: int, name: str, values: np.ndarray) -> np.ndarray:
        return value if name == "logits/MatMul" else values

    with pytest.raises(CrosscheckError) as raised:
        against_stand_in(monkeypatch, change, 1)
    assert str(raised.value) == (
        f"litert: tensor 'logits/MatMul' is {given} there; allowed: i8[1,10]"
    )


def test_numbers_that_are_no_codes_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(call: int, name: str, values: np.ndarray) -> np.ndarray:
        return np.full((1, 10), 0.3, np.float32) if name == "logits/MatMul" else values

    with pytest.raises(CrosscheckError) as raised:
        against_stand_in(monkeypatch, change, 1)
    scale = np.float32(load_model("digits").quantization("logits/MatMul").scale)
    assert str(raised.value) == (
        "litert: tensor 'logits/MatMul' has numbers there that are no codes; allowed: multiples of "
        f"{scale}"
    )


def in_nchw(graph: Graph) -> Graph:
    """``graph`` as if its file kept images as NCHW."""
    tensors = {
        name: replace(t, file_axes=(0, 3, 1, 2)) if len(t.spec.shape) == 4 else t
        for name, t in graph.tensors.items()
    }
    return replace(graph, tensors=tensors)


@pytest.mark.parametrize("by", [0, 1])
def test_values_and_indexes_are_in_the_order_of_the_file(by: int) -> None:
    graph = in_nchw(load_model("digits"))
    ours = Simulated(compile(graph, WEAR))
    # Element 5 of NHWC (1, 28, 28, 16) is channel 5 of the first pixel.
    runtime = StandIn(graph, off_by("conv1/Relu", by, element=5, after=0))
    other = Reference(graph, RUNTIMES["litert"], runtime)
    found = compare(graph, ours, other, "litert", random_inputs(graph, 2, 0), None)
    if by == 0:
        assert found.first is None
        assert all(t.equal == t.elements > 0 for t in found.tensors)
        return
    assert found.first is not None
    assert found.first.index == (0, 5, 0, 0)
    assert found.tensors[0].first == Place(0, (0, 5, 0, 0))
    assert found.first.explanation is not None
    e = found.first.explanation
    code = round(e.accumulator * e.multiplier * 2.0 ** (e.shift - 31)) + e.zero_point
    assert max(code, e.clamp_min) == found.first.ours


def running_sum() -> Graph:
    """y = x + s, and s becomes y: a model that remembers."""
    params, spec = QuantParams((0.5,), (0,)), TensorSpec((1, 4), "i8")
    tensors = {n: GraphTensor(n, spec, params, n) for n in ("x", "s", "y", "z")}
    nodes = (
        Node("y", "add", ("x", "s"), ("y",), attributes(activation="NONE")),
        Node("z", "relu", ("y",), ("z",)),
    )
    first = {"s": np.array([[1, 2, 3, 4]], np.int8)}
    return check_graph(
        Graph("sum", "tflite", tensors, first, nodes, ("x",), ("z",), states=(State("s", "y"),))
    )


class Adder:
    """The same model in plain Python, which keeps its own state."""

    version = "adder"

    def __init__(self, forgets: int = -1) -> None:
        self.state, self.calls, self.forgets = np.array([[1, 2, 3, 4]]), 0, forgets

    def run(self, inputs: Any, wanted: Any) -> dict[Any, np.ndarray]:
        if self.calls == self.forgets:
            self.state = np.array([[1, 2, 3, 4]])
        self.state = np.clip(inputs["x"].astype(np.int64) + self.state, -128, 127)
        self.calls += 1
        return {"y": self.state, "z": np.maximum(self.state, 0)}


def test_states_carry_over_from_sample_to_sample_and_chunk_to_chunk() -> None:
    graph, entry = running_sum(), Entry("adder", "adder", ".tflite", "")
    rng = np.random.default_rng(0)
    feed = {"x": rng.integers(-9, 10, (40, 1, 4)).astype(np.int8)}
    for forgets, first in ((-1, None), (17, 17)):
        ours = Simulated(compile(graph, WEAR))
        found = compare(graph, ours, Reference(graph, entry, Adder(forgets)), "adder", feed, None)
        assert [t.elements for t in found.tensors] == [160, 160]
        assert (found.first.sample if found.first else None) == first


def test_distance_in_codes_does_not_overflow() -> None:
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    a, b = np.array([low, 5, high]), np.array([high, 7, high])
    assert apart(a, b).tolist() == [2**64 - 1, 2, 0]
    assert apart(np.array([0, 255], np.uint8), np.array([255, 254], np.uint8)).tolist() == [255, 1]


def test_distance_of_float32_counts_the_numbers_between() -> None:
    one = np.float32(1)
    above = np.nextafter(one, np.float32(2))
    tiny = np.nextafter(np.float32(0), one)
    a = np.array([1, 1, 0.0, tiny, np.nan, -1, np.inf, 0], np.float32)
    b = np.array([1, above, -0.0, -tiny, -np.nan, -above, np.inf, np.nan], np.float32)
    found = apart(a, b).tolist()
    assert found[:7] == [0, 1, 1, 3, 0, 1, 0]
    assert found[7] > 2**30


def test_float_tensors_are_compared_in_their_bits_and_measured_in_steps() -> None:
    spec = TensorSpec((2,), "f32")
    graph = replace(
        running_sum(), tensors={**running_sum().tensors, "z": GraphTensor("z", spec, None, "z")}
    )

    class Fixed:
        """A side with the values it was given."""

        version, states = "fixed", {}

        def __init__(self, values: list[float]) -> None:
            self.z = np.array([values], np.float32)

        def values(self, feed: Any, names: Any) -> dict[str, np.ndarray]:
            return {"y": np.zeros((1, 1, 4), np.int8), "z": self.z}

    ours: Any = Fixed([1.0, 0.0])
    ours.program = compile(running_sum(), WEAR)
    other: Any = Fixed([1 + 2.0**-22, -0.0])
    feed = {"x": np.zeros((1, 1, 4), np.int8)}
    found = compare(graph, ours, other, "fixed", feed, None)
    real = found.tensors[1]
    assert (real.name, real.unit, real.equal, real.off_by_one, real.worse) == ("z", "ulp", 0, 1, 1)
    assert real.largest_difference == 2
    assert found.first is not None
    assert (found.first.ours, found.first.theirs) == (1.0, 1 + 2.0**-22)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"against": "tvm"},
         f"against: 'tvm'; allowed: a runtime ({', '.join(RUNTIMES)}), a profile "
         f"({', '.join(PROFILES)}), or rtl with --layer"),
        ({"against": "profile:litert"}, f"profile: 'litert'; allowed: {', '.join(PROFILES)}"),
        ({"profile": "float"}, f"profile: 'float'; allowed: {', '.join(PROFILES)}"),
        ({"samples": 0}, "samples: 0; allowed: at least 1"),
        ({"seed": -1}, "seed: -1; allowed: at least 0"),
    ],
)  # fmt: skip
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        verify("digits", WEAR, **{"against": "tflite", **arguments})
    assert str(raised.value) == message


def test_without_litert_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **named: Any) -> Any:
        if name.startswith("ai_edge_litert"):
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CrosscheckError) as raised:
        verify("digits", WEAR, samples=1)
    assert str(raised.value) == (
        "litert: the package ai-edge-litert is not installed; allowed: pip install 'npusim[verify]'"
    )


def test_against_a_profile_no_runtime_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(litert, "open_runtime", None)
    arguments = ["verify", "digits", "--against", "tflite", "--samples", "1", "--json", "-"]
    assert cli.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["profile"], found["against"]) == ("tflite", "tflite")
    assert found["runtime_version"] == "npusim, profile tflite on device exact"
