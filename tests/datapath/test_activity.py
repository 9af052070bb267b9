"""Zeros and changing bits, against loops over single products; and what they do to a run's energy."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from real_models import graph_of
from variants import variant

from simulator.cli import main
from simulator.compiler import compile_graph
from simulator.datapath.activity import activity
from simulator.errors import UsageError
from simulator.hwconfig import DATAFLOWS, load_device
from simulator.npu import load_model, simulate
from simulator.program.activity import Activity
from simulator.program.commands import Matmul
from simulator.program.program import Program
from simulator.workload import Dataset, load_dataset


@pytest.fixture(scope="module")
def program() -> Program:
    return compile_graph(graph_of("digits"), load_device("wear"))


def naive(command: Matmul, program: Program, ifmap: np.ndarray, weights: np.ndarray) -> Activity:
    """Product by product, in plain integers."""
    n = command.nest
    bits = program.placements[command.ifmap].spec.bits + (command.ifmap_offset != 0)
    weight_bits = command.weight_bits + (command.weight_offset != 0)
    x = ifmap.reshape(-1, n.in_h, n.in_w, n.groups, n.k)
    macs = zero_x = zero_w = zero = toggled = streamed = 0

    def operand(image: int, h: int, w: int, g: int, term: tuple[int, int, int]) -> int:
        row, column, k = term
        y = h * n.stride_h + row * n.dilation_h - n.pad_top
        z = w * n.stride_w + column * n.dilation_w - n.pad_left
        inside = 0 <= y < n.in_h and 0 <= z < n.in_w
        return int(x[image, y, z, g, k] if inside else command.pad_code) - command.ifmap_offset

    def weight(g: int, term: tuple[int, int, int], channel: int) -> int:
        return int(
            weights.reshape(n.groups, n.kernel_h, n.kernel_w, n.k, n.n)[(g, *term, channel)]
        ) - (command.weight_offset)

    def changed(values: list[int], width: int) -> tuple[int, int]:
        mask = (1 << width) - 1
        pairs = list(pairwise(values))
        return sum(bin((a ^ b) & mask).count("1") for a, b in pairs), len(pairs) * width

    terms = [(r, c, k) for r in range(n.kernel_h) for c in range(n.kernel_w) for k in range(n.k)]
    places = [(h, w) for h in range(n.out_h) for w in range(n.out_w)]
    for g in range(n.groups):
        for image in range(x.shape[0]):
            for h, w in places:
                for term in terms:
                    a = operand(image, h, w, g, term)
                    for channel in range(n.n):
                        b = weight(g, term, channel)
                        macs += 1
                        zero_x += a == 0
                        zero_w += b == 0
                        zero += a == 0 or b == 0
                if command.dataflow == "output_stationary":
                    for channel in range(n.n):
                        for one, width in (
                            ([operand(image, h, w, g, t) for t in terms], bits),
                            ([weight(g, t, channel) for t in terms], weight_bits),
                        ):
                            moved, of = changed(one, width)
                            toggled, streamed = toggled + moved, streamed + of
            if command.dataflow == "weight_stationary":
                for term in terms:
                    stream = [operand(image, h, w, g, term) for h, w in places]
                    moved, of = changed(stream, bits)
                    toggled, streamed = toggled + moved, streamed + of
        if command.dataflow == "input_stationary":
            for term in terms:
                moved, of = changed([weight(g, term, c) for c in range(n.n)], weight_bits)
                toggled, streamed = toggled + moved, streamed + of
    return Activity(macs, zero_x, zero_w, zero, toggled, streamed)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("seed", range(12))
def test_against_single_products(program: Program, dataflow: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    some = [c for c in program.commands if isinstance(c, Matmul)]
    base = some[seed % len(some)]
    nest = base.nest._replace(
        out_h=int(rng.integers(1, 4)), out_w=int(rng.integers(1, 4)), groups=int(rng.integers(1, 4)),
        n=int(rng.integers(1, 4)), k=int(rng.integers(1, 4)), kernel_h=int(rng.integers(1, 4)),
        kernel_w=int(rng.integers(1, 3)), stride_h=int(rng.integers(1, 3)), stride_w=1, dilation_h=1,
        dilation_w=int(rng.integers(1, 3)), pad_top=int(rng.integers(0, 2)),
        pad_left=int(rng.integers(0, 2)), in_h=int(rng.integers(3, 6)), in_w=int(rng.integers(3, 6)),
    )  # fmt: skip
    command = replace(
        base, nest=nest, dataflow=dataflow, ifmap_offset=int(rng.integers(-2, 3)),
        weight_offset=int(rng.integers(0, 2)), pad_code=int(rng.integers(-2, 3)),
    )  # fmt: skip
    ifmap = rng.integers(-3, 4, (2, nest.in_h, nest.in_w, nest.groups * nest.k))
    weights = rng.integers(-2, 3, (nest.groups, nest.kernel_h, nest.kernel_w, nest.k, nest.n))
    found = activity(command, program, ifmap, weights)
    assert found == naive(command, program, ifmap, weights)


def run(device: Any = None, data: Dataset | None = None, **arguments: Any) -> Any:
    digits = load_dataset("digits")
    data = data or Dataset(digits.name, digits.x[:8], digits.y[:8])
    return simulate(load_model("digits"), device or load_device("wear"), data, **arguments)


def test_only_the_multipliers_energy_follows_the_values() -> None:
    plain, looked = run(), run(activity_samples=4)
    for component, pj in plain.energy_by_component_pj.items():
        same = looked.energy_by_component_pj[component] == pytest.approx(pj)
        assert same == (component != "mac")
    assert looked.energy_by_component_pj["mac"] < plain.energy_by_component_pj["mac"]
    assert looked.totals.cycles == plain.totals.cycles
    assert looked.accuracy == plain.accuracy
    for layer in looked.layers:
        if layer.macs:
            assert layer.zero_share is not None
            assert 0 < layer.zero_share < 1
            assert 0 < layer.toggle_rate <= 0.6
        else:
            assert layer.zero_share is layer.toggle_rate is None
    assert all(x.zero_share is None for x in plain.layers)


def test_gating_saves_the_macs_with_a_zero() -> None:
    looked = run(activity_samples=4)
    gated = run(variant("wear", {"array.zero_gating": True}), activity_samples=4)
    plain = run()
    for a, b, c in zip(plain.layers, gated.layers, looked.layers, strict=True):
        if a.macs:
            share = c.zero_share
            expected = a.energy_by_component_pj["mac"] * (1 - share)
            assert b.energy_by_component_pj["mac"] == pytest.approx(expected, rel=1e-4)


def test_blank_samples_leave_multipliers_alone() -> None:
    """Of equal pixels only those at the border differ from their neighbours."""
    digits = load_dataset("digits")
    blank = Dataset("blank", np.zeros_like(digits.x[:2]), digits.y[:2])
    quiet, busy = run(data=blank, activity_samples=2), run(activity_samples=2)
    assert quiet.layers[0].toggle_rate < busy.layers[0].toggle_rate
    assert quiet.layers[0].zero_share > busy.layers[0].zero_share


def test_what_cannot_be_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="without data"):
        simulate(load_model("digits"), load_device("wear"), activity_samples=2)
    assert main(["run", "digits", "--device", "wear", "--activity", "2"]) == 2
    assert "--activity" in capsys.readouterr().err
    arguments = ["--data", "digits", "--limit", "4", "--activity", "2"]
    assert main(["run", "digits", "--device", "wear", *arguments]) == 0
    assert "of MACs have an operand that is 0" in capsys.readouterr().out
