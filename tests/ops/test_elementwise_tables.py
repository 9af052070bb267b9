"""Functions of one code, over all 256 codes and scales that put values on the edge between two codes;
numbers to codes and back; the fixed-point tables of TensorFlow Lite Micro; the profiles of our own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from litert_runner import LiteRTRunner
from oracles.fixed import divide_by_pot, double_rounding, quantize_multiplier
from oracles.gemmlowp import FixedPoint
from random_devices import small_device
from random_layers import Rng
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.errors import DataError
from simulator.importers.tflite import read_tflite

F32 = np.float32
RUNTIMES = ("tflite", "ruy", "xnnpack")
LOWEST = {"i8": -128, "u8": 0}
CONTAINERS = {"i8": np.int8, "u8": np.uint8, "i16": np.int16}
FEWEST_OUTPUTS = 100_000
AT_ONCE = 40  # operators of one model
Arrays = dict[str, np.ndarray]
Scales = tuple[np.float32, int, np.float32, int]  # of the input and the output, with zero points


def simulated(content: bytes, inputs: Arrays, profile: str) -> Arrays:
    graph = dataclasses.replace(read_tflite(content, "tables"), profile=profile)
    return dict(Machine(compile_graph(graph, small_device())).run(inputs).outputs)


def model(kind: str, code: str, many: list[Scales], options: dict[str, Any]) -> bytes:
    """Operators that each take an input of all 256 codes of its own."""
    tensors, ops = [], []
    for i, (s_in, z_in, s_out, z_out) in enumerate(many):
        tensors += [
            Tensor(f"x{i}", (256,), code, s_in, z_in), Tensor(f"y{i}", (256,), code, s_out, z_out)
        ]  # fmt: skip
        ops.append(Op(kind, [f"x{i}"], f"y{i}", options))
    count = range(len(many))
    return build_model(tensors, ops, [f"x{i}" for i in count], [f"y{i}" for i in count])


def every_code(code: str) -> np.ndarray:
    return np.arange(LOWEST[code], LOWEST[code] + 256)


def nudged(s: np.float32, rng: Rng) -> np.float32:
    """``s``, or a neighbour of it."""
    step = rng.integers(3)
    return s if step == 0 else np.nextafter(s, F32(0) if step == 1 else F32(np.inf))


def at_an_edge(rng: Rng, code: str, function: Callable[[float], float]) -> Scales:
    """An output scale such that ``function`` of one code is an odd half of it, or next to that."""
    while True:
        s_in = F32(np.exp(rng.uniform(-6, -1)))
        z_in, z_out = (int(v) for v in rng.integers(LOWEST[code], LOWEST[code] + 256, 2))
        value = abs(function(float(s_in) * int(rng.integers(-127, 128))))
        if 1e-6 < value < 1e6:
            return s_in, z_in, nudged(F32(value / (int(rng.integers(2, 120)) + 0.5)), rng), z_out


def logistic_at_an_edge(rng: Rng, code: str) -> Scales:
    """The output scale is 1/256, so the input's puts one code's value at an odd half."""
    while True:
        half, steps = int(rng.integers(1, 255)) + 0.5, int(rng.integers(-128, 128))
        scale = math.log(half / (256 - half)) / steps if steps else 0.0
        if scale > 1e-4:
            z_in = LOWEST[code] + 128
            return nudged(F32(scale), rng), z_in, F32(1 / 256), LOWEST[code]


def gelu(x: float) -> float:
    return 0.5 * x * math.erfc(-x * math.sqrt(0.5))


def near_an_edge(x: np.ndarray, scales: Scales, function: Callable[[float], float]) -> np.ndarray:
    """Where the exact value lies so near an edge that a unit of float32 decides."""
    s_in, z_in, s_out, z_out = scales
    exact = np.array([function(float(s_in) * (int(v) - z_in)) for v in x]) / float(s_out)
    off = np.abs(exact - np.floor(exact) - 0.5)
    return off < 2.0**-21 * (np.abs(exact) + abs(z_out) + 1)


EXACT = [
    ("LOGISTIC", "i8", {}), ("LOGISTIC", "u8", {}), ("EXP", "i8", {}), ("HARD_SWISH", "i8", {}),
    ("HARD_SWISH", "u8", {}), ("ABS", "i8", {}), ("LEAKY_RELU", "i8", {"Alpha": 0.3}),
    ("LEAKY_RELU", "u8", {"Alpha": 0.01}), ("RSQRT", "i8", {}), ("RELU", "i8", {}),
    ("RELU", "u8", {}), ("RELU6", "i8", {}), ("RELU_N1_TO_1", "u8", {}),
]  # fmt: skip
CURVES = {
    "EXP": math.exp, "HARD_SWISH": lambda x: x * min(max(x + 3, 0), 6) / 6, "ABS": abs,
    "LEAKY_RELU": lambda x: x, "TANH": math.tanh, "GELU": gelu, "RELU": lambda x: max(x, 0.0),
    "RELU6": lambda x: min(max(x, 0.0), 6.0), "RELU_N1_TO_1": lambda x: min(max(x, -1.0), 1.0),
    "RSQRT": lambda x: 1 / math.sqrt(x) if x > 0 else 0.0,
}  # fmt: skip


def _layers(rng: Rng, kind: str, code: str) -> list[Scales]:
    if kind == "LOGISTIC":
        return [logistic_at_an_edge(rng, code) for _ in range(AT_ONCE)]
    found = [at_an_edge(rng, code, CURVES[kind]) for _ in range(AT_ONCE)]
    if kind == "RSQRT":  # which stops at codes below the zero point
        return [(s_in, LOWEST[code], s_out, z_out) for s_in, _, s_out, z_out in found]
    # HARD_SWISH takes no output scale below 1/128 of the input's.
    return [s for s in found if kind != "HARD_SWISH" or s[2] * 100 > s[0]]


@pytest.mark.parametrize("profile", RUNTIMES)
@pytest.mark.parametrize(("kind", "code", "options"), EXACT)
def test_tables(kind: str, code: str, options: dict[str, Any], profile: str) -> None:
    rng, compared = np.random.default_rng(11), 0
    while compared < FEWEST_OUTPUTS:
        many = _layers(rng, kind, code)
        content = model(kind, code, many, options)
        x = every_code(code)[None].astype(CONTAINERS[code])
        inputs = {f"x{i}": x for i in range(len(many))}
        got, expected = (
            simulated(content, inputs, profile),
            LiteRTRunner(content, profile).run(inputs),
        )
        for name, values in expected.items():
            np.testing.assert_array_equal(got[name], values, f"{name} of {many}")
            compared += values.size


@pytest.mark.parametrize("profile", RUNTIMES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [("TANH", {}), ("GELU", {"Approximate": False}), ("GELU", {"Approximate": True})],
)
def test_tables_of_library_functions(kind: str, options: dict[str, Any], profile: str) -> None:
    """The C library's tanhf and erfcf are a unit off now and then. Only values on an edge may show it."""
    rng = np.random.default_rng(12)
    compared = off = 0
    x = every_code("i8")
    while compared < FEWEST_OUTPUTS:
        many = _layers(rng, kind, "i8")
        content = model(kind, "i8", many, options)
        inputs = {f"x{i}": x[None].astype(np.int8) for i in range(len(many))}
        got, expected = (
            simulated(content, inputs, profile),
            LiteRTRunner(content, profile).run(inputs),
        )
        for i, scales in enumerate(many):
            wrong = (got[f"y{i}"] != expected[f"y{i}"])[0]
            curve = CURVES[kind]
            if options.get("Approximate"):
                curve = _gelu_by_tanh
            assert not (wrong & ~near_an_edge(x, scales, curve)).any(), (scales, profile)
            off += int(wrong.sum())
            compared += x.size
    assert off <= compared // 1000  # of tables that were made to have an entry on an edge


