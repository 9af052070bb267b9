"""Every tensor of real models equals LiteRT's, on devices so small that they must tile and spill."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from real_models import (
    MLPERF,
    Reference,
    graph_of,
    litert,
    ours,
    random_inputs,
    real_inputs,
)
from variants import split, unified, variant

from simulator.compiler import compile_graph
from simulator.hwconfig import Device
from simulator.program.commands import Host, Matmul, Vector
from simulator.program.nest import tile_count
from simulator.program.program import DRAM, Program

RANDOM, REAL = 100, 20
# Bytes of scratchpad: far less than the largest activation of each model.
ROOM = {"resnet": 4096, "kws": 2048, "vww": 4096, "ad01": 256, "str_ww": 1024, "digits": 1024}

each_model = pytest.mark.parametrize("model", [*MLPERF, "digits"])


def device_of(kind: str, room: int) -> Device:
    """Three dataflows, two layouts, both ways to treat zero points, odd arrays."""
    if kind == "weight-stationary":
        return variant("wear", {
            "array.rows": 7, "array.cols": 13, "accumulator.capacity_bytes": 1024,
            "scratchpad": unified(room),
        })  # fmt: skip
    if kind == "output-stationary":
        return variant("wear", {
            "array.rows": 7, "array.cols": 13, "array.dataflow": "output_stationary",
            "array.zero_point": "fold", "array.overflow": "wrap",
            "accumulator.capacity_bytes": 2048, "scratchpad": split(room, room, room // 2, 3),
        })  # fmt: skip
    return variant("ethos-u55-256", {
        "array.rows": 13, "array.cols": 7, "array.dataflow": "input_stationary",
        "array.zero_point": "fold", "accumulator": {"capacity_bytes": 512, "buffers": 1},
        "scratchpad": unified(room, buffers=1),
    })  # fmt: skip


DEVICES = ("weight-stationary", "output-stationary", "input-stationary")


@cache
def reference(model: str) -> Reference:
    inputs = np.concatenate([random_inputs(model, RANDOM), real_inputs(model, REAL)])
    return litert(model, inputs)


def assert_equal_tensors(program: Program, theirs: Reference, model: str) -> None:
    found = ours(program, graph_of(model), theirs.inputs)
    assert set(found) == set(theirs.tensors)
    for name, values in theirs.tensors.items():
        different = int((found[name] != values).sum())
        assert (name, different) == (name, 0)


@each_model
def test_every_operator_of_the_file_is_compared(model: str) -> None:
    graph = graph_of(model)
    assert len(reference(model).tensors) + len(graph.fused) == reference(model).operators


@each_model
@pytest.mark.parametrize("kind", DEVICES)
def test_tiled_and_spilled_tensors_equal_litert(model: str, kind: str) -> None:
    program = compile_graph(graph_of(model), device_of(kind, ROOM[model]))
    nests = [c.nest for c in program.commands if isinstance(c, Matmul | Vector)]
    spilled = [c.ofmap for c in program.commands if c.ofmap not in program.outputs]
    spilled = [name for name in spilled if program.placements[name].region == DRAM]
    # Otherwise this test would not show that tiles and spills change no bit.
    assert spilled
    assert sum(tile_count(nest) > 1 for nest in nests) >= 5
    assert not any(isinstance(c, Host) for c in program.commands)
    assert_equal_tensors(program, reference(model), model)


@each_model
def test_unspilled_tensors_equal_litert(model: str) -> None:
    program = compile_graph(graph_of(model), variant("fsd", {"array.overflow": "saturate"}))
    regions = {program.placements[c.ofmap].region for c in program.commands[:-1]}
    assert regions == {"unified"}
    assert_equal_tensors(program, reference(model), model)


@pytest.mark.parametrize("kind", DEVICES)
@pytest.mark.parametrize(
    ("model", "room"),
    [("mobilenet_v1", 16384), ("hello_world", 256), ("micro_speech", 1024)],
)
def test_other_models_equal_litert(model: str, room: int, kind: str) -> None:
    program = compile_graph(graph_of(model), device_of(kind, room))
    assert_equal_tensors(program, litert(model, random_inputs(model, 5)), model)


def test_mobilenet_v2_equals_litert() -> None:
    # Its uint8 weights have a zero point, so a device that folds runs every product on the host.
    program = compile_graph(
        graph_of("mobilenet_v2"),
        variant("ethos-u55-256", {"array.rows": 7, "array.cols": 13}),
    )
    assert sum(p.region == DRAM for p in program.placements.values()) > 20
    inputs = random_inputs("mobilenet_v2", 2)
    assert_equal_tensors(program, litert("mobilenet_v2", inputs), "mobilenet_v2")
