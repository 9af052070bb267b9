"""Models that remember: every tensor and every state of many samples in a row equals LiteRT's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from oracles.runtime import Runtime, shared_model
from variants import split, unified, variant

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine, Values
from simulator.graph import Graph
from simulator.hwconfig import Device, load_device
from simulator.importers.tflite import read_tflite
from simulator.npu import simulate
from simulator.program.commands import Host, Matmul, Vector
from simulator.program.nest import tile_count
from simulator.program.program import DRAM, Program
from simulator.workload import Dataset

SAMPLES = 60
# File, states, and the bytes of a scratchpad that only just holds some activations.
MODELS = {
    "keras_lstm": ("coral/keras_lstm_mnist_ptq.tflite", 2, 1024),
    "trained_lstm": ("tflite_micro/trained_lstm_int8.tflite", 2, 1024),
    "keyword": ("tflite_micro/keyword_scrambled.tflite", 7, 2048),
    "okay_nabu": ("wake_word/okay_nabu.tflite", 6, 2048),
}
each_model = pytest.mark.parametrize("model", MODELS)


@cache
def graph_of(model: str) -> Graph:
    return read_tflite(shared_model(MODELS[model][0]), model)


@cache
def samples(model: str) -> np.ndarray:
    """Random, two-valued, sparse and constant inputs in turn: (samples, *input shape)."""
    spec, rng = graph_of(model).spec(graph_of(model).inputs[0]), np.random.default_rng(3)
    drawn = rng.integers(spec.minimum, spec.maximum + 1, (SAMPLES, *spec.shape))
    for i, x in enumerate(drawn):
        if i % 4 == 1:
            x[:] = rng.choice([spec.minimum, spec.maximum], size=spec.shape)
        elif i % 4 == 2:
            x[rng.random(spec.shape) < 0.8] = spec.minimum
        elif i % 4 == 3:
            x[:] = rng.integers(spec.minimum, spec.maximum + 1)
    return drawn.astype(spec.container)


@dataclass(frozen=True)
class Trace:
    """Tensors of consecutive samples by our names, (samples, *shape), and the states after the last."""

    tensors: Mapping[str, np.ndarray]
    states: Mapping[str, np.ndarray]


def traced(model: str, x: np.ndarray, carry: bool) -> Trace:
    """LiteRT on ``x``; without ``carry`` a new interpreter for each sample."""
    graph, content = graph_of(model), shared_model(MODELS[model][0])
    runtime = Runtime(content)
    made = [name for node in graph.nodes for name in node.outputs]
    found: dict[str, list[np.ndarray]] = {name: [] for name in made}
    for one in x:
        runtime = runtime if carry else Runtime(content)
        runtime.run(one)
        for name in made:
            key = graph.tensors[name].key
            assert isinstance(key, int)
            found[name].append(runtime.tensor(key).reshape(graph.spec(name).shape))
    tensors = {name: np.stack(values) for name, values in found.items()}
    return Trace(tensors, {s.name: tensors[s.following][-1] for s in graph.states})


@cache
def litert(model: str) -> Trace:
    return traced(model, samples(model), carry=True)


def tensors_of(program: Program, graph: Graph, values: Values) -> dict[str, np.ndarray]:
    """Our value of everything a node makes; a second name of the same bytes included."""
    places = {
        name: (p.region, p.address_bytes, p.first, p.last) for name, p in program.placements.items()
    }
    made = {places[name]: value for name, value in values.tensors.items()}
    names = [name for node in graph.nodes for name in node.outputs]
    count = next(iter(values.outputs.values())).shape[0]
    return {
        n: made[places[n]].reshape(count, *graph.spec(n).shape) for n in names if places[n] in made
    }


def assert_equal(model: str, values: Values, program: Program, theirs: Trace) -> None:
    graph = graph_of(model)
    found = tensors_of(program, graph, values)
    copies = {node.outputs[0] for node in graph.nodes if node.operator == "reshape"}
    assert set(theirs.tensors) - set(found) <= copies  # of the input, under another name
    for name, value in found.items():
        different = int((value != theirs.tensors[name]).sum())
        assert (name, different) == (name, 0)
    assert set(values.states) == set(theirs.states)
    for name, value in values.states.items():
        np.testing.assert_array_equal(value, theirs.states[name], name)


def ours(model: str, program: Program, x: np.ndarray, carry: bool = True) -> Values:
    graph = graph_of(model)
    return Machine(program).run({graph.inputs[0]: x}, keep=graph.tensors, carry=carry)


def device_of(kind: str, room: int) -> Device:
    """Three dataflows, two layouts, both ways to treat zero points; PEs of 16 bits on the second."""
    if kind == "weight-stationary":
        return variant("wear", {
            "array.rows": 7, "array.cols": 13, "accumulator.capacity_bytes": 1024,
            "scratchpad": unified(room),
        })  # fmt: skip
    if kind == "output-stationary":
        return variant("wear", {
            "array.rows": 7, "array.cols": 13, "array.dataflow": "output_stationary",
            "array.ifmap_bits": 16, "array.weight_bits": 16, "array.overflow": "wrap",
            "array.zero_point": "fold", "scratchpad": split(room, room, room // 2, 3),
        })  # fmt: skip
    return variant("ethos-u55-256", {
        "array.rows": 13, "array.cols": 7, "array.dataflow": "input_stationary",
        "accumulator": {"capacity_bytes": 512, "buffers": 1},
        "scratchpad": unified(room, buffers=1),
    })  # fmt: skip


@each_model
def test_the_samples_move_the_states(model: str) -> None:
    """Otherwise equal states would say nothing. The keyword model's weights are scrambled: behind its
    first layer little moves."""
    graph, theirs = graph_of(model), litert(model)
    assert len(graph.states) == MODELS[model][1]
    moves = [
        len(np.unique(theirs.tensors[state.following].reshape(SAMPLES, -1), axis=0))
        for state in graph.states
    ]
    assert min(moves) > 5
    assert max(moves) > SAMPLES // 2
    output = theirs.tensors[graph.outputs[0]]
    assert model == "keyword" or (output != output[0]).any()


@each_model
@pytest.mark.parametrize("kind", ["weight-stationary", "output-stationary", "input-stationary"])
def test_tiled_and_spilled_tensors_equal_litert(model: str, kind: str) -> None:
    program = compile_graph(graph_of(model), device_of(kind, MODELS[model][2]))
    nests = [c.nest for c in program.commands if isinstance(c, Matmul | Vector)]
    assert sum(tile_count(nest) > 1 for nest in nests) >= 1
    inner = {c.ofmap for c in program.commands} - {*program.outputs, *program.states}
    assert DRAM in {program.placements[name].region for name in inner}
    if kind == "output-stationary":
        assert not any(isinstance(c, Host) for c in program.commands)
    assert_equal(model, ours(model, program, samples(model)), program, litert(model))


@each_model
def test_states_kept_on_chip_equal_litert(model: str) -> None:
    # The keyword model's sums over its memory overflow 32 bits, where the runtime wraps.
    wide = {"array.overflow": "wrap", "array.ifmap_bits": 16, "array.weight_bits": 16}
    program = compile_graph(graph_of(model), variant("fsd", wide))
    assert {program.placements[name].region for name in program.states} == {"unified"}
    assert_equal(model, ours(model, program, samples(model)), program, litert(model))


@each_model
def test_samples_that_do_not_follow_each_other(model: str) -> None:
    """Without carrying, each is what a runtime just started makes of it."""
    program, x = compile_graph(graph_of(model), variant("fsd", {})), samples(model)[:6]
    alone = traced(model, x, carry=False)
    assert_equal(model, ours(model, program, x, carry=False), program, alone)
    carried = litert(model).tensors
    assert any((alone.tensors[name] != carried[name][:6]).any() for name in carried)


def test_states_are_in_dram_where_the_host_reads_them() -> None:
    """An 8-bit array leaves the 16-bit product over the memory to the host."""
    program = compile_graph(graph_of("keyword"), variant("wear", {}))
    hosts = [c for c in program.commands if isinstance(c, Host)]
    assert len([c for c in hosts if c.operator == "svdf"]) == 7
    assert all(program.placements[c.inputs[0]].region == DRAM for c in hosts)


def test_predictions_of_a_stream_and_of_samples_alone() -> None:
    """What LiteRT answers with its states carried on, and started anew; whatever the size of a batch."""
    model, device = "keras_lstm", load_device("edge-stick")
    graph, x = graph_of(model), samples(model)
    data = Dataset("random", x, np.zeros(len(x), np.int64))
    answers = []
    for carry in (True, False):
        trace = traced(model, x, carry).tensors[graph.outputs[0]]
        wanted = trace.reshape(len(x), -1).argmax(axis=1)
        for batch in (7, 64):
            found = simulate(graph, device, data, inputs="codes", carry_state=carry, batch=batch)
            assert found.accuracy is not None
            assert found.accuracy.predictions.tolist() == wanted.tolist()
        answers.append(wanted)
    assert (answers[0] != answers[1]).any()
