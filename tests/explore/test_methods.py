"""The table of methods: every method runs, on hardware of its own, and costs what the simulator says."""

from __future__ import annotations

import numpy as np
import pytest
from float_networks import samples, write_network

from simulator.errors import UsageError
from simulator.explore.methods import METHODS, Samples, compare_methods, methods_named
from simulator.hwconfig import load_device, with_array
from simulator.npu import simulate
from simulator.quantization.float_graph import run_float
from simulator.quantization.scheme import Scheme
from simulator.quantizers import quantizer_names
from simulator.quantizing import load_float_model, quantize_graph
from simulator.report.methods import methods_table, methods_to_dict
from simulator.result import MethodRow
from simulator.workload import Dataset

DEVICES = ("wear", "gap9")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[MethodRow]:
    graph = load_float_model(write_network(tmp_path_factory.mktemp("net") / "net.onnx"))
    x = samples(80, 3)
    labels = run_float(graph, x)[graph.outputs[0]].argmax(axis=1)
    given = Samples(samples(24), Dataset("x", x, labels.astype(np.int64)), None)
    steps: list[int] = []
    devices = [load_device(name) for name in DEVICES]
    found = compare_methods(graph, given, devices, METHODS, Scheme(limits="mse"), steps.append)
    assert len(steps) == len(found) - 1 == sum(len(m.bits) for m in METHODS)
    for row in found[1:]:
        method = next(m for m in METHODS if m.name == row.method)
        made = quantize_graph(graph, given.calibration, method.scheme(Scheme(limits="mse"), row.bits),
                              "onnxruntime").graph  # fmt: skip
        device = with_array(devices[0], **method.array) if method.array else devices[0]
        totals = simulate(made, device).totals
        assert row.costs[0].latency_s == totals.latency_s
        assert row.costs[0].energy_pj == totals.energy_pj
        if row.method in ("adaround", "product"):
            break  # enough of them
    return found


def test_every_method_is_there_and_has_its_hardware(rows: list[MethodRow]) -> None:
    assert {row.method for row in rows} == {"float", *(m.name for m in METHODS)}
    used = {m.settings.get("weights", "symmetric") for m in METHODS}
    assert used == set(quantizer_names()) - {"symmetric_full", "stochastic"}
    for row in rows[1:]:
        assert [cost.device for cost in row.costs] == list(DEVICES)
        if row.method != "additive-powers":
            assert all(cost.on_host == row.costs[0].on_host for cost in row.costs)
        method = next(m for m in METHODS if m.name == row.method)
        assert bool(row.hardware) == bool(method.array or method.vector)


def test_bits_buy_bytes_and_cost_accuracy(rows: list[MethodRow]) -> None:
    assert rows[0].top1 == 1.0
    of = {(row.method, row.bits): row for row in rows}
    sizes = [of["nearest", b].costs[0].weight_bytes for b in (8, 6, 5, 4, 3, 2)]
    assert sizes == sorted(sizes, reverse=True)
    assert of["nearest", 8].top1 >= 0.9
    assert of["adaround", 3].top1 >= of["nearest", 3].top1
    assert of["nearest", 2].top1 < of["nearest", 8].top1
    # 8 levels in place of 7, of the weights' own.
    assert of["kmeans", 3].costs[0].weight_bytes > of["nearest", 3].costs[0].weight_bytes
    assert of["kmeans", 3].costs[0].weight_bytes < of["nearest", 5].costs[0].weight_bytes


def test_nothing_runs_on_the_host_but_what_a_device_cannot_do(rows: list[MethodRow]) -> None:
    plain = {row.bits: row for row in rows if row.method == "nearest"}[8].costs
    for row in rows[1:]:
        for cost, other in zip(row.costs, plain, strict=True):
            assert cost.on_host == other.on_host, row


def test_the_table_says_it_all(rows: list[MethodRow]) -> None:
    text = methods_table(rows)
    assert len(text.splitlines()) == len(rows) + 2
    assert "two shifters" in text
    assert "gap9: latency" in text
    assert methods_table(rows, markdown=True).startswith("| method")
    content = methods_to_dict(rows, "net", "x")
    assert len(content["rows"]) == len(rows)
    assert content["rows"][1]["costs"][0]["device"] == "wear"


def test_methods_by_name() -> None:
    assert [m.name for m in methods_named(["kmeans", "binary"])] == ["kmeans", "binary"]
    assert methods_named([]) == list(METHODS)
    with pytest.raises(UsageError, match="no method 'magic'; allowed: nearest, corrected"):
        methods_named(["magic"])
