"""Programs that remember, and weights that the steps of an unrolled operator share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from layers_recurrent import LAYERS
from oracles.lstm_model import Shape, lstm_model, random_lstm
from oracles.runtime import Runtime
from random_devices import compile_tightly, device_dict
from variants import TIMING_VARIANTS

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.errors import ProgramError
from simulator.fixedpoint.width import ceil_div
from simulator.graph import Graph
from simulator.hwconfig import Device, device_from_dict
from simulator.importers.tflite import read_tflite
from simulator.program.commands import Command, Matmul, Move, Vector
from simulator.program.program import DRAM, Program
from simulator.program.text import parse_program, print_program
from simulator.program.traffic import WHOLE, operand_roles
from simulator.program.verify import verify_program
from simulator.timing.events import simulate_plans
from simulator.timing.pipeline import time_plans
from simulator.timing.plan import pace_of, plan_program

STEPS = 5


def lstm(seed: int = 0, **parts: Any) -> bytes:
    """Five steps of an LSTM of 12 cells."""
    shape = Shape(time=STEPS, inputs=7, cells=12, outputs=12, **parts)
    return lstm_model(random_lstm(np.random.default_rng(seed), shape, -12), shape)


def device(resident: bool = False, **sections: Any) -> Device:
    content = device_dict(**sections)
    content["scratchpad"]["resident_weights"] = resident
    return device_from_dict(content, "test")


def graph_of(content: bytes) -> Graph:
    return read_tflite(content, "lstm")


def test_states_live_from_one_inference_to_the_next() -> None:
    """Whatever else is placed, from before the first command to after the last; verified byte by byte."""
    in_dram = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        name = sorted(LAYERS)[seed % 2]
        graph = read_tflite(LAYERS[name](rng).content, name)
        program = compile_tightly(rng, graph)
        assert program.states == tuple(state.name for state in graph.states)
        count = len(program.commands)
        for state, command in zip(
            graph.states, program.commands[-len(graph.states) :], strict=True
        ):
            place = program.placements[state.name]
            assert (place.first, place.last) == (-1, count)
            assert isinstance(command, Move)
            assert (command.sources, command.ofmap) == ((state.following,), state.name)
            in_dram += place.region == DRAM
    assert 0 < in_dram < 40


def whole_inputs(program: Program, command: Vector) -> list[str]:
    specs = {name: place.spec for name, place in program.placements.items()}
    roles = operand_roles(command, specs)
    return [name for name, role in zip(command.inputs, roles, strict=True) if role == WHOLE]


def tight_programs(count: int) -> list[Program]:
    """LSTMs on devices so small that states and tables lie in DRAM."""
    found = []
    for seed in range(count):
        content = lstm(seed, norm=seed % 2 == 0, peephole=seed % 3 == 0)
        found.append(compile_tightly(np.random.default_rng(seed), graph_of(content)))
    return found


def made_and_kept(program: Program, command: Command) -> list[str]:
    """What a Vector loads whole although the program makes it."""
    if not (isinstance(command, Vector) and command.streams.weights):
        return []
    kept = set(program.constants) - set(program.states)
    return [name for name in whole_inputs(program, command) if name not in kept]


def test_what_the_program_makes_is_not_prefetched() -> None:
    """A cell state is loaded whole, like a table; but it is not there before the step begins."""
    programs = tight_programs(40)
    loads = [c for p in programs for c in p.commands if made_and_kept(p, c)]
    assert len(loads) > 20
    assert not any(command.streams.prefetched for command in loads)


def test_prefetching_a_state_is_refused() -> None:
    program, index = next(
        (p, i) for p in tight_programs(40) for i, c in enumerate(p.commands) if made_and_kept(p, c)
    )
    command = program.commands[index]
    early = replace(command, streams=replace(command.streams, prefetched=True))
    commands = (*program.commands[:index], early, *program.commands[index + 1 :])
    with pytest.raises(ProgramError, match="which the program makes"):
        verify_program(replace(program, commands=commands))


def products(program: Program) -> list[tuple[int, Matmul]]:
    return [(i, c) for i, c in enumerate(program.commands) if isinstance(c, Matmul)]


def weight_buffers(program: Program) -> dict[int, tuple[int, int]]:
    return {
        b.command: (b.address_bytes, b.size_bytes) for b in program.buffers if b.role == "weights"
    }


def test_steps_share_one_copy_of_resident_weights() -> None:
    content = lstm()
    program = compile_graph(graph_of(content), device(resident=True))
    (first, *steps), places = products(program), weight_buffers(program)
    assert len(steps) == STEPS
    assert len({command.weights for _, command in steps}) == 1
    assert not any(command.streams.weights for _, command in (first, *steps))
    assert len({places[i] for i, _ in steps}) == 1
    assert places[first[0]] != places[steps[0][0]]
    # Four gates of 12 cells: 8-bit weights, and 70 bits for each column.
    sizes = [4 * 12 * k + ceil_div(4 * 12 * 70, 8) for k in (7, 12)]
    assert program.resident_weight_bytes == sum(ceil_div(size, 16) * 16 for size in sizes)
    assert program.scratchpad_peak_bytes <= dict(program.capacities)["unified"]
    runtime, x = Runtime(content), np.full((3, 1, STEPS, 7), 55, np.int8)
    got = Machine(program).run({"x": x}).outputs["y"]
    np.testing.assert_array_equal(got, np.stack([runtime.run(one) for one in x]))


def test_a_shared_copy_counts_once_in_a_tight_scratchpad() -> None:
    """Five copies of the recurrent weights would not fit in half of the scratchpad."""
    graph = graph_of(lstm())
    needed = compile_graph(graph, device(resident=True)).resident_weight_bytes
    tight = device(resident=True, scratchpad_bytes=2 * needed)
    assert compile_graph(graph, tight).resident_weight_bytes == needed
    tighter = device(resident=True, scratchpad_bytes=2 * needed - 32)
    assert 0 < compile_graph(graph, tighter).resident_weight_bytes < needed


def test_other_weights_at_the_same_address_are_refused() -> None:
    program = compile_graph(graph_of(lstm()), device(resident=True))
    index, command = products(program)[2]
    other = replace(command, weights="copy")
    commands = (*program.commands[:index], other, *program.commands[index + 1 :])
    constants = {**program.constants, "copy": program.constants[command.weights]}
    with pytest.raises(ProgramError, match="share bytes"):
        verify_program(replace(program, commands=commands, constants=constants))


def test_streamed_weights_are_loaded_at_every_step() -> None:
    program = compile_graph(graph_of(lstm()), device())
    assert all(command.streams.weights for _, command in products(program))
    assert program.resident_weight_bytes == 0


@pytest.mark.parametrize("resident", [False, True])
def test_the_text_of_a_program_with_states(resident: bool) -> None:
    program = compile_graph(graph_of(lstm(norm=True)), device(resident))
    text = print_program(program)
    parsed = verify_program(parse_program(text, program.constants, program.device))
    assert print_program(parsed) == text
    assert parsed.states == program.states
    assert parsed.buffers == program.buffers


@pytest.mark.parametrize("changes", TIMING_VARIANTS.values(), ids=list(TIMING_VARIANTS))
@pytest.mark.parametrize("resident", [False, True])
def test_both_timing_engines_agree(changes: dict[str, Any], resident: bool) -> None:
    content = device_dict(scratchpad_bytes=1 << 13)
    content["scratchpad"]["resident_weights"] = resident
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        (content[section] if section else content)[name] = value
    made = device_from_dict(content, "timing")
    program = compile_graph(graph_of(lstm(peephole=True)), made)
    point, pace = made.operating_point(), pace_of(made)
    plans = plan_program(program, point)
    timing, events = time_plans(plans, pace), simulate_plans(plans, pace)
    assert tuple((c.start_cycle, c.end_cycle) for c in timing.commands) == events.borders
    assert timing.cycles == sum(timing.by_cause().values()) > 0
