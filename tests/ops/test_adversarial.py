"""Element-wise operators on scales where one ulp decides the code; products have files of their own.

Ordinary data does not tell a float32 product of scales from a double one; these do. Each test first
shows that the plausible wrong formula would be caught, then that LiteRT and the datapath agree.
"""

from __future__ import annotations

import numpy as np
import pytest
from litert_runner import LiteRTRunner
from random_devices import small_device
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.fixedpoint.requantize import double_rounding, quantize_multiplier
from simulator.importers.tflite import read_tflite

F32 = np.float32
FEWEST_OUTPUTS = 100_000


def dr(accumulator: int, real: float) -> int:
    return int(double_rounding(accumulator, *quantize_multiplier(real)))


def simulated(content: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    graph = read_tflite(content, "adversarial")
    return dict(Machine(compile_graph(graph, small_device())).run(inputs).outputs)


def _ratio_near_a_tie(rng: np.random.Generator, s_out: np.float32) -> np.float32:
    """A scale s with s / s_out within an ulp of (2k + 1) / 2a, so that code a meets a tie."""
    a = int(rng.integers(3, 256))
    odd = 2 * int(rng.integers(a // 2, a)) + 1  # the quotient's mantissa needs no later shift
    s = F32(float(s_out) * odd / (2 * a) * rng.choice([1.0, 2.0]))
    for _ in range(rng.integers(0, 3)):
        s = np.nextafter(s, rng.choice([F32(0), F32(np.inf)]), dtype=F32)
    return s


def rescaling_model(
    rng: np.random.Generator, kind: str, code: str
) -> tuple[bytes, list[np.float32], np.float32, int]:
    """Forty operators on all 256 codes at once; their output scales, the input's scale and zero point."""
    low = 0 if code == "u8" else -128
    zero = low if kind != "QUANTIZE" else int(rng.choice([low, low + 255]))
    s_in = F32(np.exp(rng.uniform(-5, -3.7)))
    outs = [F32(s_in / (_ratio_near_a_tie(rng, s_in) / s_in)) for _ in range(40)]
    tensors = [Tensor("x", (256,), code, s_in, zero)]
    # The same zero point, at the end of the codes that every input lies to one side of.
    tensors += [Tensor(f"y{i}", (256,), code, s, zero) for i, s in enumerate(outs)]
    ops = [Op(kind, ["x"], f"y{i}") for i in range(len(outs))]
    return build_model(tensors, ops, ["x"], [f"y{i}" for i in range(len(outs))]), outs, s_in, zero


@pytest.mark.parametrize(
    ("kind", "in_float32"), [("QUANTIZE", False), ("RELU", True), ("RELU6", True)]
)
@pytest.mark.parametrize("code", ["i8", "u8"])
def test_rescaling(kind: str, in_float32: bool, code: str) -> None:
    rng = np.random.default_rng(8)
    low = 0 if code == "u8" else -128
    x = np.arange(low, low + 256)
    inputs = {"x": x[None].astype(np.uint8 if code == "u8" else np.int8)}
    compared = caught = 0
    while compared < FEWEST_OUTPUTS:
        content, outs, s_in, zero = rescaling_model(rng, kind, code)
        expected = LiteRTRunner(content).run(inputs)
        got = simulated(content, inputs)
        for i, s_out in enumerate(outs):
            np.testing.assert_array_equal(got[f"y{i}"], expected[f"y{i}"])
            double, single = float(s_in) / float(s_out), float(s_in / s_out)
            right, wrong = (single, double) if in_float32 else (double, single)
            high = low + 255
            if kind == "RELU6":
                high = min(high, zero + int(6 / float(s_out) + 0.5))
            by_right, by_wrong = (
                np.clip([dr(int(v) - zero, real) + zero for v in x], low, high)
                for real in (right, wrong)
            )
            assert (by_right == expected[f"y{i}"]).all()
            caught += int((by_wrong != by_right).sum())
            compared += x.size
    assert caught > 100


def _add_scales(rng: np.random.Generator) -> tuple[np.float32, np.float32, np.float32]:
    """Both inputs near small fractions of the output's scale, so that many pairs sum to a tie."""
    s_out = F32(np.exp(rng.uniform(-5, 0)))
    a, b = (int(v) for v in rng.integers(1, 12, 2))
    divisor = 2 * int(rng.choice([3, 5, 7]))
    return F32(float(s_out) * a / divisor), F32(float(s_out) * b / divisor), s_out


def add_by(x: np.ndarray, z: np.ndarray, reals: tuple[float, float, float]) -> np.ndarray:
    """The sum of codes (zero points 0) with these three multipliers."""
    first = {int(v): dr(int(v) << 20, reals[0]) for v in np.unique(x)}
    second = {int(v): dr(int(v) << 20, reals[1]) for v in np.unique(z)}
    sums = [dr(first[int(a)] + second[int(b)], reals[2]) for a, b in zip(x, z, strict=True)]
    return np.clip(sums, -128, 127)


@pytest.mark.parametrize("code", ["i8", "u8"])
def test_add(code: str) -> None:
    rng = np.random.default_rng(9)
    zero = 128 if code == "u8" else 0
    x, z = (v.reshape(-1) for v in np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)))
    container = np.uint8 if code == "u8" else np.int8
    inputs = {"x": (x[None] + zero).astype(container), "z": (z[None] + zero).astype(container)}
    caught = [0, 0]
    for _ in range(6):
        s1, s2, s_out = _add_scales(rng)
        tensors = [
            Tensor(name, (x.size,), code, s, zero)
            for name, s in [("x", s1), ("z", s2), ("y", s_out)]
        ]
        content = build_model(tensors, [Op("ADD", ["x", "z"], "y")], ["x", "z"], ["y"])
        expected = LiteRTRunner(content).run(inputs)["y"]
        np.testing.assert_array_equal(simulated(content, inputs)["y"], expected)
        wanted = expected.reshape(-1).astype(int) - zero
        twice, out = 2 * max(float(s1), float(s2)), float(s_out) * 2**20
        right = float(s1) / twice, float(s2) / twice, twice / out
        rounded = float(F32(right[0])), float(F32(right[1])), float(F32(right[2]))
        assert (add_by(x, z, right) == wanted).all()
        caught[0] += int((add_by(x, z, rounded) != wanted).sum())
        caught[1] += int((add_by(x, z, (*right[:2], rounded[2])) != wanted).sum())
    assert min(caught) > 10, caught
