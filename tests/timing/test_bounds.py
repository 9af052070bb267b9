"""What holds of any cycle count: lower bounds, and more of anything is never slower."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from random_plans import random_plans
from real_models import graph_of
from variants import TIMING_VARIANTS, variant

from simulator.compiler import compile_graph
from simulator.energy.counts import count_program
from simulator.program.program import Program
from simulator.timing import plan as columns
from simulator.timing.pipeline import time_plans, time_program

MODELS = ("resnet", "vww", "ad01", "micro_speech", "digits")
VARIANTS = ("serial", "ideal", "single", "narrow", "output-stationary", "input-stationary")


def programs(model: str) -> list[Program]:
    devices = [variant(base, {}) for base in ("wear", "ethos-u55-256", "fsd")]
    devices += [variant("gap9", TIMING_VARIANTS[name]) for name in VARIANTS]
    return [compile_graph(graph_of(model), device) for device in devices]


def cycles_of(program: Program, changes: dict[str, Any] | None = None) -> int:
    """Cycles of ``program``, its tiles as they are, on its device with ``changes`` by dotted key."""
    device = program.device
    for key, value in (changes or {}).items():
        section, name = key.split(".")
        inner = getattr(device, section).model_copy(update={name: value})
        device = device.model_copy(update={section: inner})
    return time_program(replace(program, device=device), device.operating_point()).cycles


@pytest.mark.parametrize("model", MODELS)
def test_lower_bounds(model: str) -> None:
    for program in programs(model):
        device, point = program.device, program.device.operating_point()
        counts = count_program(program, point)
        timing = time_program(program, point)
        pes = device.array.rows * device.array.cols
        for one, command in zip(counts, timing.commands, strict=True):
            assert command.cycles * pes >= one.macs
            assert command.by_cause["compute"] * pes >= one.macs
        moved = sum(c.dram_read_bytes + c.dram_write_bytes for c in counts)
        assert timing.cycles * device.dma.bytes_per_cycle >= moved
        assert timing.cycles / point.clock_mhz * device.dram.bandwidth_mb_per_s >= moved


@pytest.mark.parametrize(
    "changes",
    [
        {"dram.bandwidth_mb_per_s": 1e6}, {"vector.lanes": 4096},
        {"dma.bytes_per_cycle": 4096, "dram.bandwidth_mb_per_s": 1e6},
        {"dma.latency_cycles": 0}, {"scratchpad.read_bytes_per_cycle": 4096},
        {"accumulator.buffers": 8}, {"dma.burst_bytes": 1},
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("model", MODELS)
def test_more_is_never_slower(model: str, changes: dict[str, Any]) -> None:
    faster = 0
    for program in programs(model):
        before, after = cycles_of(program), cycles_of(program, changes)
        assert after <= before
        faster += after < before
    # A model of few output tiles may never wait for an accumulator buffer.
    assert faster or "accumulator.buffers" in changes


@pytest.mark.parametrize("model", MODELS)
def test_overlap_modes_are_ordered(model: str) -> None:
    for program in programs(model):
        serial, pipelined, ideal = (
            cycles_of(program, {"array.overlap": mode}) for mode in ("serial", "pipelined", "ideal")
        )
        assert ideal <= pipelined <= serial


def test_no_stage_of_a_plan_can_be_shortened_to_its_harm() -> None:
    rng = np.random.default_rng(0)
    durations = [
        columns.OPERANDS, columns.LOAD, columns.BODY, columns.LAST, columns.VECTOR, columns.RESULT
    ]  # fmt: skip
    for seed in range(300):
        plans, pace = random_plans(np.random.default_rng(seed))
        before = time_plans(plans, pace).cycles
        for plan in plans:
            for row in plan.tiles:
                column = durations[rng.integers(len(durations))]
                # A transfer stays one: without it, others change their turn.
                row[column] = max(row[column] // 2, min(row[column], 1))
        assert time_plans(plans, pace).cycles <= before
