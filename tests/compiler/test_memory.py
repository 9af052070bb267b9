"""Where tensors and stream buffers lie: checked here by a second, naive account of every byte."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import every_command
import numpy as np
import pytest
from random_devices import compile_tightly, device_dict, random_device
from random_networks import random_network
from real_models import graph_of
from variants import split, unified, variant

from simulator.compiler import compile_graph
from simulator.errors import CompileError
from simulator.graph import Graph
from simulator.hwconfig import device_from_dict, device_names, load_device
from simulator.importers.tflite import read_tflite
from simulator.program.commands import Host, Matmul
from simulator.program.program import DRAM, Program
from simulator.program.verify import verify_program

CASES = 200
MODELS = ("resnet", "kws", "vww", "ad01", "str_ww", "micro_speech", "digits")


def regions_at(program: Program, index: int) -> dict[str, list[tuple[int, int]]]:
    """Byte ranges taken while command ``index`` runs, by region; names of one tensor once."""
    taken: dict[str, set[tuple[int, int, int, int]]] = {}
    buffers: list[tuple[str, int, int]] = []
    for p in program.placements.values():
        if p.first <= index <= p.last:
            end = p.address_bytes + p.spec.size_bytes
            taken.setdefault(p.region, set()).add((p.address_bytes, end, p.first, p.last))
    for b in program.buffers:
        if b.first <= index <= b.last:
            buffers.append((b.region, b.address_bytes, b.address_bytes + b.size_bytes))
    found = {region: [(s, e) for s, e, _, _ in ranges] for region, ranges in taken.items()}
    for region, start, end in buffers:
        found.setdefault(region, []).append((start, end))
    return found


def assert_sound(program: Program) -> None:
    verify_program(program)
    capacities = dict(program.capacities)
    peak = 0
    for index in range(len(program.commands)):
        used = 0
        for region, ranges in regions_at(program, index).items():
            ordered = sorted(ranges)
            assert all(a[1] <= b[0] for a, b in pairwise(ordered))
            if region != DRAM:
                assert ordered[-1][1] <= capacities[region]
                used += sum(end - start for start, end in ordered)
        peak = max(peak, used)
    assert program.scratchpad_peak_bytes == peak <= sum(capacities.values())
    for i, command in enumerate(program.commands):
        if command.streams.prefetched:
            (room,) = (b for b in program.buffers if (b.command, b.role) == (i, "weights"))
            # The first command's come while the last one of the inference before runs.
            last = len(program.commands) - 1
            assert (room.first, room.last) == ((i - 1, i) if i else (0, last))


def assert_lives(program: Program, graph: Graph) -> None:
    """A tensor lives from the command that makes it to the last that reads it or a name of it."""
    root = {name: name for name in graph.inputs}
    lives = {name: [-1, -1] for name in graph.inputs}
    commands = {command.ofmap: i for i, command in enumerate(program.commands)}
    for node in graph.nodes:
        name = node.outputs[0]
        root[name] = name if name in commands else root[node.inputs[0]]
        if name in commands:
            lives[name] = [commands[name], commands[name]]
            for source in node.inputs:
                if source in root:
                    lives[root[source]][1] = max(lives[root[source]][1], commands[name])
    for name in graph.outputs:
        lives[root[name]][1] = len(program.commands)
    for name, origin in root.items():
        placement = program.placements[name]
        assert [placement.first, placement.last] == lives[origin]
    for name in (*graph.inputs, *graph.outputs):
        assert program.placements[name].region == DRAM


@pytest.mark.parametrize("model", MODELS)
def test_models_on_shipped_devices(model: str) -> None:
    for name in device_names():
        program = compile_graph(graph_of(model), load_device(name))
        assert_sound(program)
        assert_lives(program, graph_of(model))


def test_random_networks_on_random_devices() -> None:
    spilled = prefetched = 0
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        graph = read_tflite(random_network(rng).content, "network")
        program = compile_tightly(rng, graph)
        assert_sound(program)
        assert_lives(program, graph)
        outside = {*graph.inputs, *graph.outputs}
        inner = [p for name, p in program.placements.items() if name not in outside]
        spilled += any(p.region == DRAM for p in inner)
        prefetched += any(c.streams.prefetched for c in program.commands)
    assert min(spilled, prefetched) > CASES // 10


@pytest.mark.parametrize("model", ["digits", "kws", "ad01"])
def test_models_on_random_devices(model: str) -> None:
    compiled = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        device = random_device(rng, int(rng.choice([1 << 10, 1 << 12, 1 << 14, 1 << 16])))
        try:
            program = compile_graph(graph_of(model), device)
        except CompileError:
            continue
        compiled += 1
        assert_sound(program)
        assert_lives(program, graph_of(model))
    assert compiled >= 20


def on_chip(program: Program) -> set[str]:
    return {name for name, p in program.placements.items() if p.region != DRAM}


def test_more_room_keeps_more_on_chip() -> None:
    counts = [
        len(
            on_chip(
                compile_graph(graph_of("digits"), variant("wear", {"scratchpad": unified(size)}))
            )
        )
        for size in (1 << 10, 1 << 12, 1 << 14, 1 << 20)
    ]
    assert counts == sorted(counts)
    graph = graph_of("digits")
    assert counts[-1] == len(graph.nodes) + 1 - len(graph.inputs) - len(graph.outputs)
    assert counts[0] < counts[-1]


def test_an_activation_that_leaves_too_little_room_is_spilled() -> None:
    # Layers of 8000 bytes beside 8192: what is left streams tiles of a few bytes.
    program = compile_graph(graph_of("kws"), variant("wear", {"scratchpad": unified(8192)}))
    sizes = [program.placements[name].spec.size_bytes for name in on_chip(program)]
    assert max(sizes, default=0) < 8000


def test_weights_are_prefetched_where_there_is_room() -> None:
    device = variant("fsd", {"scratchpad.resident_weights": False})
    commands = compile_graph(graph_of("resnet"), device).commands
    products = [c for c in commands if isinstance(c, Matmul)]
    assert all(c.streams.prefetched for c in products)
    # Nothing is left beside the buffers of two commands here.
    tight = variant("wear", {"scratchpad": split(1 << 16, 400, 1 << 12)})
    products = [
        c for c in compile_graph(graph_of("resnet"), tight).commands if isinstance(c, Matmul)
    ]
    assert not all(c.streams.prefetched for c in products[1:])


def test_resident_weights_stay_where_they_fit() -> None:
    fits = compile_graph(graph_of("digits"), load_device("wear"))
    products = [i for i, c in enumerate(fits.commands) if isinstance(c, Matmul)]
    weights = {b.command: b for b in fits.buffers if b.role == "weights"}
    assert sorted(weights) == products
    assert not any(fits.commands[i].streams.weights for i in products)
    # All of them all the time, since the next inference needs them again.
    last = len(fits.commands) - 1
    assert {(b.first, b.last) for b in weights.values()} == {(0, last)}
    assert fits.resident_weight_bytes >= sum(b.size_bytes for b in weights.values())


def test_some_weights_stay_where_not_all_fit() -> None:
    """Those that are used least often: of a network of rows times matrices all alike, so the first ones."""
    program = compile_graph(graph_of("ad01"), load_device("wear"))
    room = load_device("wear").scratchpad.capacity_bytes
    assert 0 < program.resident_weight_bytes < room
    products = [i for i, c in enumerate(program.commands) if isinstance(c, Matmul)]
    staying = [i for i in products if not program.commands[i].streams.weights]
    assert 0 < len(staying) < len(products)
    buffers = {b.command: b for b in program.buffers if b.role == "weights"}
    last = len(program.commands) - 1
    assert all((buffers[i].first, buffers[i].last) == (0, last) for i in staying)
    assert sum(buffers[i].size_bytes for i in staying) == program.resident_weight_bytes
    # The dense layers at the end of a convolutional network are used once for every byte.
    mixed = compile_graph(graph_of("vww"), load_device("wear"))
    (dense,) = (c for c in mixed.commands if c.operator == "fully_connected")
    assert any(c.streams.weights for c in mixed.commands if isinstance(c, Matmul))
    assert not dense.streams.weights


def test_what_the_host_touches_lies_in_dram() -> None:
    program = compile_graph(every_command.network(), every_command.device(softmax=False))
    (host,) = (c for c in program.commands if isinstance(c, Host))
    for name in (*host.inputs, host.ofmap):
        assert program.placements[name].region == DRAM
    assert program.placements["a"].region == "unified"


def refused(changes: dict[str, Any]) -> str:
    content = device_dict(7, 13)
    for key, value in changes.items():
        section, name = key.split(".")
        content[section][name] = value
    device = device_from_dict(content, "small")
    with pytest.raises(CompileError) as found:
        compile_graph(every_command.network(), device)
    return str(found.value)


def test_a_scratchpad_without_room_is_an_error() -> None:
    assert refused({"scratchpad.capacity_bytes": 64}) == (
        "every_command.tflite on small: the smallest tile of CONV_2D 'a' does not fit: it needs "
        "scratchpad 56 bytes (0 free), 2 accumulators (16384 in all); allowed: a larger scratchpad "
        "or accumulator memory"
    )
    # One row of softmax is one tile: 4 codes in and 4 out, twice, beside what alignment rounds up.
    assert "does not fit" in refused({"scratchpad.capacity_bytes": 70})


def test_the_same_program_twice() -> None:
    for model in ("resnet", "digits"):
        for name in device_names():
            first, second = (compile_graph(graph_of(model), load_device(name)) for _ in range(2))
            assert first.commands == second.commands
            assert first.placements == second.placements
            assert first.buffers == second.buffers


def test_a_larger_scratchpad_is_never_too_small() -> None:
    """Sizes that are no multiple of what addresses are aligned to are as good as the next lower one."""
    fitted = False
    for size in range(16, 400):
        device = variant(
            "wear", {"scratchpad.weight_bytes": size, "scratchpad.resident_weights": False}
        )
        try:
            compile_graph(graph_of("digits"), device)
            fitted = True
        except CompileError:
            assert not fitted, size
    assert fitted


def test_without_dram_all_must_stay_on_chip() -> None:
    with pytest.raises(CompileError, match=r"dram\.kind is 'none', but \d+ bytes of weights"):
        compile_graph(
            graph_of("digits"),
            variant("wear", {"dram.kind": "none", "scratchpad.resident_weights": False}),
        )
    program = compile_graph(graph_of("digits"), variant("wear", {"dram.kind": "none"}))
    assert program.resident_weight_bytes > 0
