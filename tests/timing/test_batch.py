"""Several samples at once, and inferences one after another."""

from __future__ import annotations

import numpy as np
import pytest
from every_command import network
from real_models import SHARED, graph_of
from variants import variant

from simulator.cli import main
from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.errors import ModelError, UsageError
from simulator.graph.batch import with_batch
from simulator.hwconfig import load_device
from simulator.npu import load_model, simulate
from simulator.timing.cores import loading_cycles, steady_period
from simulator.timing.events import simulate_plans
from simulator.timing.pipeline import time_plans
from simulator.timing.plan import pace_of, plan_program
from simulator.workload import load_dataset

MODELS = ("digits", "resnet", "kws", "vww", "ad01", "str_ww", "micro_speech", "hello_world")


@pytest.mark.parametrize("model", MODELS)
def test_values_of_a_batch(model: str) -> None:
    """Each sample's values are those that it has alone."""
    graph, device, samples = graph_of(model), load_device("ethos-u55-256"), 3
    together = with_batch(graph, samples)
    (name,) = graph.inputs
    spec = graph.spec(name)
    info = np.iinfo(spec.container)
    x = np.random.default_rng(0).integers(
        info.min, info.max + 1, (samples, *spec.shape), spec.container
    )
    alone = Machine(compile_graph(graph, device)).run({name: x}).outputs
    stacked = x.reshape(1, samples * spec.shape[0], *spec.shape[1:])
    at_once = Machine(compile_graph(together, device)).run({name: stacked}).outputs
    for output in graph.outputs:
        assert np.array_equal(at_once[output].reshape(alone[output].shape), alone[output])


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_shares_what_is_loaded(model: str) -> None:
    device = load_device("ethos-u55-256")
    one, four = (simulate(graph_of(model), device, samples_at_once=n) for n in (1, 4))
    assert four.totals.macs == 4 * one.totals.macs
    assert four.totals.samples == 4
    assert four.totals.inferences_per_s == pytest.approx(4 / four.totals.latency_s)
    for a, b in zip(one.layers, four.layers, strict=True):
        assert b.macs == 4 * a.macs
    if model == "ad01":  # nothing but weights: ten layers of rows times matrices
        assert four.totals.dram_bytes < 1.05 * one.totals.dram_bytes
        assert four.totals.cycles < 1.1 * one.totals.cycles


def test_what_cannot_be_a_batch() -> None:
    with pytest.raises(ModelError, match="a first axis of size 1"):
        with_batch(with_batch(graph_of("resnet"), 2), 2)
    with pytest.raises(UsageError, match="samples_at_once"):
        simulate(graph_of("digits"), load_device("wear"), load_dataset("digits"), samples_at_once=2)
    assert with_batch(network(), 2).spec("y").shape == (2, 144)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs models that are not part of the project")
@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("wake_word/okay_nabu.tflite", "keeps values from one sample to the next"),
        ("tflite_micro/keyword_scrambled.tflite", "keeps values from one sample to the next"),
    ],
)
def test_models_that_cannot(file: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        with_batch(load_model(SHARED / file), 2)


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "digits", "--device", "wear", "--batch", "4"]) == 0
    assert "for 4 samples at once" in capsys.readouterr().out
    assert main(["run", "digits", "--device", "wear", "--batch", "0"]) == 2
    assert main(["run", "digits", "--device", "wear", "--batch", "2", "--data", "digits"]) == 2
    assert "--batch: 2 with --data; allowed: without --data" in capsys.readouterr().err


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("model", ["digits", "resnet", "vww"])
def test_steady_state(model: str, resident: bool) -> None:
    """With weights that are loaded each time and room for them, the next inference's first ones come while
    this one ends; with weights that stay, only the first inference loads any."""
    changes = {
        "scratchpad.resident_weights": resident, "scratchpad.ifmap_bytes": 1 << 20,
        "scratchpad.weight_bytes": 1 << 20,
    }  # fmt: skip
    device = variant("wear", changes)
    point, pace = device.operating_point(), pace_of(device)
    program = compile_graph(graph_of(model), device)
    plans = plan_program(program, point)
    timing = time_plans(plans, pace)
    alone, period = timing.cycles, steady_period(program, point, timing)
    for rounds in (2, 3, 5):
        several = time_plans(plans * rounds, pace).cycles
        assert several == alone + (rounds - 1) * period
        assert simulate_plans(plans * rounds, pace).cycles == several
    assert (period < alone) == (not resident)
    assert (loading_cycles(program, point) > 0) == resident
    result = simulate(graph_of(model), device)
    assert result.totals.period_cycles == period
    assert result.totals.first_cycles == alone + loading_cycles(program, point)
