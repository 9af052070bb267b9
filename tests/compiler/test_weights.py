"""Weights by their values: stored in fewer bits, 0s in a pattern skipped; the values of a model stay."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from random_devices import small_device
from real_models import graph_of, random_inputs
from tile_choices import LAYERS

from simulator.cli import main
from simulator.compiler import compile_graph
from simulator.compiler.weights import codec_bits, is_sparse
from simulator.datapath.machine import Machine
from simulator.energy.counts import count_program
from simulator.errors import UsageError
from simulator.hwconfig import Device, load_device, with_array, with_keys
from simulator.networks import Shapes
from simulator.npu import load_model, simulate
from simulator.ops._pruning import with_pruned
from simulator.program.commands import Matmul
from simulator.workload import load_dataset


def huffman_bits(values: np.ndarray) -> float:
    """Bits of a value in the best code of whole bits for each."""
    heap = [
        (count, i, 0.0) for i, count in enumerate(Counter(values.reshape(-1).tolist()).values())
    ]
    heapq.heapify(heap)
    total, number = 0.0, len(heap)
    while len(heap) > 1:
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        total += a[0] + b[0]
        heapq.heappush(heap, (a[0] + b[0], number, 0.0))
        number += 1
    return total / values.size


@pytest.mark.parametrize("seed", range(50))
def test_codecs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(0, rng.uniform(0.1, 30), (1, 3, 3, 8, 16))).astype(np.int64)
    entropy = codec_bits(values, 8, "entropy")
    assert entropy - 1e-9 <= huffman_bits(values) or len(np.unique(values)) == 1
    assert huffman_bits(values) < entropy + 1
    packed = sum(1 + 8 * (v != 0) for v in values.reshape(-1).tolist())
    assert codec_bits(values, 8, "bitmask") * values.size == pytest.approx(packed)


@pytest.mark.parametrize("seed", range(100))
def test_which_weights_are_sparse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept, of = ((1, 2), (2, 4), (1, 4), (4, 8))[seed % 4]
    shape = (int(rng.integers(1, 3)), 2, 1, int(rng.choice([of, 2 * of, 2 * of + 1])), 3)
    values = (rng.random(shape) < rng.choice([0.2, 0.5])).astype(np.int64)
    expected = shape[3] % of == 0 and all(
        np.count_nonzero(values[g, y, x, k : k + of, n]) <= kept
        for g in range(shape[0]) for y in range(2) for x in range(1)
        for k in range(0, shape[3], of) for n in range(3)
    )  # fmt: skip
    array = small_device(rows=8, sparsity=f"{kept}:{of}").array
    assert is_sparse(values, array) == expected


@pytest.mark.parametrize("pattern", ["1:2", "2:4", "1:4", "4:8"])
@pytest.mark.parametrize("model", ["digits", "resnet", "ad01"])
def test_pruning(model: str, pattern: str) -> None:
    kept, of = (int(part) for part in pattern.split(":"))
    graph = graph_of(model)
    pruned, touched = with_pruned(graph, pattern), 0
    for name, values in graph.constants.items():
        after = pruned.constants[name]
        if np.array_equal(after, values):
            continue
        touched += 1
        before, groups = values.reshape(-1, of), after.reshape(-1, of)
        for a, b in zip(before.tolist(), groups.tolist(), strict=True):
            order = sorted(range(of), key=lambda i: (-abs(a[i]), i))[:kept]
            assert b == [a[i] if i in order else 0 for i in range(of)]
    assert touched
    with pytest.raises(UsageError, match="prune: '4:2'; allowed: N:M with N below M"):
        with_pruned(graph, "4:2")


def pointwise(channels: int) -> Shapes:
    net = Shapes("pointwise", (1, 12, 12, channels))
    net.conv(net.input, 24)
    return net


@pytest.mark.parametrize("dataflow", ["weight_stationary", "output_stationary", "input_stationary"])
def test_sparse_layers_take_the_cycles_of_dense_ones_of_fewer_channels(dataflow: str) -> None:
    """All weights are 0, so they are 2:4 sparse; only the ifmap is as wide as before."""
    device = small_device(rows=8, cols=8, dataflow=dataflow)
    sparse = with_array(device, sparsity="2:4")
    # An output-stationary array takes two words' ifmaps a step here, which the port must give.
    wide, half = pointwise(64), pointwise(32)
    found = [
        simulate(net.graph(net.nodes[-1].name), d)
        for net, d in ((wide, device), (wide, sparse), (half, device))
    ]
    dense, skipped, narrow = (r.cycles_by_cause["compute"] for r in found)
    assert skipped == narrow
    assert dense > 1.9 * skipped
    commands = [r.program.commands[0] for r in found]
    assert [c.sparse for c in commands if isinstance(c, Matmul)] == [False, True, False]
    counts = [count_program(r.program, r.point)[0] for r in found]
    assert counts[1].mac_multiplier_bits2 == counts[2].mac_multiplier_bits2
    assert counts[1].macs == counts[0].macs
    # 8 bits and 2 that say which of the four, for half of the weights.
    assert found[1].program.commands[0].stored_millibits == 5000  # type: ignore[union-attr]


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("dataflow", ["weight_stationary", "output_stationary", "input_stationary"])
@pytest.mark.parametrize("kind", ["conv", "pointwise", "dense"])
def test_sums_of_sparse_weights(kind: str, dataflow: str, overflow: str) -> None:
    """A row that skips 0s does what two rows do that add them: the same sums, in as narrow accumulators."""
    graph = with_pruned(LAYERS[kind], "2:4")
    keys = {"dataflow": dataflow, "overflow": overflow, "accumulator_bits": 17, "psum_bits": 16}
    half = compile_graph(graph, small_device(rows=4, cols=8, sparsity="2:4", **keys))
    (command,) = half.commands
    assert isinstance(command, Matmul)
    assert command.sparse
    assert command.nest.k % 4 == command.nest.tile_k % 4 == 0
    whole = replace(
        half, device=small_device(rows=8, cols=8, **keys),
        commands=(replace(command, sparse=False, stored_millibits=0),),
    )  # fmt: skip
    spec = graph.spec("x")
    x = np.random.default_rng(3).integers(-128, 128, (3, *spec.shape), np.int8)
    runs = [Machine(program).run({"x": x}) for program in (half, whole)]
    assert np.array_equal(runs[0].outputs["y"], runs[1].outputs["y"])
    assert runs[0].counts == runs[1].counts
    assert runs[0].counts[0].overflows > 0


@pytest.mark.parametrize("codec", ["bitmask", "entropy"])
def test_stored_weights_move_fewer_bytes(codec: str) -> None:
    """In DRAM and on chip, for the same values, as their zeros and their spread allow."""
    graph = with_pruned(graph_of("ad01"), "1:4")
    plain: Device = with_keys(load_device("ethos-u55-256"), {"vector": {"lanes": 16}})
    coded = with_array(plain, weight_codec=codec)
    found = [simulate(graph, device).totals for device in (plain, coded)]
    assert found[1].dram_bytes < (0.45 if codec == "bitmask" else 0.35) * found[0].dram_bytes
    assert found[1].cycles < found[0].cycles
    assert found[1].energy_pj < found[0].energy_pj
    x = random_inputs("ad01", 3)
    (name,) = graph.inputs
    values = [Machine(compile_graph(graph, d)).run({name: x}).outputs for d in (plain, coded)]
    for output in graph.outputs:
        assert np.array_equal(values[0][output], values[1][output])


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "digits", "--device", "wear", "--data", "digits", "--limit", "100"]
    assert main(run) == 0
    assert main([*run, "--prune", "2:4", "--sparsity", "2:4", "--weight-codec", "bitmask"]) == 0
    assert "top-1" in capsys.readouterr().out
    result = simulate(
        load_model("digits", prune="2:4"), with_array(load_device("wear"), sparsity="2:4"),
        load_dataset("digits"),
    )  # fmt: skip
    assert result.accuracy is not None
    assert 0.5 < result.accuracy.top1 < 0.9  # without training again
