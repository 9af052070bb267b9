"""The comparison itself, with a stand-in for the reference runtime."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from simulator import cli, compile, load_device, load_model, verify
from simulator.crosscheck import RUNTIMES, litert
from simulator.crosscheck.compare import random_inputs
from simulator.datapath.machine import Machine
from simulator.errors import CrosscheckError, UsageError
from simulator.graph import Graph


class Spoiled:
    """Our own values, with one element of one tensor off by ``by`` in every sample after the first."""

    version = "spoiled"

    def __init__(self, graph: Graph, spoil: str, by: int) -> None:
        self.graph, self.spoil, self.by, self.calls = graph, spoil, by, 0
        self.machine = Machine(compile(graph, load_device("wear")))

    def run(self, inputs: Mapping[int, np.ndarray], wanted: list[int]) -> dict[int, np.ndarray]:
        image = self.graph.inputs[0]
        feed = {image: inputs[self.graph.tensors[image].index][np.newaxis]}
        kept = self.machine.run(feed, keep=self.graph.tensors).tensors
        found: dict[int, np.ndarray] = {}
        for name, tensor in self.graph.tensors.items():
            if tensor.index in wanted:
                source = "pool7/AvgPool" if name == "flatten/Reshape" else name
                found[tensor.index] = kept[source][0].astype(np.int64).reshape(tensor.spec.shape)
        if self.calls:
            found[self.graph.tensors[self.spoil].index].reshape(-1)[3] -= self.by
        self.calls += 1
        return found


@pytest.mark.parametrize(
    ("spoil", "operator", "index", "explained"),
    [
        ("conv2/Relu", "conv_2d", (0, 0, 0, 3), True),
        ("logits/MatMul", "fully_connected", (0, 3), True),
        ("add3/Relu", "add", (0, 0, 0, 3), False),
        ("flatten/Reshape", "reshape", (0, 3), False),
    ],
)
def test_a_wrong_element_is_found(
    spoil: str, operator: str, index: tuple[int, ...], explained: bool,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    graph = load_model("digits")
    monkeypatch.setattr(litert, "open_runtime", lambda path: Spoiled(graph, spoil, 2))
    found = verify("digits", load_device("wear"), samples=4)
    first = found.first_difference
    assert first is not None
    assert (first.sample, first.tensor, first.operator, first.index) == (1, spoil, operator, index)
    assert first.ours - first.theirs == 2
    assert (first.explanation is not None) == explained
    assert found.different == 3
    wrong = {t.name: (t.different, t.max_abs_difference) for t in found.tensors if t.different}
    assert wrong == {spoil: (3, 2)}
    monkeypatch.setattr(litert, "open_runtime", lambda path: Spoiled(graph, spoil, 2))
    assert cli.main(["verify", "digits", "--device", "wear", "--samples", "4"]) == 1
    assert f"first difference: sample 1, {operator} {spoil!r}" in capsys.readouterr().out


def test_explanation_computes_our_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = load_model("digits")
    monkeypatch.setattr(litert, "open_runtime", lambda path: Spoiled(graph, "conv2/Relu", 1))
    first = verify("digits", load_device("wear"), samples=2).first_difference
    assert first is not None
    e = first.explanation
    assert e is not None
    code = round(e.accumulator * e.multiplier * 2.0 ** (e.shift - 31)) + e.zero_point
    assert min(max(code, e.clamp_min), e.clamp_max) == first.ours


def test_random_inputs_cover_the_range_and_follow_the_seed() -> None:
    graph = load_model("digits")
    first, same, other = (random_inputs(graph, 50, seed)["image"] for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert (first.min(), first.max()) == (-128, 127)
    assert first.shape == (50, 1, 28, 28, 1)


def test_runtimes_are_the_files_of_the_folder() -> None:
    assert RUNTIMES == ("litert",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"against": "tvm"}, "against: 'tvm'; allowed: litert"),
        ({"samples": 0}, "samples: 0; allowed: at least 1"),
        ({"seed": -1}, "seed: -1; allowed: at least 0"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        verify("digits", load_device("wear"), **arguments)
    assert str(raised.value) == message


def test_without_litert_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **named: Any) -> Any:
        if name.startswith("ai_edge_litert"):
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CrosscheckError) as raised:
        verify("digits", load_device("wear"), samples=1)
    assert str(raised.value) == (
        "litert: the package ai-edge-litert is not installed; allowed: pip install 'npusim[verify]'"
    )
