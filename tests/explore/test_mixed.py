"""Bits for each layer: the best of all choices, within limits that the simulator confirms."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from float_networks import samples, write_network

from simulator.errors import CompileError, UsageError
from simulator.explore.mixed import Costs, Request, choose_bits, solve
from simulator.graph import Graph
from simulator.hwconfig import load_device, with_array
from simulator.npu import simulate
from simulator.quantization.scheme import Scheme
from simulator.quantizing import load_float_model, quantize_graph

WIDTHS = (2, 4, 8)
# PEs that do more of narrow operands at once, so that bits buy cycles.
DEVICE = with_array(load_device("wear"), precision_scaling="fused")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return load_float_model(write_network(tmp_path_factory.mktemp("net") / "net.onnx"))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("names", [("latency",), ("energy", "size"), ("latency", "energy", "size")])
def test_the_choice_is_the_best_of_all(seed: int, names: tuple[str, ...]) -> None:
    random = np.random.default_rng(seed)
    count = 5
    losses = {b: (random.random(count) / b).tolist() for b in WIDTHS}
    costs = {
        b: [Costs(*(b * random.uniform(0.5, 2) * scale for scale in (1e6, 1e9, 1e3))) for _ in range(count)]
        for b in WIDTHS
    }  # fmt: skip
    totals = {n: sum(getattr(c, n) for c in costs[8]) for n in names}
    room = {n: total * random.uniform(0.3, 0.9) for n, total in totals.items()}

    def cost(name: str, bits: tuple[int, ...]) -> float:
        return sum(getattr(costs[b][i], name) for i, b in enumerate(bits))

    def loss(bits: tuple[int, ...]) -> float:
        return sum(losses[b][i] for i, b in enumerate(bits))

    fits = [
        bits for bits in product(WIDTHS, repeat=count)
        if all(cost(n, bits) <= room[n] * (1 + 1e-9) for n in names)
    ]  # fmt: skip
    found = solve(losses, costs, room)
    if not fits:
        assert found is None
        return
    assert found is not None
    assert all(cost(n, found) <= room[n] * (1 + 1e-6) for n in names)
    assert loss(found) == pytest.approx(min(map(loss, fits)), rel=1e-6)


@pytest.mark.parametrize("limits", [{"latency": 0.7}, {"size": 0.6}, {"energy": 0.92, "size": 0.7}])
def test_the_simulator_confirms_the_limits(network: Graph, limits: dict[str, float]) -> None:
    x = samples(40)
    request = Request(WIDTHS, limits, Scheme(limits="mse"), "onnxruntime")
    steps: list[int] = []
    made, found = choose_bits(network, x, DEVICE, request, steps.append)
    assert sum(steps) == len(WIDTHS) + 1
    assert found.within
    assert all(found.parts[name] <= part * (1 + 1e-9) for name, part in limits.items())
    assert len({row.bits for row in found.layers}) > 1
    bits = {layer.node.outputs[0]: layer.weights.coding.bits for layer in made.layers}
    assert bits == {row.name: row.bits for row in found.layers}
    # And by itself, of the model that comes out.
    whole = quantize_graph(network, x, Scheme(limits="mse"), "onnxruntime").graph
    totals = [simulate(g, DEVICE).totals for g in (made.graph, whole)]
    ratio = totals[0].cycles / totals[1].cycles
    assert found.parts["latency"] == pytest.approx(ratio)
    assert found.parts["energy"] == pytest.approx(totals[0].energy_pj / totals[1].energy_pj)


def test_a_looser_limit_loses_no_more(network: Graph) -> None:
    lost = []
    for part in (0.5, 0.6, 0.7, 0.85, 1.0):
        request = Request(WIDTHS, {"size": part}, Scheme(limits="mse"), "onnxruntime")
        _, found = choose_bits(network, samples(40), DEVICE, request)
        lost.append(sum(row.loss for row in found.layers))
    assert lost == sorted(lost, reverse=True)
    assert all(row.bits == 8 for row in found.layers)


def test_what_is_refused(network: Graph) -> None:
    base = Scheme()
    for bits, limits, message in (
        ((8,), {"size": 0.5}, "bits: 8; allowed: two or more of 2 to 8"),
        ((1, 8), {"size": 0.5}, "bits: 1, 8; allowed: two or more of 2 to 8"),
        (WIDTHS, {}, "limits: none; allowed: one or more of latency, energy, size"),
        (WIDTHS, {"size": 0.0}, "limits: size 0; allowed: latency, energy, size; above 0"),
        (WIDTHS, {"size": 1.5}, "limits: size 1.5; allowed"),
        (WIDTHS, {"area": 0.5}, "limits: area 0.5; allowed"),
    ):
        with pytest.raises(UsageError, match=message):
            Request(bits, limits, base, "onnxruntime")
    request = Request(WIDTHS, {"latency": 0.01}, base, "onnxruntime")
    message = (
        r"no choice of bits keeps to latency 0\.01; allowed: what the fewest bits take, latency 0\."
    )
    with pytest.raises(CompileError, match=message):
        choose_bits(network, samples(10), DEVICE, request)


def test_a_missing_package_is_named(
    network: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "scipy", None)
    request = Request(WIDTHS, {"size": 0.5}, Scheme(), "onnxruntime")
    with pytest.raises(
        UsageError, match="the package scipy is not installed; allowed: pip install"
    ):
        choose_bits(network, samples(10), DEVICE, request)
