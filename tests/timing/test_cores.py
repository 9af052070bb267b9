"""Several cores: the same values, the recurrence where nobody contends, and shares of the DRAM."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from every_command import network
from random_devices import device_dict
from random_plans import random_plans
from real_models import graph_of
from variants import TIMING_VARIANTS, variant

from simulator.cli import main
from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.energy.counts import count_program
from simulator.explore.scaling import scaling
from simulator.hwconfig import Device, device_from_dict, load_device, with_keys
from simulator.npu import load_model, simulate
from simulator.program.traffic import VECTOR
from simulator.report.trace import trace_of
from simulator.timing import plan as columns
from simulator.timing.cores import time_copies, time_device
from simulator.timing.events import simulate_copies, simulate_plans, simulate_team
from simulator.timing.pipeline import time_cores, time_plans
from simulator.timing.plan import COLUMNS, CommandPlan, Pace, pace_of, plan_program
from simulator.timing.spans import TRACKS

PACE = Pace(buffers=2, accumulator_buffers=2, serial=False)


def loads(*cycles: int, busy: float) -> list[CommandPlan]:
    """One command of the vector unit that takes no time, whose tiles load for so many cycles."""
    rows = np.zeros((len(cycles), COLUMNS), np.int64)
    rows[:, columns.OPERANDS] = cycles
    rows[:, columns.DRAM_IN] = [round(busy * c) for c in cycles]
    rows[:, columns.FIRST_K] = rows[:, columns.LAST_K] = 1
    return [CommandPlan(VECTOR, rows, 0, 0)]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("cores", "ends"),
    [
        ([loads(10, busy=1)], [10]),
        # Two who want all of it: half each. Two who want half: both at full speed.
        ([loads(10, busy=1), loads(10, busy=1)], [20, 20]),
        ([loads(10, busy=0.5), loads(10, busy=0.5)], [10, 10]),
        # 0.2 is met, the other has 0.8 until @10, then all: 8 + 12 of 20.
        ([loads(10, busy=0.2), loads(20, busy=1)], [10, 22]),
        # Half each until the short one is done @20; the other has 20 left.
        ([loads(10, busy=1), loads(30, busy=1)], [20, 40]),
        # Three: a third each until @30, then half each for the 10 left of both, @50.
        ([loads(10, busy=1), loads(20, busy=1), loads(20, busy=1)], [30, 50, 50]),
        # One transfer after another on each bus.
        ([loads(5, 5, busy=1), loads(10, busy=1)], [20, 20]),
    ],
)  # fmt: skip
def test_shares_of_the_dram(cores: list[list[CommandPlan]], ends: list[int]) -> None:
    assert [timing.cycles for timing in simulate_team(cores, PACE)] == ends


@pytest.mark.golden
def test_refreshes_hold_all_up() -> None:
    """8 of every 10 cycles are open: 20 cycles of transfer end after two refreshes and 4 more cycles."""
    cores = [loads(10, busy=1), loads(10, busy=1)]
    found = simulate_team(cores, PACE._replace(interval=10, refresh=2))
    assert [timing.cycles for timing in found] == [24, 24]


@pytest.mark.parametrize("seed", range(200))
def test_a_dram_that_nobody_waits_for(seed: int) -> None:
    """Without demand on the DRAM a team's events are the recurrence's, core by core and tile by tile."""
    rng = np.random.default_rng(seed)
    plans, pace = random_plans(rng)
    cores = [plans]
    for _ in range(int(rng.integers(1, 4))):
        other = [
            plan if rng.integers(2) else plan._replace(tiles=plan.tiles[:0], prefetch_cycles=0)
            for plan in plans
        ]
        cores.append(
            [p._replace(alone_cycles=0) if p.alone_cycles else p for p in other]
        )  # fmt: skip
    events = simulate_team(cores, pace)
    for timing, own in zip(time_cores(cores, pace), events, strict=True):
        assert [(c.start_cycle, c.end_cycle) for c in timing.commands] == list(own.borders)
        for command, spans in zip(timing.commands, own.spans, strict=True):
            assert np.array_equal(command.spans, spans)


@pytest.mark.parametrize("seed", range(100))
def test_contention_only_delays(seed: int) -> None:
    """Never faster than alone, and never faster than the DRAM."""
    plans, pace = random_plans(np.random.default_rng(seed))
    plans = [p for p in plans if not p.alone_cycles]
    if not plans:
        return
    for plan in plans:
        plan.tiles[:, columns.DRAM_IN] = plan.tiles[:, columns.OPERANDS]
        plan.tiles[:, columns.DRAM_OUT] = plan.tiles[:, columns.RESULT]
    plans = [p._replace(prefetch_dram=p.prefetch_cycles) for p in plans]
    plans[0] = plans[0]._replace(prefetch_cycles=0)  # nothing runs before it
    alone = time_plans(plans, pace).cycles
    assert simulate_plans(plans, pace).cycles == alone
    busy = sum(
        int(p.tiles[:, [columns.OPERANDS, columns.RESULT]].sum()) for p in plans
    ) + sum(p.prefetch_cycles for p in plans[1:])  # fmt: skip
    for copies in (1, 2, 3):
        together = max(t.cycles for t in simulate_copies(plans, copies, pace))
        assert together >= alone
        assert together >= copies * busy
        if not pace.refresh:  # which may come between
            assert together <= copies * alone + copies * len(plans)


def many(base: str, cores: int, shared: bool, **changes: Any) -> Device:
    return with_keys(variant(base, changes), {"cores": cores, "shared_scratchpad": shared})


CASES = [
    ("wear", "digits", {}), ("ethos-u55-256", "resnet", {}), ("ethos-u55-256", "vww", {}),
    ("gap9", "kws", TIMING_VARIANTS["memory"]), ("gap9", "resnet", TIMING_VARIANTS["serial"]),
]  # fmt: skip


@pytest.mark.parametrize("shared", [False, True], ids=["private", "shared"])
@pytest.mark.parametrize("cores", [2, 3, 8])
@pytest.mark.parametrize(("base", "model", "changes"), CASES, ids=[f"{b}-{m}" for b, m, _ in CASES])
def test_real_models(
    base: str, model: str, changes: dict[str, Any], cores: int, shared: bool
) -> None:
    """Same work, same values; every cycle has a cause; a trace of every core."""
    graph = graph_of(model)
    one, some = (simulate(graph, many(base, n, shared, **changes)) for n in (1, cores))
    assert some.totals.macs == one.totals.macs
    timing = some.timing
    assert len(timing.cores) == cores
    assert timing.uncontended_cycles <= timing.cycles
    now = 0
    for command in timing.commands:
        assert command.start_cycle == now
        now = command.end_cycle
        assert sum(command.by_cause.values()) == command.cycles
        assert min(command.by_cause.values()) >= 0
    for core in range(cores):
        for track in TRACKS:
            own = sorted((s.start, s.end) for s in some.spans(core) if s.track == track)
            assert all(a[1] <= b[0] for a, b in pairwise(own))
    processes = {e["pid"] for e in trace_of(some)["traceEvents"]}
    assert processes == set(range(1, cores + 1))


@pytest.mark.parametrize("shared", [False, True], ids=["private", "shared"])
def test_every_kind_of_command(shared: bool) -> None:
    """Divided, the values are those of one core with the same tiles, saturating sums included."""
    x = np.random.default_rng(1).integers(-128, 128, (3, 1, 6, 6, 4), np.int8)
    content = device_dict(3, 2, 1 << 12)
    content["array"] |= {"accumulator_bits": 14, "overflow": "saturate"}
    content["dram"]["bandwidth_mb_per_s"] = 1e6
    one = device_from_dict(content, "one core")
    program = compile_graph(network(), with_keys(one, {"cores": 4, "shared_scratchpad": shared}))
    assert any(getattr(c, "split", "") for c in program.commands)
    counts = count_program(program, program.device.operating_point())
    assert sum(c.macs for c in counts) == 2 * 6 * 6 * 4 * 9 * 4
    whole = tuple(replace(c, split="") if hasattr(c, "split") else c for c in program.commands)
    alone = replace(program, device=one, commands=whole)
    divided, together = (Machine(p).run({"x": x}).outputs["y"] for p in (program, alone))
    assert np.array_equal(divided, together)


def test_cores_that_do_not_help_rest() -> None:
    """Where all would go through DRAM, one core alone is faster, and as fast as a device of one."""
    one, eight = (simulate(load_model("digits"), many("wear", n, False)) for n in (1, 8))
    assert eight.totals.cycles == one.totals.cycles
    assert not any(getattr(c, "split", "") for c in eight.program.commands)


def test_copies() -> None:
    program = compile_graph(graph_of("resnet"), load_device("ethos-u55-256"))
    point = program.device.operating_point()
    alone = time_device(program, point).cycles
    times = [time_copies(program, point, n) for n in (1, 2, 4, 8)]
    assert times[0] == alone
    assert times == sorted(times)
    plans = plan_program(program, point)
    busy = sum(
        int(p.tiles[:, [columns.DRAM_IN, columns.DRAM_OUT]].sum()) + p.prefetch_dram for p in plans
    )
    assert times[3] >= 8 * busy
    assert pace_of(program.device).refresh == 0


def test_the_scaling_report(capsys: pytest.CaptureFixture[str]) -> None:
    (one, four) = scaling(load_model("digits"), load_device("wear"), (1, 4), shared_scratchpad=True)
    assert (one.cores, one.divided, one.latency_cycles) == (1, 0, one.batch_cycles)
    assert four.latency_cycles < one.latency_cycles
    assert four.alone_cycles <= four.latency_cycles
    assert four.divided > 8
    assert four.batch_cycles >= one.batch_cycles == four.batch_alone_cycles
    assert (
        main(["scale", "digits", "--device", "wear", "--cores", "1,4", "--shared-scratchpad"]) == 0
    )
    text = capsys.readouterr().out
    assert f"{one.latency_cycles / four.latency_cycles:.2f}" in text
    for wrong in ("0", "1,x", "65"):
        assert main(["scale", "digits", "--device", "wear", "--cores", wrong]) == 2
        assert "allowed: " in capsys.readouterr().err
