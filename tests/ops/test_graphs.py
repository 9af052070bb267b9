"""Properties of whole graphs: whatever operators follow each other, on whatever device and tiling, the
datapath equals the naive references of the operators, and LiteRT under the profile's kernels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from graph_settings import graph_settings
from hypothesis import given
from litert_runner import RESOLVERS, LiteRTRunner
from random_graphs import Case, graphs, naive
from random_layers import LAYERS
from random_networks import STEPS

from simulator.datapath.machine import Machine
from simulator.ops import operator_names
from simulator.profiles import PROFILES

# Each is in every graph of one test, among other steps.
CENTRES = (*STEPS, *(f"layer {name}" for name in LAYERS))
# 8 cover what has to be drawn: the counts of the last test.
SETTINGS = graph_settings(8, len(CENTRES))
TFLITE_PROFILES = tuple(name for name in PROFILES if name not in ("onnxruntime", "qonnx"))
DRAWN: Counter[tuple[str, str]] = Counter()


def hold(case: Case) -> None:
    graph, inputs = case.graph, case.layer.inputs
    done = Machine(case.program).run(inputs, keep=graph.tensors)
    for sample, defined in enumerate(naive(case)):
        for name in done.tensors.keys() - graph.state_names:  # which hold what follows already
            got = done.tensors[name][sample]
            np.testing.assert_array_equal(got, defined[name], f"naive, {name}, sample {sample}")
        for name in graph.outputs:
            np.testing.assert_array_equal(done.outputs[name][sample], defined[name], name)
    if graph.profile in RESOLVERS:
        expected = LiteRTRunner(case.layer.content, graph.profile).run(inputs)
        for name in graph.outputs:
            np.testing.assert_array_equal(done.outputs[name], expected[name], f"LiteRT, {name}")


@pytest.mark.parametrize("centre", CENTRES)
def test_datapath_equals_references_equals_litert(centre: str) -> None:
    @SETTINGS
    @given(graphs(centre, TFLITE_PROFILES))
    def check(case: Case) -> None:
        hold(case)
        for node in case.graph.nodes:
            DRAWN["operator", node.operator] += 1
        for name in (*case.graph.tensors, *case.graph.state_names):
            DRAWN["type", case.graph.spec(name).dtype] += 1
            DRAWN["rank", str(len(case.graph.spec(name).shape))] += 1
        DRAWN["profile", case.graph.profile] += 1
        DRAWN["outputs", str(min(2, len(case.graph.outputs)))] += 1
        DRAWN["inputs", str(min(2, len(case.graph.inputs)))] += 1
        DRAWN["states", str(min(1, len(case.graph.states)))] += 1
        DRAWN["nodes", str(min(4, len(case.graph.nodes)))] += 1

    check()


def test_every_operator_can_be_drawn() -> None:
    assert tuple(sorted(LAYERS)) == operator_names()


def test_every_operator_type_and_profile_was_drawn() -> None:
    """By the tests above; said of them all, so of nothing when only some of them ran."""
    if DRAWN.total() and sum(n for (what, _), n in DRAWN.items() if what == "profile") < len(
        CENTRES
    ):
        return
    least = {
        "operator": dict.fromkeys(operator_names(), 2), "profile": dict.fromkeys(TFLITE_PROFILES, 30),
        "type": dict.fromkeys(("i4", "i8", "u8", "i16", "i32", "i64", "f32"), 5),
        "rank": dict.fromkeys("1234", 20), "outputs": {"1": 50, "2": 50}, "inputs": {"1": 50, "2": 50},
        "states": {"1": 20}, "nodes": {"1": 20, "4": 100},
    }  # fmt: skip
    seldom = {
        (what, name): DRAWN[what, name]
        for what, names in least.items()
        for name, count in names.items()
        if DRAWN[what, name] < count
    }
    assert not seldom
