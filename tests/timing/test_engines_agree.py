"""The recurrence and SimPy give the same cycle for everything, and every cycle has a cause."""

from __future__ import annotations

import numpy as np
import pytest
from random_plans import random_plans
from real_models import SHARED, graph_of
from variants import TIMING_VARIANTS, variant

from simulator.compiler import compile_graph
from simulator.errors import CompileError
from simulator.hwconfig import device_names, load_device
from simulator.npu import load_model
from simulator.timing.events import EventTiming, simulate_plans
from simulator.timing.pipeline import time_plans
from simulator.timing.plan import CommandPlan, Pace, pace_of, plan_program
from simulator.timing.result import CAUSES, Timing

CASES = 1000
MODELS = ("resnet", "kws", "vww", "ad01", "str_ww", "micro_speech", "hello_world", "digits")
BASES = ("wear", "ethos-u55-256")
FLOAT = (
    "ad01_fp32", "kws_ref_model_float32", "pretrainedResnet", "vww_96_float"
)  # not quantized  # fmt: skip
FILES_OF_ALL = sorted(
    path.relative_to(SHARED).as_posix()
    for pattern in ("*.tflite", "*.onnx") for path in SHARED.rglob(pattern) if path.stem not in FLOAT
)  # fmt: skip


def assert_explained(timing: Timing) -> None:
    """Commands follow each other; causes are not negative and sum to the cycles."""
    now = 0
    for command in timing.commands:
        assert command.start_cycle == now
        now = command.end_cycle
        assert set(command.by_cause) == set(CAUSES)
        assert min(command.by_cause.values()) >= 0
        assert sum(command.by_cause.values()) == command.cycles
    assert timing.cycles == now == sum(timing.by_cause().values())


def assert_same(timing: Timing, events: EventTiming) -> None:
    borders = tuple((c.start_cycle, c.end_cycle) for c in timing.commands)
    assert borders == events.borders
    for command, spans in zip(timing.commands, events.spans, strict=True):
        assert np.array_equal(command.spans, spans)


def check(plans: list[CommandPlan], pace: Pace) -> Timing:
    timing = time_plans(plans, pace)
    assert_explained(timing)
    assert_same(timing, simulate_plans(plans, pace))
    return timing


def test_random_plans() -> None:
    seen: dict[str, int] = dict.fromkeys(CAUSES, 0)
    for seed in range(CASES):
        plans, pace = random_plans(np.random.default_rng(seed))
        for cause, cycles in check(plans, pace).by_cause().items():
            seen[cause] += cycles > 0
    assert min(seen.values()) > CASES // 10  # else the plans leave a branch out


@pytest.mark.parametrize("changes", TIMING_VARIANTS.values(), ids=list(TIMING_VARIANTS))
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("model", MODELS)
def test_models(model: str, base: str, changes: dict) -> None:
    device = variant(base, changes)
    point = device.operating_point()
    plans = plan_program(compile_graph(graph_of(model), device, point), point)
    check(plans, pace_of(device))


@pytest.mark.parametrize("base", ["fsd", "gap9", "edge-stick", "tpuv1"])
def test_shipped_devices(base: str) -> None:
    device = variant(base, {})
    point = device.operating_point()
    for model in ("digits", "resnet"):
        plans = plan_program(compile_graph(graph_of(model), device, point), point)
        check(plans, pace_of(device))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs models that are not part of the project")
@pytest.mark.parametrize("file", FILES_OF_ALL)
def test_every_model_on_every_device(file: str) -> None:
    """All quantized models of the shared data on all shipped devices that take them."""
    graph, refused = load_model(SHARED / file), 0
    for name in device_names():
        device = load_device(name)
        point = device.operating_point()
        try:
            program = compile_graph(graph, device, point)
        except CompileError:
            refused += 1
            continue
        check(plan_program(program, point), pace_of(device))
    # A resize keeps two rows of its input, which of DeepLab's last one is too much for seven devices.
    assert refused == (7 if "deeplab" in file else 0)


@pytest.mark.parametrize("changes", [{}, TIMING_VARIANTS["serial"]], ids=["pipelined", "serial"])
def test_a_large_model(changes: dict) -> None:
    device = variant("edge-stick", changes)
    point = device.operating_point()
    plans = plan_program(compile_graph(graph_of("mobilenet_v2"), device, point), point)
    check(plans, pace_of(device))