def _gelu_by_tanh(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("profile", RUNTIMES)
@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH"])
def test_sigmoids_of_16_bits(kind: str, profile: str) -> None:
    """All codes, at the scales that shift, that multiply, and between."""
    x = np.arange(-32768, 32768)[None].astype(np.int16)
    for s_in in (2.0**-12, 2.0**-11, 2.0**-13, 2.0**-12 * 1.0004, 2.0**-12 * 1.002, 1e-3, 0.37):
        tensors = [
            Tensor("x", (65536,), "i16", s_in, 0), Tensor("y", (65536,), "i16", 2.0**-15, 0)
        ]  # fmt: skip
        content = build_model(tensors, [Op(kind, ["x"], "y")], ["x"], ["y"])
        expected = LiteRTRunner(content, profile).run({"x": x})["y"]
        np.testing.assert_array_equal(
            simulated(content, {"x": x}, profile)["y"], expected, f"{s_in}"
        )


def _requantize_scales(rng: Rng) -> tuple[np.float32, np.float32]:
    a = int(rng.integers(3, 256))
    odd = 2 * int(rng.integers(a // 2, a)) + 1
    s_in = F32(np.exp(rng.uniform(-5, -3)))
    return s_in, nudged(F32(float(s_in) / (odd / (2 * a) * rng.choice([1.0, 2.0]))), rng)


@pytest.mark.parametrize("profile", RUNTIMES)
@pytest.mark.parametrize(
    ("source", "target"), [("i8", "i8"), ("u8", "u8"), ("i8", "u8"), ("u8", "i8")]
)
def test_codes_to_codes(source: str, target: str, profile: str) -> None:
    """Ties, in rows whose last elements no block of 16 takes; and the other profiles differ."""
    rng = np.random.default_rng(13)
    compared = caught = 0
    while compared < FEWEST_OUTPUTS:
        s_in, s_out = _requantize_scales(rng)
        n = int(rng.integers(1, 1000))
        points = LOWEST[source] + 128, LOWEST[target] + 128
        x = rng.integers(LOWEST[source], LOWEST[source] + 256, (1, n)).astype(CONTAINERS[source])
        tensors = [
            Tensor("x", (n,), source, s_in, points[0]), Tensor("y", (n,), target, s_out, points[1])
        ]  # fmt: skip
        content = build_model(tensors, [Op("QUANTIZE", ["x"], "y")], ["x"], ["y"])
        got = simulated(content, {"x": x}, profile)["y"]
        np.testing.assert_array_equal(got, LiteRTRunner(content, profile).run({"x": x})["y"])
        other = "ruy" if profile == "tflite" else "tflite"
        caught += int((simulated(content, {"x": x}, other)["y"] != got).sum())
        compared += n
    assert caught > 100, caught


@pytest.mark.parametrize("profile", RUNTIMES)
@pytest.mark.parametrize("code", ["i8", "u8", "i16"])
def test_numbers_to_codes(code: str, profile: str) -> None:
    """Numbers at and next to odd halves of the scale, zero, infinities; rows of any length."""
    rng = np.random.default_rng(14)
    compared = caught = 0
    while compared < FEWEST_OUTPUTS:
        n, s = int(rng.integers(1, 1000)), F32(np.exp(rng.uniform(-5, 0)))
        z = 0 if code == "i16" else int(rng.integers(LOWEST[code], LOWEST[code] + 256))
        x = (s * (rng.integers(-300, 300, (1, n)) + F32(0.5)).astype(F32)).astype(F32)
        ends = np.where(rng.integers(2, size=x.shape), F32(np.inf), F32(-np.inf)).astype(F32)
        x = np.where(rng.integers(2, size=x.shape), np.nextafter(x, ends), x)
        x.flat[0] = rng.choice(np.array([0, -0.0, 1e4], F32))
        tensors = [Tensor("x", (n,), "f32"), Tensor("y", (n,), code, s, z)]
        content = build_model(tensors, [Op("QUANTIZE", ["x"], "y")], ["x"], ["y"])
        got = simulated(content, {"x": x}, profile)["y"]
        np.testing.assert_array_equal(got, LiteRTRunner(content, profile).run({"x": x})["y"])
        other = "ruy" if profile == "tflite" else "tflite"
        caught += int((simulated(content, {"x": x}, other)["y"] != got).sum())
        compared += n
    assert caught > 100, caught


@pytest.mark.parametrize("profile", RUNTIMES)
@pytest.mark.parametrize("code", ["i8", "u8", "i16"])
def test_codes_to_numbers(code: str, profile: str) -> None:
    rng = np.random.default_rng(15)
    compared = caught = 0
    while compared < FEWEST_OUTPUTS:
        n, s = int(rng.integers(1, 2000)), F32(np.exp(rng.uniform(-5, 0)))
        z = 0 if code == "i16" else int(rng.integers(LOWEST[code], LOWEST[code] + 256))
        limits = np.iinfo(CONTAINERS[code])
        x = rng.integers(limits.min, limits.max + 1, (1, n)).astype(CONTAINERS[code])
        tensors = [Tensor("x", (n,), code, s, z), Tensor("y", (n,), "f32")]
        content = build_model(tensors, [Op("DEQUANTIZE", ["x"], "y")], ["x"], ["y"])
        got = simulated(content, {"x": x}, profile)["y"]
        np.testing.assert_array_equal(got, LiteRTRunner(content, profile).run({"x": x})["y"])
        other = "tflite" if profile == "ruy" else "ruy"
        caught += int((simulated(content, {"x": x}, other)["y"] != got).sum())
        compared += n
    assert caught > 100 or code == "i16"


def test_a_zero_divisor_stops_the_run() -> None:
    for kind, code in (("FLOOR_DIV", "i32"), ("FLOOR_DIV", "f32"), ("DIV", "i32")):
        tensors = [Tensor(name, (2,), code) for name in ("x", "z", "y")]
        content = build_model(tensors, [Op(kind, ["x", "z"], "y")], ["x", "z"], ["y"])
        container = np.int32 if code == "i32" else np.float32
        inputs = {"x": np.ones((1, 2), container), "z": np.array([[1, 0]], container)}
        with pytest.raises(DataError, match="divides by zero"):
            simulated(content, inputs, "tflite")


def micro(kind: str, s_in: float, z_in: int, x: int) -> int:
    """TensorFlow Lite Micro's int8 LOGISTIC and TANH from the naive fixed point (``logistic.h``)."""
    multiplier, shift = quantize_multiplier(s_in * 2.0**27)
    radius = math.floor(15 * 2.0**27 / 2.0**shift)
    if abs(x - z_in) >= radius:
        return 127 if x > z_in else -128
    value = double_rounding(x - z_in, multiplier, shift)
    fixed = FixedPoint(32)
    if kind == "LOGISTIC":
        return min(divide_by_pot(fixed.logistic(value, 4), 23) - 128, 127)
    return min(divide_by_pot(fixed.tanh(value, 4), 24), 127)


def _sigmoid_at_an_edge(rng: Rng, kind: str) -> Scales:
    if kind == "LOGISTIC":
        return logistic_at_an_edge(rng, "i8")
    value = (int(rng.integers(1, 127)) + 0.5) / 128
    return F32(math.atanh(value) / int(rng.integers(1, 128))), 0, F32(1 / 128), 0


@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH"])
def test_tables_of_tensorflow_lite_micro(kind: str) -> None:
    """Equal to a naive form of its source, at most one code from LiteRT's, and not always that one."""
    rng, differ = np.random.default_rng(16), 0
    x = every_code("i8")
    many = [_sigmoid_at_an_edge(rng, kind) for _ in range(AT_ONCE)]
    content = model(kind, "i8", many, {})
    inputs = {f"x{i}": x[None].astype(np.int8) for i in range(AT_ONCE)}
    got, near = (simulated(content, inputs, p) for p in ("tflite_micro", "tflite"))
    for i, (s_in, z_in, *_) in enumerate(many):
        assert got[f"y{i}"][0].tolist() == [micro(kind, float(s_in), z_in, int(v)) for v in x]
        apart = np.abs(got[f"y{i}"].astype(int) - near[f"y{i}"])
        assert apart.max() <= 1
        differ += int(apart.sum())
    assert differ > 0


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        # Scales 0.25 and 0.1 to 0.2: ratios 1.25 and 0.5, nearest powers 1 and 1/2; ties go up.
        ("power_of_two", [6, 1, -2, 1]),
        # 1.25 * 3 = 3.75 and 2.5, each rounded, ties to even: 4 + 2.
        ("dyadic", [6, 0, -4, 1]),
    ],
)
def test_sums_of_our_own_profiles(profile: str, expected: list[int]) -> None:
    tensors = [
        Tensor(name, (4,), "i8", s, 0) for name, s in (("x", 0.25), ("z", 0.1), ("y", 0.2))
    ]  # fmt: skip
    content = build_model(tensors, [Op("ADD", ["x", "z"], "y")], ["x", "z"], ["y"])
    x, z = np.array([[3, 0, -3, 1]], np.int8), np.array([[5, 1, 1, -1]], np.int8)
    assert simulated(content, {"x": x, "z": z}, profile)["y"][0].tolist() == expected


def test_products_of_our_own_profiles() -> None:
    """Ratio 0.5 * 0.3 / 0.2 = 0.75 (nearest power 1); 0.5 * 0.1 / 0.2 = 1/4 exactly in both."""
    for s_z, expected in ((0.3, {"power_of_two": [7, -7], "dyadic": [5, -5]}), (0.1, {})):
        tensors = [
            Tensor(name, (2,), "i8", s, 0) for name, s in (("x", 0.5), ("z", s_z), ("y", 0.2))
        ]  # fmt: skip
        content = build_model(tensors, [Op("MUL", ["x", "z"], "y")], ["x", "z"], ["y"])
        inputs = {"x": np.array([[7, -7]], np.int8), "z": np.array([[1, 1]], np.int8)}
        for profile, wanted in (expected or {"power_of_two": [2, -2], "dyadic": [2, -2]}).items():
            assert simulated(content, inputs, profile)["y"][0].tolist() == wanted
