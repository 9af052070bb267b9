"""The choice of tiles against every other choice, each timed by the exact recurrence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from real_models import graph_of
from tflite_builder import Op, Tensor, build_model
from variants import TIMING_VARIANTS, unified, variant

from simulator.compiler import compile_graph
from simulator.compiler.tile import estimate
from simulator.energy.counts import count_program
from simulator.graph import Graph
from simulator.hwconfig import Device
from simulator.importers.tflite import read_tflite
from simulator.npu import simulate
from simulator.program.commands import Matmul, Vector
from simulator.program.nest import Nest, retiled, tile_count
from simulator.program.program import Program
from simulator.program.traffic import footprint, program_numbers
from simulator.timing.pipeline import time_program
from simulator.timing.plan import grid_of

_MOST_TILES = 3000


def layer(kind: str, in_shape: tuple[int, ...], w_shape: tuple[int, ...], **options: int) -> Graph:
    """One product, stride 1, padding SAME."""
    rng = np.random.default_rng(0)
    channels = w_shape[3] if kind == "DEPTHWISE_CONV_2D" else w_shape[0]
    tensors = [
        Tensor("x", in_shape, "i8", np.float32(0.1), 0),
        Tensor("w", w_shape, "i8", np.float32(0.1), 0, rng.integers(-128, 128, w_shape, np.int8)),
        Tensor("b", (channels,), "i32", np.float32(0.01), 0, np.zeros(channels, np.int32)),
        Tensor("y", (*in_shape[:-1], channels), "i8", np.float32(0.1), 0),
    ]
    op = Op(kind, ["x", "w", "b"], "y", options)
    return read_tflite(build_model(tensors, [op], ["x"], ["y"]), kind.lower())


WINDOW = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
LAYERS = {
    "conv": layer("CONV_2D", (1, 12, 12, 16), (24, 3, 3, 16), **WINDOW),
    "pointwise": layer("CONV_2D", (1, 12, 12, 32), (48, 1, 1, 32), **WINDOW),
    "depthwise": layer(
        "DEPTHWISE_CONV_2D", (1, 12, 12, 24), (1, 3, 3, 24), DepthMultiplier=1, **WINDOW
    ),
    "dense": layer("FULLY_CONNECTED", (1, 200), (120, 200)),
}
DEVICES: dict[str, Device] = {
    "wear": variant("wear", {}),
    "ethos": variant("ethos-u55-256", {"scratchpad.capacity_bytes": 8192}),
    "gap9": variant("gap9", {"scratchpad.resident_weights": False}),
    "fsd": variant("fsd", {}),
    "output-stationary": variant("ethos-u55-256", {
        **TIMING_VARIANTS["output-stationary"], "scratchpad": unified(4096),
    }),
    "input-stationary": variant("ethos-u55-256", {
        **TIMING_VARIANTS["input-stationary"], "scratchpad": unified(6144, buffers=3),
    }),
    "serial": variant("wear", {**TIMING_VARIANTS["serial"], "scratchpad": unified(6144)}),
    "single": variant("wear", {"scratchpad": unified(6144, buffers=1), "accumulator.buffers": 1}),
}  # fmt: skip


def pieces(size: int) -> list[int]:
    """Tile sizes that cut ``size`` into 1, 2, 3 … parts, all different."""
    return sorted({-(-size // parts) for parts in range(1, size + 1)})


def choices(program: Program) -> Iterator[Nest]:
    """Other tiles of the only command that fit where its own do."""
    (command,) = program.commands
    assert isinstance(command, Matmul)
    nest, device = command.nest, program.device
    ((_, numbers),) = program_numbers(program, 1000)
    words = device.accumulator.capacity_bytes * 8 // device.array.accumulator_bits
    room = dict(program.capacities)
    # Rows or, of a single row, columns: the compiler does not cut both.
    pixels = [(h, nest.out_w) for h in pieces(nest.out_h)] + [(1, w) for w in pieces(nest.out_w)]
    for (h, w), g, n, k, order in product(
        pixels, pieces(nest.groups), pieces(nest.n), pieces(nest.k), range(2)
    ):
        other = retiled(nest, h, w, g, n, k, order)
        need = footprint(other, numbers, device.scratchpad.buffers)
        if h * w * g * n * device.accumulator.buffers > words or tile_count(other) > _MOST_TILES:
            continue
        if "unified" in room:
            fits = sum(need) + 64 <= room["unified"]
        else:
            fits = (
                need.ifmap + 64 <= room["ifmap"] and need.weights <= room["weights"]
                and need.ofmap + 64 <= room["ofmap"]
            )  # fmt: skip
        if fits:
            yield other


def with_nest(program: Program, nest: Nest) -> Program:
    (command,) = program.commands
    return replace(program, commands=(replace(command, nest=nest),))


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
