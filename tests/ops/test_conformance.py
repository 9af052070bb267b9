"""Every operator, over random layers on random devices, equals LiteRT's reference kernels bit for bit,
and its own naive reference."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from litert_runner import LiteRTRunner
from random_devices import compile_tightly
from random_layers import LAYERS, Layer, Rng

from simulator.datapath.machine import Machine
from simulator.graph import Graph
from simulator.importers.tflite import read_tflite
from simulator.ops import operator_names, reference_values
from simulator.program.commands import Host
from simulator.program.nest import tile_count
from simulator.program.program import Program

LAYERS_PER_OPERATOR = 150
# Outputs compared with LiteRT, per operator; a maker that came to make trivial layers would fail.
FEWEST_OUTPUTS = 5_000


def generator(name: str, seed: int) -> Rng:
    return np.random.default_rng([zlib.crc32(name.encode()), seed])


def widths(graph: Graph) -> dict[str, int]:
    """16-bit PEs and wide sums for layers of int16, which the host would run otherwise."""
    wide = any(graph.spec(name).dtype == "i16" for name in graph.inputs)
    return {"ifmap_bits": 16, "weight_bits": 16, "accumulator_bits": 48} if wide else {}


def naive(graph: Graph, layer: Layer, samples: int) -> list[list[np.ndarray]]:
    """The outputs of the graph's only node by its definition, sample by sample; states are carried on."""
    (node,) = graph.nodes
    states = {state.name: graph.constants[state.name] for state in graph.states}
    found = []
    for sample in range(samples):
        values = states | {name: value[sample] for name, value in layer.inputs.items()}
        operands = [values[name] for name in node.inputs if name in values]
        made = dict(zip(node.outputs, reference_values(graph, node, operands), strict=True))
        states = {state.name: made[state.following] for state in graph.states}
        found.append([made[name] for name in graph.outputs])
    return found


def test_every_operator_has_a_maker() -> None:
    assert tuple(sorted(LAYERS)) == operator_names()


@pytest.mark.parametrize("name", operator_names())
def test_equals_litert_and_the_naive_reference(name: str) -> None:
    compared = 0
    for seed in range(LAYERS_PER_OPERATOR):
        rng = generator(name, seed)
        layer = LAYERS[name](rng)
        graph = read_tflite(layer.content, f"{name} {seed}")
        found = Machine(compile_tightly(rng, graph, **widths(graph))).run(layer.inputs).outputs
        expected = LiteRTRunner(layer.content).run(layer.inputs)
        for output in graph.outputs:
            got = found[output]
            assert got.dtype == expected[output].dtype
            np.testing.assert_array_equal(got, expected[output], f"LiteRT, {name}, seed {seed}")
            compared += got.size
        # What a state does shows in the second sample.
        for sample, values in enumerate(naive(graph, layer, 2 if graph.states else 1)):
            for output, value in zip(graph.outputs, values, strict=True):
                np.testing.assert_array_equal(
                    found[output][sample], value, f"naive, {name}, seed {seed}, sample {sample}"
                )
    assert compared >= FEWEST_OUTPUTS


def _programs(name: str, count: int) -> list[Program]:
    found = []
    for seed in range(count):
        rng = generator(name, seed)
        graph = read_tflite(LAYERS[name](rng).content, name)
        found.append(compile_tightly(rng, graph, **widths(graph)))
    return found


def test_the_devices_are_tight() -> None:
    """The suite means something only if many programs are tiled, some over the reduction."""
    programs = _programs("conv_2d", 200)
    nests = [p.commands[0].nest for p in programs if not isinstance(p.commands[0], Host)]  # type: ignore[union-attr]
    assert sum(tile_count(n) > 1 for n in nests) > 100
    assert sum(n.tile_k < n.k for n in nests) > 20
    assert sum(isinstance(p.commands[0], Host) for p in programs) > 5
    assert {p.device.array.dataflow for p in programs} == {
        "weight_stationary", "output_stationary", "input_stationary"
    }  # fmt: skip
