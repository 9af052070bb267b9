"""The choice of tiles against every other choice, each timed by the exact recurrence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from real_models import graph_of, random_inputs
from tile_choices import DEVICES, LAYERS, choices, with_nest
from variants import unified, variant

from simulator import npu
from simulator.compiler import compile_graph
from simulator.compiler.estimate import estimate
from simulator.datapath.machine import Machine
from simulator.energy.counts import count_program
from simulator.energy.model import EnergyModel
from simulator.errors import UsageError
from simulator.graph import Graph
from simulator.hwconfig import load_device, with_array
from simulator.npu import OBJECTIVES, simulate
from simulator.program.commands import Matmul, Vector
from simulator.program.program import Program
from simulator.program.traffic import program_numbers
from simulator.timing.pipeline import time_program
from simulator.timing.plan import grid_of


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", LAYERS)
def test_no_other_tiles_are_much_better(kind: str, device: str) -> None:
    program = compile_graph(LAYERS[kind], DEVICES[device])
    point = program.device.operating_point()
    chosen = time_program(program, point).cycles
    rng = np.random.default_rng(0)
    others = list(choices(program))
    picked = [others[i] for i in rng.permutation(len(others))[:400]]
    assert picked
    best = min(time_program(with_nest(program, nest), point).cycles for nest in picked)
    assert chosen <= 1.10 * best


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("device", ["wear", "ethos", "output-stationary", "input-stationary"])
@pytest.mark.parametrize("kind", LAYERS)
def test_other_objectives(kind: str, device: str, objective: str) -> None:
    """Of what was searched for no other tiles have much less, all counted and timed exactly."""
    model, target = DEVICES[device], LAYERS[kind]
    point = model.operating_point()
    program, energy = npu.compile(target, model, objective=objective), EnergyModel(model, point)

    def found(other: Program) -> float:
        cycles = time_program(other, point).cycles
        (counts,) = count_program(other, point)
        picojoules = sum(energy.command_pj(counts, cycles).values())
        return {"latency": cycles, "energy": picojoules, "edp": cycles * picojoules}[objective]

    others = list(choices(program))
    picked = np.random.default_rng(2).permutation(len(others))[:200]
    best = min(found(with_nest(program, others[i])) for i in picked)
    assert found(program) <= (1.2 if objective == "edp" else 1.1) * best


def test_what_objectives_and_dataflows_are_for() -> None:
    """Less energy for energy, fewer cycles for latency, and more choice is not worse by more than what the
    estimate is off."""
    for name in ("ethos-u55-256", "wear"):
        device = load_device(name)
        free = with_array(device, other_dataflows=("output_stationary", "input_stationary"))
        by = {o: simulate(graph_of("resnet"), device, objective=o).totals for o in OBJECTIVES}
        assert by["energy"].energy_pj < by["latency"].energy_pj
        assert by["latency"].cycles < by["energy"].cycles
        one, any_of = (simulate(graph_of("vww"), d) for d in (device, free))
        assert any_of.totals.cycles < 0.85 * one.totals.cycles
        used = {c.dataflow for c in any_of.program.commands if isinstance(c, Matmul)}
        assert len(used) > 1
        assert any(c.split()[-1] in used for c in (layer.tile for layer in any_of.layers))
    with pytest.raises(UsageError, match="objective: 'speed'; allowed: latency, energy, edp"):
        simulate(graph_of("digits"), load_device("wear"), objective="speed")


def test_dataflows_change_no_value() -> None:
    device = load_device("wear")
    free = with_array(device, other_dataflows=("output_stationary", "input_stationary"))
    graph = graph_of("digits")
    (name,) = graph.inputs
    x = random_inputs("digits", 4)
    values = [Machine(compile_graph(graph, d)).run({name: x}).outputs for d in (device, free)]
    for output in graph.outputs:
        assert np.array_equal(values[0][output], values[1][output])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", LAYERS)
def test_the_estimate_is_near_the_exact_cycles(kind: str, device: str) -> None:
    program = compile_graph(LAYERS[kind], DEVICES[device])
    point, numbers = program.device.operating_point(), program.device.numbers
    machine, grid = numbers(point), grid_of(program.device)
    ((_, command),) = program_numbers(program, machine.clock_khz)
    rng = np.random.default_rng(1)
    others = list(choices(program))
    ratios = []
    for i in rng.permutation(len(others))[:100]:
        other = with_nest(program, others[i])
        cycles, dram = estimate(others[i], command, machine, grid)
        ratios.append(cycles / time_program(other, point).cycles)
        (counts,) = count_program(other, point)
        exact = counts.dram_read_bytes + counts.dram_write_bytes
        # Its bytes are means, and ifmap tiles at the border are taken as if padding were read.
        assert 0.95 * exact <= dram <= 1.45 * exact
    # Chosen tiles come within a few percent; it is the odd ones that the closed form misses.
    assert np.percentile(ratios, 5) > 0.7
    assert np.percentile(ratios, 95) < 1.3
    assert 0.93 < np.median(ratios) < 1.12


@pytest.mark.parametrize(
    ("model", "device", "most"),
    [
        # DRAM bytes per byte that must move: inputs, outputs and, where they do not stay, weights.
        ("resnet", "wear", 2.0), ("resnet", "gap9", 1.5), ("resnet", "fsd", 1.2),
        ("kws", "ethos-u55-256", 1.2), ("vww", "wear", 1.1), ("ad01", "ethos-u55-256", 1.1),
        ("digits", "ethos-u55-256", 1.2), ("str_ww", "tpuv1", 1.1),
    ],
)  # fmt: skip
def test_little_moves_that_need_not(model: str, device: str, most: float) -> None:
    graph = graph_of(model)
    result = simulate(graph, variant(device, {}))
    needed = sum(graph.spec(name).size_bytes for name in (*graph.inputs, *graph.outputs))
    weights = sum(b.size_bytes for b in whole_weights(graph).buffers if b.role == "weights")
    needed += max(weights - result.totals.resident_weight_bytes, 0)
    assert result.totals.dram_bytes <= most * needed


def whole_weights(graph: Graph) -> Program:
    """A program whose weight buffers are all weights, each once."""
    program = compile_graph(graph, variant("fsd", {}))
    assert program.resident_weight_bytes
    return program


def test_realistic_devices_are_well_used() -> None:
    """Utilizations that a better choice may raise and none should lower."""
    least: dict[tuple[str, str], float] = {
        ("resnet", "wear"): 0.92, ("resnet", "ethos-u55-256"): 0.79, ("resnet", "gap9"): 0.81,
        ("kws", "wear"): 0.39, ("vww", "gap9"): 0.23,
    }  # fmt: skip
    for (model, device), utilization in least.items():
        found = simulate(graph_of(model), variant(device, {}))
        assert found.totals.utilization >= utilization


def test_tiles_respect_what_cannot_be_split() -> None:
    changes: dict[str, Any] = {"scratchpad": unified(1024), "accumulator.capacity_bytes": 64}
    program = compile_graph(graph_of("digits"), variant("wear", changes))
    for command in program.commands:
        assert isinstance(command, Matmul | Vector)
        nest = command.nest
        if isinstance(command, Matmul):
            words = nest.tile_h * nest.tile_w * nest.tile_g * nest.tile_n
            assert words * 2 <= 64 * 8 // 32
        else:
            assert (nest.tile_n, nest.tile_k) == (nest.n, nest.k)
