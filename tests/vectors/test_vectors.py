"""The cases: equal to the naive references and to the runtimes, and hard on purpose."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tflite
from tflite_of_graph import possible_files, tflite_of, tflite_of_all

from simulator.crosscheck.runtimes import RUNTIMES, Entry
from simulator.errors import CrosscheckError, UsageError
from simulator.ops import node_evidence, operator, operator_names, reference_values
from simulator.profiles import PROFILES, RUN
from simulator.program.commands import Matmul
from simulator.vectors import CASES, make_cases
from simulator.vectors.build import EMPTY, INTEGERS, Case
from simulator.vectors.generate import solve

# Outputs compared with the runtime for each operator and profile; NPUSIM_ADVERSARIAL_OUTPUTS=1000000 makes
# it a million.
OUTPUTS = int(os.environ.get("NPUSIM_ADVERSARIAL_OUTPUTS", "2000"))
_TOGETHER = 40  # cases in one file
PRODUCTS = ("conv_2d", "depthwise_conv_2d", "fully_connected", "batch_matmul")
NUMBERS_ALONE = ("cast", "div", "floor_div", "sqrt")
# By erfcf and tanhf, which the newest C libraries alone round correctly, as we do.
FILLED_BY_LIBRARY = ("gelu", "tanh")
# XNNPACK takes the node, and then refuses it or leaves its shape undefined.
UNDEFINED_EMPTY = {("max_pool_2d", "xnnpack")}
ONNX = "onnxruntime"


def known_by_run(profile: str) -> list[str]:
    """Operators that the profile's runtime confirms."""
    names = [name for name in CASES if name in operator_names(profile)]
    return [
        name
        for name in names
        if operator(name, profile).PROFILES.get(profile, "").split()[0:1] == [RUN]
    ]


# Operator and profile, where a test can ask the profile's runtime.
RUNS = [
    (name, profile)
    for profile, known in PROFILES.items()
    if known.runtime.startswith("litert")
    for name in known_by_run(profile)
]
PAIRS = [
    (name, profile)
    for profile in PROFILES
    for name in CASES
    if name in operator_names(profile)
    and not (profile == "qonnx" and name in ("transpose_conv", "batch_matmul"))
]


def test_every_operator_has_cases() -> None:
    assert set(CASES) == {name for profile in PROFILES for name in operator_names(profile)}


def naive(case: Case) -> dict[str, np.ndarray]:
    """The outputs by the operator's definition, call by call."""
    graph, (node,) = case.graph, case.graph.nodes
    states = {state.name: graph.constants[state.name] for state in graph.states}
    found: dict[str, list[np.ndarray]] = {name: [] for name in graph.outputs}
    for call in range(max(case.calls, 1)):
        given = {name: v[call] if case.calls else v for name, v in case.inputs.items()}
        values = [v for name in node.inputs if (v := {**states, **given}.get(name)) is not None]
        with np.errstate(all="ignore"):  # float32 references of large scales pass through infinity
            made = dict(zip(node.outputs, reference_values(graph, node, values), strict=True))
        states = {state.name: made[state.following] for state in graph.states}
        for name, rows in found.items():
            rows.append(made[name])
    return {name: np.stack(rows) if case.calls else rows[0] for name, rows in found.items()}


@pytest.mark.parametrize(("name", "profile"), PAIRS)
def test_outputs_equal_the_naive_reference(name: str, profile: str) -> None:
    for case in make_cases(name, profile, 2 * len(CASES[name].kinds), seed=4):
        assert case.graph.profile == profile
        if case.kind == EMPTY:
            continue
        expected = naive(case)
        for output, got in solve(case).outputs.items():
            assert got.dtype == case.graph.spec(output).container
            np.testing.assert_array_equal(got, expected[output], f"{name}, {profile}, {case.kind}")


class Asked(NamedTuple):
    """A runtime with files of cases."""

    entry: Entry
    folder: Path

    def outputs(
        self, content: bytes, feeds: list[dict[str, np.ndarray]]
    ) -> list[dict[str, np.ndarray]]:
        """All outputs of each call in turn, by their name in the file."""
        path = self.folder / "case.tflite"
        path.write_bytes(content)
        runner = self.entry.open(path)
        found = []
        for feed in feeds:
            keys = read_keys(content)
            values = runner.run({keys[n]: v for n, v in feed.items()}, list(keys.values()))
            found.append({n: values[k] for n, k in keys.items() if k in values})
        return found


