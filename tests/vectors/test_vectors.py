"""The cases: equal to the naive references and to the runtimes, and hard on purpose."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tflite_of_graph import tflite_of

from simulator.crosscheck.runtimes import RUNTIMES
from simulator.errors import ModelError, UsageError
from simulator.importers.tflite import read_tflite
from simulator.ops import operator, operator_names, reference_values
from simulator.profiles import PROFILES, RUN
from simulator.program.commands import Matmul
from simulator.tensor import TensorSpec
from simulator.vectors import CASES, make_cases
from simulator.vectors.generate import solve

COUNT = 36
# Operator and profile, where a test can ask the profile's runtime.
RUNS = [
    (name, profile)
    for name in CASES
    for profile, how in operator(name).PROFILES.items()
    if how == RUN and PROFILES[profile].runtime.startswith("litert")
]


def test_cases_are_of_operators() -> None:
    assert set(CASES) <= set(operator_names())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("profile", PROFILES)
def test_outputs_equal_the_naive_reference(name: str, profile: str) -> None:
    if profile == "qonnx" and operator(name).COMMAND == "matmul":
        with pytest.raises(ModelError, match="in profile qonnx codes of at most 8 bits, compared"):
            make_cases(name, profile, 1)
        return
    for case in make_cases(name, profile, 2 * len(CASES[name].kinds), seed=4):
        (node,) = case.graph.nodes
        assert case.graph.profile == profile
        with np.errstate(over="ignore"):  # float32 references of large scales pass through infinity
            expected = reference_values(case.graph, node, list(case.inputs.values()))
        got = solve(case).outputs["y"]
        assert got.dtype == case.graph.spec("y").container
        np.testing.assert_array_equal(got, expected[0], f"{name}, {profile}, {case.kind}")


@pytest.mark.parametrize(("name", "profile"), RUNS)
def test_outputs_equal_the_runtime(name: str, profile: str, tmp_path: Path) -> None:
    pytest.importorskip(
        "ai_edge_litert", reason="the reference runtime is an extra: npusim[verify]"
    )
    path, compared = tmp_path / "case.tflite", 0
    for case in make_cases(name, profile, COUNT, seed=5):
        content = tflite_of(case.graph)
        path.write_bytes(content)
        keys = {n: t.key for n, t in read_tflite(content, "case").tensors.items()}
        runtime = RUNTIMES[PROFILES[profile].runtime].open(path)
        found = runtime.run({keys[n]: v for n, v in case.inputs.items()}, [keys["y"]])
        got = solve(case).outputs["y"]
        np.testing.assert_array_equal(got, found[keys["y"]], f"{name}, {profile}, {case.kind}")
        compared += got.size
    assert compared > 50


def test_case_i_depends_on_the_seed_and_i_alone() -> None:
    few, many = make_cases("conv_2d", count=3, seed=1), make_cases("conv_2d", count=9, seed=1)
    other = make_cases("conv_2d", count=3, seed=2)
    for a, b, c in zip(few, many, other, strict=False):
        assert np.array_equal(a.inputs["x"], b.inputs["x"])
        assert a.graph.nodes == b.graph.nodes
        assert not np.array_equal(a.graph.constants["w"], c.graph.constants["w"])


@pytest.mark.parametrize("name", CASES)
def test_kinds_take_turns_and_are_what_they_say(name: str) -> None:
    kinds = CASES[name].kinds
    assert {"random", "corners", "zero_points", "ones"} <= set(kinds)
    cases = make_cases(name, count=8 * len(kinds))
    assert Counter(c.kind for c in cases) == dict.fromkeys(kinds, 8)
    sizes = []
    for case in cases:
        spec = case.graph.spec("x")
        ends = TensorSpec((), spec.dtype)
        ends = {ends.minimum, ends.maximum}
        if case.kind == "corners":
            assert set(np.unique(case.inputs["x"]).tolist()) <= ends
        if case.kind == "zero_points":
            assert case.graph.quantization("x").zero_point in ends
        if case.kind == "ones":
            sizes += spec.shape
    assert sizes.count(1) >= len(sizes) / 2
    dtypes = {c.graph.spec("x").dtype for c in cases}
    assert dtypes == {"sum": {"u8"}, "exp": {"i8"}}.get(name, {"i8", "u8"})


def off_by_an_ulp(name: str, kind: str, direction: float) -> tuple[int, int]:
    """(codes that change, codes) where the input's scale is one float32 number off."""
    changed = total = 0
    for case in make_cases(name, count=40 * len(CASES[name].kinds), seed=3):
        if case.kind != kind:
            continue
        x = case.graph.tensors["x"]
        assert x.quantization is not None
        beside = float(np.nextafter(np.float32(x.quantization.scale), np.float32(direction)))
        moved = replace(x, quantization=replace(x.quantization, scales=(beside,)))
        graph = replace(case.graph, tensors={**case.graph.tensors, "x": moved})
        one, two = solve(case).outputs["y"], solve(replace(case, graph=graph)).outputs["y"]
        changed, total = changed + int((one != two).sum()), total + one.size
    return changed, total


@pytest.mark.parametrize("name", ["conv_2d", "depthwise_conv_2d", "fully_connected", "quantize"])
@pytest.mark.parametrize("direction", [0.0, np.inf])
def test_one_float32_number_more_or_less_changes_codes(name: str, direction: float) -> None:
    changed, total = off_by_an_ulp(name, "one_ulp", direction)
    assert changed > 10, (changed, total)
    random, _ = off_by_an_ulp(name, "random", direction)
    assert random < changed / 4


@pytest.mark.parametrize("name", ["conv_2d", "depthwise_conv_2d", "fully_connected"])
def test_corners_fill_the_accumulators_and_keep_within_int32(name: str) -> None:
    largest = 0
    for case in make_cases(name, count=120):
        if case.kind != "corners":
            continue
        program = solve(case).program
        (command,) = program.commands
        assert isinstance(command, Matmul)
        weights = np.abs(program.constants[command.weights].astype(int) - command.weight_offset)
        reach = weights.sum(axis=(1, 2, 3)).reshape(-1) * 255
        bound = reach + np.abs(program.constants[command.bias])
        largest = max(largest, int(bound.max()))
        assert bound.max() < 2**31
    assert largest > 2**30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lstm",), "vectors: operator 'lstm'; allowed: " + ", ".join(sorted(CASES))),
        (("add", "float"), "profile: 'float'; allowed: " + ", ".join(PROFILES)),
        (("add", "tflite", 0), "count: 0; allowed: 1..10000"),
        (("add", "tflite", 10_001), "count: 10001; allowed: 1..10000"),
        (("add", "tflite", 1, -1), "seed: -1; allowed: at least 0"),
    ],
)  # fmt: skip
def test_wrong_arguments(arguments: tuple, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        make_cases(*arguments)
    assert str(raised.value) == message
