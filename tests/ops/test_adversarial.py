"""Accumulators and scales where one ulp of a scale decides the code.

Ordinary data does not tell a float32 product of scales from a double one; these do. Each test first
shows that the plausible wrong formula would be caught, then that LiteRT and the datapath agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from litert_runner import LiteRTRunner
from random_devices import small_device
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.fixedpoint.requantize import (
    double_rounding,
    float64_away,
    float64_mantissa,
    quantize_multiplier,
)
from simulator.importers.tflite import read_tflite

F32 = np.float32
FEWEST_OUTPUTS = 100_000
WINDOW = {"Padding": 1, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
Formula = Callable[[int, float, float, float], int]


def dr(accumulator: int, real: float) -> int:
    return int(double_rounding(accumulator, *quantize_multiplier(real)))


def fa(accumulator: int, real: float) -> int:
    return int(float64_away(accumulator, *float64_mantissa(real)))


# The formulas from an accumulator and the scales of input, weights and output (float32 values).
FORMULAS: dict[str, Formula] = {
    "DR of double product": lambda a, x, w, y: dr(a, x * w / y),
    "DR of float32 product": lambda a, x, w, y: dr(a, float(F32(x) * F32(w)) / y),
    "DR of float32 quotient": lambda a, x, w, y: dr(a, float(F32(x) * F32(w) / F32(y))),
    "FA of double product": lambda a, x, w, y: fa(a, x * w / y),
    "FA of float32 product": lambda a, x, w, y: fa(a, float(F32(x) * F32(w)) / y),
}
# Operator and type -> the right formula; all others must be caught.
RIGHT = {
    ("CONV_2D", "i8"): "DR of double product",
    ("CONV_2D", "u8"): "DR of float32 product",
    ("DEPTHWISE_CONV_2D", "i8"): "DR of double product",
    ("DEPTHWISE_CONV_2D", "u8"): "DR of float32 product",
    ("FULLY_CONNECTED", "i8"): "FA of double product",
    ("FULLY_CONNECTED", "u8"): "FA of double product",
}


@dataclass(frozen=True)
class Edges:
    """One layer: a scale set per channel and accumulators at the edges between two codes."""

    s_in: np.float32
    s_w: np.ndarray
    s_out: np.float32
    accumulators: np.ndarray


def edges(rng: np.random.Generator, per_channel: bool) -> Edges:
    """Accumulators next to (c + 1/2) / M for every code c, for M from 2**-9 to 2**-23."""
    s_in = F32(np.exp(rng.uniform(-6, 0)))
    base = F32(np.exp(rng.uniform(-6, 0)))
    s_out = F32(s_in * base * np.exp2(rng.uniform(9, 23)))
    halves = np.repeat(np.arange(-118, 118) + 0.5, 5)
    s_w = np.full(halves.size, base)
    if per_channel:
        s_w = (base * np.exp(rng.uniform(-0.5, 0.5, halves.size))).astype(F32)
    near = np.rint(halves / (s_in.astype(float) * s_w.astype(float) / s_out.astype(float)))
    steps = np.tile([-2, -1, 0, 1, 2], halves.size // 5)
    return Edges(s_in, s_w, s_out, near.astype(np.int64) + steps)


def model(kind: str, code: str, e: Edges, rng: np.random.Generator) -> tuple[bytes, np.ndarray]:
    """A layer with one product per output; the bias makes up the rest of the accumulator."""
    n, zero = e.accumulators.size, 128 if code == "u8" else 0
    container = np.uint8 if code == "u8" else np.int8
    depthwise = kind == "DEPTHWISE_CONV_2D"
    flat = kind == "FULLY_CONNECTED"
    x_shape = (1, 1) if flat else (1, 1, 1, n if depthwise else 1)
    w_shape = (n, 1) if flat else (1, 1, 1, n) if depthwise else (n, 1, 1, 1)
    x = rng.integers(-128, 128, x_shape) + zero
    w = rng.integers(-127, 128, n) + zero
    bias = e.accumulators - (x.reshape(-1) - zero) * (w - zero)
    s_w = e.s_w if np.ptp(e.s_w) else e.s_w[0]
    tensors = [
        Tensor("x", x_shape, code, e.s_in, zero),
        Tensor("w", w_shape, code, s_w, zero, w.reshape(w_shape).astype(container),
               3 if depthwise and np.ptp(e.s_w) else 0),
        Tensor("b", (n,), "i32", e.s_in * s_w, 0, bias.astype(np.int32)),
        Tensor("y", (*x_shape[:-1], n), code, e.s_out, zero),
    ]  # fmt: skip
    options = {} if flat else WINDOW | ({"DepthMultiplier": 1} if depthwise else {})
    content = build_model(tensors, [Op(kind, ["x", "w", "b"], "y", options)], ["x"], ["y"])
    return content, x[None].astype(container)


def simulated(content: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    graph = read_tflite(content, "adversarial")
    return dict(Machine(compile_graph(graph, small_device())).run(inputs).outputs)


@pytest.mark.parametrize(
    ("kind", "code", "per_channel"),
    [(*key, False) for key in RIGHT] + [(*key, True) for key in RIGHT if key[1] == "i8"],
)
def test_products(kind: str, code: str, per_channel: bool) -> None:
    rng = np.random.default_rng(7)
    caught = dict.fromkeys(FORMULAS, 0)
    compared = 0
    while compared < FEWEST_OUTPUTS:
        e = edges(rng, per_channel)
        content, x = model(kind, code, e, rng)
        expected = LiteRTRunner(content).run({"x": x})["y"]
        np.testing.assert_array_equal(simulated(content, {"x": x})["y"], expected)
        wanted = expected.reshape(-1).astype(int) - (128 if code == "u8" else 0)
        scales = float(e.s_in), float(e.s_out)
        for name, formula in FORMULAS.items():
            got = [
                formula(a, scales[0], w, scales[1])
                for a, w in zip(e.accumulators.tolist(), e.s_w.tolist(), strict=True)
            ]
            caught[name] += int((np.clip(got, -128, 127) != wanted).sum())
        compared += wanted.size
    assert caught.pop(RIGHT[kind, code]) == 0
    assert min(caught.values()) > 100, caught


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
