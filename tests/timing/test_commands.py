"""Every kind of command runs in all three engines: values, cycles, energy."""

from __future__ import annotations

import math
from typing import get_args

import every_command
import numpy as np
import pytest

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.energy.counts import count_program
from simulator.energy.model import EnergyModel
from simulator.npu import simulate
from simulator.program.commands import Command, Host, Matmul, Move, Vector
from simulator.program.program import Program
from simulator.timing.events import simulate_events
from simulator.timing.pipeline import time_program
from simulator.timing.result import OPERANDS_END

GRAPH = every_command.network()
ROOMY, TIGHT = 1 << 16, 384


def program_of(softmax: bool, room: int = ROOMY) -> Program:
    return compile_graph(GRAPH, every_command.device(softmax, room))


def kinds(program: Program) -> set[type]:
    return {type(command) for command in program.commands}


def values(program: Program, batch: int = 3) -> np.ndarray:
    x = np.random.default_rng(1).integers(-128, 128, (batch, 1, 6, 6, 4), np.int8)
    return Machine(program).run({"x": x}).outputs["y"]


def test_the_network_has_every_kind_of_command() -> None:
    assert kinds(program_of(softmax=False)) == set(get_args(Command))
    assert kinds(program_of(softmax=True)) == {Matmul, Vector, Move}


@pytest.mark.parametrize("room", [ROOMY, TIGHT], ids=["roomy", "tight"])
@pytest.mark.parametrize("kind", get_args(Command))
def test_every_command_costs_cycles_and_energy(kind: type, room: int) -> None:
    program = program_of(softmax=False, room=room)
    point = program.device.operating_point()
    timing, events = time_program(program, point), simulate_events(program, point)
    counts, model = count_program(program, point), EnergyModel(program.device, point)
    found = [i for i, command in enumerate(program.commands) if isinstance(command, kind)]
    assert found
    for i in found:
        cycles = timing.commands[i].cycles
        assert cycles > 0
        assert events.borders[i] == (timing.commands[i].start_cycle, timing.commands[i].end_cycle)
        energy = model.command_pj(counts[i], cycles)
        # Leakage and idle power flow in any case; something must have been done besides.
        assert sum(energy.values()) > energy["leakage"] + energy["idle"] + energy["instruction"]


def test_tiles_spills_and_the_host_change_no_value() -> None:
    expected = values(program_of(softmax=True))
    for softmax in (True, False):
        for room in (ROOMY, TIGHT):
            assert np.array_equal(values(program_of(softmax, room)), expected)


def test_the_host_is_neither_free_nor_silent() -> None:
    device = every_command.device(softmax=False)
    result = simulate(GRAPH, device)
    (command,) = (c for c in result.program.commands if isinstance(c, Host))
    (layer,) = (x for x in result.layers if x.operator == "softmax")
    host, point = device.host, device.operating_point()
    seconds = host.call_latency_s + command.operations / host.operations_per_s
    assert command.operations == 6 * 6 * 4 * 35  # 35 operations for each element
    assert layer.cycles == math.ceil(seconds * point.clock_mhz * 1e6)
    assert layer.cycles_by_cause["host"] == layer.cycles
    assert result.cycles_by_cause["host"] == layer.cycles
    assert layer.energy_by_component_pj["host"] == command.operations * host.operation_pj
    assert layer.dram_bytes == 2 * 6 * 6 * 4
    assert "softmax" in layer.note


def test_moves_are_charged_where_they_go() -> None:
    program = program_of(softmax=False)
    counts = count_program(program, program.device.operating_point())
    pad, reshape = (
        next(c for k, c in zip(program.commands, counts, strict=True) if k.operator == operator)
        for operator in ("pad", "reshape")
    )
    # PAD: 6 x 6 x 4 bytes on chip become 8 x 8 x 4.
    assert (pad.scratchpad_read_bits, pad.scratchpad_write_bits) == (8 * 144, 8 * 256)
    assert pad.dram_read_bytes == pad.dram_write_bytes == pad.wire_bits == 0
    # RESHAPE of what the host left in DRAM to the output, in DRAM too.
    assert reshape.scratchpad_read_bits == reshape.scratchpad_write_bits == 0
    assert (reshape.dram_read_bytes, reshape.dram_write_bytes) == (144, 144)


def test_a_spilled_pad_reads_only_what_there_is() -> None:
    program = program_of(softmax=True, room=TIGHT)
    index = next(i for i, c in enumerate(program.commands) if c.operator == "pad")
    assert program.commands[index].streams.inputs == (True,)
    counts = count_program(program, program.device.operating_point())
    assert counts[index].dram_read_bytes == 144
    timing = time_program(program, program.device.operating_point()).commands[index]
    # 144 bytes at 8 bytes per cycle.
    assert timing.spans[0, OPERANDS_END] == timing.start_cycle + 18
