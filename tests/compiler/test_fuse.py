"""Layers depth first: the same values, less traffic, and a program that holds together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_devices import device_dict
from real_models import graph_of
from variants import split, variant

from simulator.cli import main
from simulator.compiler import LATENCY, compile_graph
from simulator.compiler.compile import Compiler
from simulator.compiler.fuse import chains, fused
from simulator.compiler.lower import lower_graph
from simulator.datapath.machine import Machine
from simulator.energy.counts import count_program
from simulator.errors import ProgramError
from simulator.graph import Graph
from simulator.hwconfig import Device, device_from_dict
from simulator.networks import Shapes
from simulator.npu import simulate
from simulator.program.commands import Matmul
from simulator.program.program import Program
from simulator.program.text import parse_program, print_program
from simulator.program.traffic import program_numbers
from simulator.program.verify import verify_program
from simulator.timing.events import simulate_plans
from simulator.timing.pipeline import time_plans
from simulator.timing.plan import pace_of, plan_program


def small() -> Device:
    """So little scratchpad that the images of the first layers do not fit."""
    return variant("wear", {"scratchpad": split(6144, 1 << 17, 2048)})


def filled(graph: Graph) -> Graph:
    """The network with weights that are not 0."""
    rng = np.random.default_rng(0)
    return replace(graph, constants={
        name: rng.integers(-20, 21, values.shape, np.int8) if values.dtype == np.int8 else values
        for name, values in graph.constants.items()
    })  # fmt: skip


def network() -> Graph:
    """Windows, strides, padding, a depthwise layer and a pool, one after the other."""
    net = Shapes("stripes", (1, 37, 29, 3))
    x = net.conv(net.input, 8, 3, 2)
    x = net.conv(net.depthwise(x, 3), 16)
    x = net.depthwise(net.conv(x, 16, 5), 3, 2)
    return filled(net.graph(net.conv(net.pool(x, 2, 1), 8, 3, 1, 2)))


def outputs(program: Program, x: np.ndarray) -> np.ndarray:
    (name,), (made,) = program.inputs, program.outputs
    return Machine(program).run({name: x}).outputs[made]


@pytest.mark.parametrize("stripes", [2, 3, 5, 16])
@pytest.mark.parametrize("number", [2, 3, 4])
def test_values_of_stripes(number: int, stripes: int) -> None:
    """Every chain of the network, in any number of stripes, as commands that share rows of their ifmaps."""
    graph, device = network(), variant("fsd", {"scratchpad.resident_weights": False})
    x = np.random.default_rng(1).integers(-128, 128, (2, 1, 37, 29, 3), np.int8)
    expected = outputs(compile_graph(graph, device), x)
    lowered, tried = lower_graph(graph, device), 0
    everything, made = set(lowered.root_of), set(graph.outputs)
    for first in range(len(lowered.commands)):
        if number not in chains(lowered, first, everything, made):
            continue
        striped = fused(lowered, first, number, stripes)
        if striped is None:
            continue
        tried += 1
        assert len(striped.commands) > len(lowered.commands)
        compiler = Compiler(graph, device, device.operating_point(), {}, LATENCY)
        compiler.use(striped)
        program = verify_program(compiler.plan().program())
        assert np.array_equal(outputs(program, x), expected)
        text = print_program(program)
        assert print_program(parse_program(text, program.constants, device)) == text
    assert tried


def test_a_stripe_in_stripes() -> None:
    """The last two layers of a stripe of four, once more depth first: rows of what are rows already."""
    graph, device = network(), variant("fsd", {"scratchpad.resident_weights": False})
    x = np.random.default_rng(1).integers(-128, 128, (2, 1, 37, 29, 3), np.int8)
    expected = outputs(compile_graph(graph, device), x)
    lowered = lower_graph(graph, device)
    first = len(lowered.commands) - 4
    striped = fused(lowered, first, 4, 2)
    assert striped is not None
    inner = len(striped.commands) - 2
    assert 2 in chains(striped, inner, set(striped.root_of), set(graph.outputs))
    again = fused(striped, inner, 2, 2)
    assert again is not None
    assert len(again.commands) == len(striped.commands) + 2
    compiler = Compiler(graph, device, device.operating_point(), {}, LATENCY)
    compiler.use(again)
    program = verify_program(compiler.plan().program())
    assert np.array_equal(outputs(program, x), expected)


def test_rows_that_stripes_share_are_made_twice() -> None:
    """Two layers of 3 x 3 in two stripes: the second needs one row more on each side of the cut."""
    net = Shapes("two", (1, 16, 8, 4))
    graph = net.graph(net.conv(net.conv(net.input, 4, 3), 4, 3))
    device = small()
    lowered = lower_graph(graph, device)
    striped = fused(lowered, 0, 2, 2)
    assert striped is not None
    rows = [
        (c.name.split("[")[1], c.nest.out_h, c.nest.in_h, c.nest.pad_top)
        for c in striped.commands
        if isinstance(c, Matmul)
    ]
    assert rows == [
        ("0:9]", 9, 10, 1), ("0:8]", 8, 9, 1), ("7:16]", 9, 10, 0), ("8:16]", 8, 9, 0)
    ]  # fmt: skip
    views = {n: striped.offsets[n] for n in striped.offsets if n.startswith("input")}
    assert views == {"input[0:10]": 0, "input[6:16]": 6 * 8 * 4}


@pytest.mark.parametrize("model", ["digits", "vww", "mobilenet_v1"])
def test_real_models(model: str) -> None:
    """Where layers run depth first, less crosses the DRAM, in fewer cycles, for the same values; both
    engines agree."""
    graph, device = graph_of(model), small()
    plain, fast = (simulate(graph, device, fuse=f) for f in (False, True))
    assert len(fast.layers) > len(plain.layers)
    assert fast.totals.dram_bytes < plain.totals.dram_bytes
    assert fast.totals.cycles < plain.totals.cycles
    assert fast.totals.macs >= plain.totals.macs
    (name,) = graph.inputs
    spec = graph.spec(name)
    x = (
        np.random.default_rng(0)
        .integers(spec.minimum, spec.maximum + 1, (2, *spec.shape))
        .astype(spec.container)
    )
    a, b = (Machine(r.program).run({name: x}) for r in (plain, fast))
    for output in graph.outputs:
        assert np.array_equal(a.outputs[output], b.outputs[output])
    for command, counted in zip(count_program(fast.program, fast.point), b.counts, strict=True):
        assert counted.macs == 2 * command.macs
    plans, pace = plan_program(fast.program, fast.point), pace_of(device)
    assert simulate_plans(plans, pace).cycles == time_plans(plans, pace).cycles
    assert len(program_numbers(fast.program, 1000)) == len(plans)


def test_a_large_network() -> None:
    """VGG's first layers on a stick: half of the traffic and of the time."""
    net = Shapes("vgg's beginning", (1, 224, 224, 3))
    x = net.pool(net.conv(net.conv(net.input, 64, 3), 64, 3), 2, 2)
    graph = net.graph(net.pool(net.conv(net.conv(x, 128, 3), 128, 3), 2, 2))
    plain, fast = (simulate(graph, variant("edge-stick", {}), fuse=f).totals for f in (False, True))
    assert fast.dram_bytes < 0.6 * plain.dram_bytes
    assert fast.cycles < 0.6 * plain.cycles
    assert fast.macs < 1.1 * plain.macs


def test_views_are_checked() -> None:
    program = compile_graph(graph_of("digits"), small(), fuse=True)
    name, view = next((n, p) for n, p in program.placements.items() if p.view_of)
    for wrong in (
        replace(view, address_bytes=view.address_bytes + (1 << 20)), replace(view, view_of="nothing"),
        replace(view, last=view.last + 1),
    ):  # fmt: skip
        with pytest.raises(ProgramError):
            verify_program(replace(program, placements={**program.placements, name: wrong}))


def test_nothing_to_fuse() -> None:
    device = device_from_dict(device_dict(), "roomy")
    plain, same = (compile_graph(graph_of("digits"), device, fuse=f) for f in (False, True))
    assert print_program(plain) == print_program(same)


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "shape:vgg16-convolutions", "--device", "edge-stick"]
    assert main([*run, "--fuse"]) == 0
    assert "[0:" in capsys.readouterr().out