def read_keys(content: bytes) -> dict[str, int]:
    """Numbers of a file's tensors by their names; the reader of models need not take the file."""
    graph = tflite.Model.GetRootAs(content, 0).Subgraphs(0)
    assert graph is not None
    names: list[Any] = [graph.Tensors(i).Name() for i in range(graph.TensorsLength())]  # type: ignore[union-attr]
    borders: list[Any] = [graph.InputsAsNumpy(), graph.OutputsAsNumpy()]
    wanted = {int(i) for numbers in borders for i in numbers}
    return {name.decode(): i for i, name in enumerate(names) if i in wanted}


def compared(asked: Asked, cases: list[Case]) -> int:
    """Outputs of ``cases``, all equal to the runtime's; those without states in one file."""
    together = {f"{i}/": case for i, case in enumerate(cases) if not case.calls}
    count = 0
    if together:
        feed = {p + n: v for p, case in together.items() for n, v in case.inputs.items()}
        content = tflite_of_all({p: case.graph for p, case in together.items()})
        (found,) = asked.outputs(content, [feed])
        for prefix, case in together.items():
            for name, got in solve(case).outputs.items():
                _hold_equal(case, got, found[prefix + name])
                count += got.size
    for case in (c for c in cases if c.calls):
        feeds = [{n: v[call] for n, v in case.inputs.items()} for call in range(case.calls)]
        found = asked.outputs(tflite_of(case.graph), feeds)
        for name, got in solve(case).outputs.items():
            expected = np.stack([values[name] for values in found])
            _hold_equal(case, got, expected)
            count += got.size
    return count


def _hold_equal(case: Case, ours: np.ndarray, theirs: np.ndarray) -> None:
    """All bits; of tables that the C library fills a code may be one off, as the library's last bit is."""
    if case.graph.name in FILLED_BY_LIBRARY and ours.dtype.kind in "iu":
        apart = np.abs(ours.astype(np.int64) - theirs)
        assert apart.max() <= 1
        assert apart.sum() <= max(2, ours.size // 100)
        return
    np.testing.assert_array_equal(ours, theirs, f"{case.kind} {case.graph}")


@pytest.mark.parametrize(("name", "profile"), RUNS)
def test_outputs_equal_the_runtime(name: str, profile: str, tmp_path: Path) -> None:
    pytest.importorskip(
        "ai_edge_litert", reason="the reference runtime is an extra: npusim[verify]"
    )
    asked, count, seed = Asked(RUNTIMES[PROFILES[profile].runtime], tmp_path), 0, 5
    while count < asked_for(name, profile):
        cases = make_cases(name, profile, _TOGETHER, seed=seed)
        count += compared(asked, [case for case in cases if case.kind != EMPTY])
        seed += 1


def asked_for(name: str, profile: str) -> int:
    """Outputs to compare: fewer of operators that only move codes."""
    moves = operator(name, profile).COMMAND.startswith(("move", "a move", "none", "host"))
    return min(OUTPUTS, 20_000) if moves else OUTPUTS


@pytest.mark.parametrize("name", known_by_run(ONNX))
def test_outputs_equal_onnxruntime(name: str) -> None:
    runtime = pytest.importorskip(ONNX, reason="the reference runtime is an extra: npusim[verify]")
    from onnx_of_graph import as_ours, in_file, onnx_of_all

    from simulator.crosscheck.onnxruntime import pairs_saturate

    if pairs_saturate() and name in PRODUCTS:
        pytest.skip("this processor has no VNNI: the runtime saturates sums of two products")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    count, seed, wanted = 0, 5, asked_for(name, ONNX)
    while count < wanted:
        drawn = make_cases(name, ONNX, _TOGETHER, seed=seed)
        cases = {
            f"{i}/": case
            for i, case in enumerate(drawn)
            if case.kind != EMPTY and node_evidence(case.graph, case.graph.nodes[0]) == RUN
        }
        session = runtime.InferenceSession(
            onnx_of_all({prefix: case.graph for prefix, case in cases.items()}), options,
            providers=["CPUExecutionProvider"],
        )  # fmt: skip
        feed = {
            prefix + n: in_file(case.graph, v)
            for prefix, case in cases.items()
            for n, v in case.inputs.items()
        }
        names = [value.name for value in session.get_outputs()]
        found = dict(zip(names, session.run(names, feed), strict=True))
        for prefix, case in cases.items():
            for output, ours in solve(case).outputs.items():
                theirs = as_ours(case.graph, found[prefix + output])
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs, f"{case.kind} {case.graph}")
                count += ours.size
        seed += 1


@pytest.mark.parametrize(("name", "profile"), [p for p in RUNS if p not in UNDEFINED_EMPTY])
def test_of_nothing_the_runtime_makes_nothing(name: str, profile: str, tmp_path: Path) -> None:
    pytest.importorskip(
        "ai_edge_litert", reason="the reference runtime is an extra: npusim[verify]"
    )
    asked = Asked(RUNTIMES[PROFILES[profile].runtime], tmp_path)
    kinds = CASES[name].kinds
    for case in make_cases(name, profile, 2 * len(kinds), seed=6):
        if case.kind != EMPTY:
            continue
        shapes = {n: v.shape for n, v in solve(case).outputs.items()}
        found = []
        for content in possible_files(case.graph):
            with suppress(CrosscheckError):  # that padding gives another shape
                (values,) = asked.outputs(content, [dict(case.inputs)])
                found.append({n: values[n].shape for n in shapes})
        assert shapes in found, case.graph


def test_case_i_depends_on_the_seed_and_i_alone() -> None:
    few, many = make_cases("conv_2d", count=3, seed=1), make_cases("conv_2d", count=9, seed=1)
    other = make_cases("conv_2d", count=3, seed=2)
    for a, b, c in zip(few, many, other, strict=False):
        assert np.array_equal(a.inputs["x"], b.inputs["x"])
        assert a.graph.nodes == b.graph.nodes
        assert not np.array_equal(a.graph.constants["w"], c.graph.constants["w"])


def eight_bits(case: Case) -> dict[str, np.ndarray]:
    """The inputs that are 8-bit codes."""
    known = {n: case.graph.tensors[n] for n in case.inputs}
    return {
        n: case.inputs[n] for n, t in known.items() if t.spec.dtype in INTEGERS and t.quantization
    }


@pytest.mark.parametrize("name", [name for name in CASES if name in operator_names()])
def test_kinds_take_turns_and_are_what_they_say(name: str) -> None:
    kinds = CASES[name].kinds
    assert {"random", "corners", "ones"} <= set(kinds)
    cases = make_cases(name, count=8 * len(kinds))
    assert Counter(c.kind for c in cases) == dict.fromkeys(kinds, 8)
    sizes: list[int] = []
    for case in cases:
        for tensor, values in eight_bits(case).items():
            spec = case.graph.spec(tensor)
            ends = {spec.minimum, spec.maximum}
            if case.kind == "corners" and name not in ("rsqrt", "detection_postprocess"):
                assert set(np.unique(values).tolist()) <= ends
            if case.kind == "zero_points" and tensor == "x" and name != "rsqrt":
                assert case.graph.quantization(tensor).zero_point in ends
        shapes = [case.graph.spec(n).shape for n in case.inputs]
        if case.kind == "ones":
            sizes += [size for shape in shapes for size in shape]
        assert any(0 in shape for shape in shapes) == (case.kind == EMPTY)
    if name != "detection_postprocess":
        assert sizes.count(1) >= len(sizes) / 3
    assert sum(bool(eight_bits(c)) for c in cases) > len(cases) / 8 or name in NUMBERS_ALONE


def off_by_an_ulp(name: str, kind: str, direction: float) -> tuple[int, int]:
    """(codes that change, codes) where the input's scale is one float32 number off."""
    changed = total = 0
    for case in make_cases(name, count=40 * len(CASES[name].kinds), seed=3):
        if case.kind != kind:
            continue
        x = case.graph.tensors["x"]
        if x.quantization is None:
            continue
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
        if program is None or case.graph.spec("x").dtype == "i16":
            continue
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
