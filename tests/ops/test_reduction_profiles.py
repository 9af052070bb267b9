"""Reductions, pooling, resizing and softmax under the profiles of LiteRT's other kernels.

Ordinary layers first; then layers made so that a formula which is nearly right gives other codes. Each
such test shows that the neighbour's formula would be caught.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from layer_parts import Layer
from layers_reductions import LAYERS, OUTPUTS, detection_postprocess, sum_of
from litert_runner import LiteRTRunner
from random_devices import small_device
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.graph import Graph
from simulator.importers.tflite import read_tflite
from simulator.ops import operator, reference_values
from simulator.ops._expf import expf
from simulator.ops._softmax_tables import exponentials
from simulator.profiles import RUN

F32 = np.float32
Rng = np.random.Generator
LAYERS_EACH = 60
FEWEST_OUTPUTS = 100_000
CONTAINERS = {"i8": np.int8, "u8": np.uint8, "i16": np.int16}


def read(content: bytes, profile: str) -> Graph:
    return replace(read_tflite(content, profile), profile=profile)


def simulated(content: bytes, inputs: dict[str, np.ndarray], profile: str) -> np.ndarray:
    program = compile_graph(read(content, profile), small_device())
    return Machine(program).run(inputs).outputs[program.outputs[0]]


def agreed(content: bytes, inputs: dict[str, np.ndarray], profile: str) -> np.ndarray:
    """The output, which the runtime and the simulator agree on."""
    got = simulated(content, inputs, profile)
    (expected,) = LiteRTRunner(content, profile).run(inputs).values()
    np.testing.assert_array_equal(got, expected)
    return got


@pytest.mark.parametrize("profile", ["ruy", "xnnpack"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, profile: str) -> None:
    assert operator(name).PROFILES[profile] == RUN
    compared = 0
    for seed in range(LAYERS_EACH):
        rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
        maker: Callable[[Rng], Layer] = LAYERS[name]
        if name == "sum":  # here all types are written
            layer = sum_of(rng, ("i8", "u8", "i16")[rng.integers(3)])
        else:
            layer = maker(rng)
        graph = read(layer.content, profile)
        got = agreed(layer.content, layer.inputs, profile)
        one = [values[0] for values in layer.inputs.values()]
        np.testing.assert_array_equal(got[0], reference_values(graph, graph.nodes[0], one)[0])
        compared += got.size
    assert compared > 1000


@pytest.mark.parametrize("profile", ["tflite", "ruy", "xnnpack"])
def test_all_outputs_of_a_detector(profile: str) -> None:
    found = 0
    for seed in range(80):
        layer = detection_postprocess(np.random.default_rng(seed), OUTPUTS)
        graph = read(layer.content, profile)
        program = compile_graph(graph, small_device())
        got = Machine(program).run(layer.inputs).outputs
        expected = LiteRTRunner(layer.content, profile).run(layer.inputs)
        one = [values[0] for values in layer.inputs.values()]
        naive = reference_values(graph, graph.nodes[0], one)
        for name, values in zip(OUTPUTS, naive, strict=True):
            np.testing.assert_array_equal(got[name], expected[name], f"{name}, seed {seed}")
            np.testing.assert_array_equal(got[name][0], values, f"{name}, seed {seed}")
        found += int(got["count"].sum())
    assert found > 1000


def test_a_fast_detector_fills_up_with_zeros() -> None:
    """LiteRT leaves places beyond the count unwritten; here they are 0."""
    compared = 0
    for seed in range(40):
        layer = detection_postprocess(np.random.default_rng(seed), OUTPUTS, fast=8)
        program = compile_graph(read(layer.content, "tflite"), small_device())
        got = Machine(program).run(layer.inputs).outputs
        expected = LiteRTRunner(layer.content).run(layer.inputs)
        for sample, count in enumerate(got["count"].astype(int)[:, 0]):
            assert count == expected["count"][sample, 0]
            for name in OUTPUTS[:3]:
                values = got[name][sample, 0]
                np.testing.assert_array_equal(values[:count], expected[name][sample, 0, :count])
                assert not values[count:].any()
            compared += count
    assert compared > 100


def _near(rng: Rng, scale: np.float32) -> np.float32:
    """At most two floats beside."""
    for _ in range(rng.integers(0, 3)):
        scale = np.nextafter(scale, rng.choice([F32(0), F32(np.inf)]), dtype=F32)
    return scale


def _reduction(rng: Rng, kind: str, code: str, keep: bool) -> tuple[bytes, np.ndarray]:
    """512 reductions whose scaled sums lie on or beside ties.

    One unit of the sum is an odd number of halves over ``a``, so every a-th sum is a tie.
    """
    n, a = int(rng.integers(1, 40)), int(rng.integers(1, 60))
    odd = 2 * int(rng.integers(0, a + 1)) + 1
    s_out = F32(np.exp(rng.uniform(-5, 0)))
    s_in = _near(rng, F32(float(s_out) * odd / (2 * a) * (n if kind == "MEAN" else 1)))
    if rng.integers(4) == 0:
        s_in = F32(s_out * (1 if kind == "MEAN" else F32(1) / F32(n)))
    low = np.iinfo(CONTAINERS[code]).min
    points = [0, 0] if code == "i16" else [int(z) for z in low + rng.integers(0, 256, 2)]
    shape = (4, n, 1, 128)
    reach = 100 if code == "i16" else rng.choice([3, 30, 80])
    ends = np.iinfo(CONTAINERS[code])
    x = np.clip(np.rint(rng.normal(0, reach, shape)) + points[0], ends.min, ends.max)
    tensors = [
        Tensor("x", shape, code, s_in, points[0]),
        Tensor("axes", (2,), "i32", data=np.array([1, 2], np.int32)),
        Tensor("y", (4, 1, 1, 128) if keep else (4, 128), code, s_out, points[1]),
    ]
    op = Op(kind, ["x", "axes"], "y", {"KeepDims": keep})
    return build_model(tensors, [op], ["x"], ["y"]), x[None].astype(CONTAINERS[code])


# Operator, type, shape kept -> profiles with arithmetic of their own, and what each must differ from.
REDUCTIONS = [
    ("MEAN", "i8", True, "tflite", "xnnpack"),
    ("MEAN", "i8", True, "ruy", "tflite"),
    ("MEAN", "u8", True, "ruy", "tflite"),
    ("MEAN", "i8", False, "ruy", "xnnpack"),
    ("MEAN", "i8", False, "xnnpack", "tflite"),
    ("MEAN", "u8", True, "xnnpack", "ruy"),
    ("SUM", "u8", False, "tflite", "ruy"),
    ("SUM", "i8", False, "ruy", "tflite"),
    ("SUM", "i16", True, "ruy", "tflite"),
    ("SUM", "u8", True, "ruy", "xnnpack"),
    ("SUM", "i8", True, "xnnpack", "ruy"),
    ("SUM", "u8", False, "xnnpack", "ruy"),
    ("SUM", "i16", False, "xnnpack", "tflite"),
]


@pytest.mark.parametrize(("kind", "code", "keep", "profile", "other"), REDUCTIONS)
def test_reductions_at_ties(kind: str, code: str, keep: bool, profile: str, other: str) -> None:
    rng = np.random.default_rng(3)
    compared = caught = 0
    while compared < FEWEST_OUTPUTS:
        content, x = _reduction(rng, kind, code, keep)
        got = agreed(content, {"x": x}, profile)
        caught += int((simulated(content, {"x": x}, other) != got).sum())
        compared += got.size
    assert caught > 100


def test_the_image_mean_rounds_its_last_channels_differently() -> None:
    """Of 40 channels 32 go through whole vectors; the rounding of one part is wrong in the other."""
    rng = np.random.default_rng(4)
    differs = np.zeros(40, int)
    for _ in range(40):
        s_out = F32(np.exp(rng.uniform(-5, 0)))
        tensors = [
            Tensor("x", (40, 2, 2, 40), "i8", s_out, 0),
            Tensor("axes", (2,), "i32", data=np.array([1, 2], np.int32)),
            Tensor("y", (40, 1, 1, 40), "i8", s_out, 0),
        ]
        op = Op("MEAN", ["x", "axes"], "y", {"KeepDims": True})
        content = build_model(tensors, [op], ["x"], ["y"])
        x = rng.integers(-128, 128, (1, 40, 2, 2, 40)).astype(np.int8)
        got = agreed(content, {"x": x}, "ruy").reshape(40, 40)
        # A multiplier of 2**30 and a right shift by 1: the first halving's ties go up, the second's up in
        # whole vectors, away from 0 in the rest.
        first = (x.astype(int).sum(axis=(2, 3)).reshape(40, 40) + 1) >> 1
        up, away = (first + 1) >> 1, np.sign(first) * ((np.abs(first) + 1) >> 1)
        np.testing.assert_array_equal(got[:, :32], up[:, :32])
        np.testing.assert_array_equal(got[:, 32:], away[:, 32:])
        differs += (away != up).any(axis=0)
    assert differs.min() > 0


# Type and profile -> the profile whose formula must be caught.
RESIZINGS = [
    ("i8", "tflite", "xnnpack"), ("i8", "xnnpack", "tflite"), ("u8", "tflite", "ruy"),
    ("u8", "ruy", "tflite"), ("u8", "xnnpack", "tflite"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "profile", "other"), RESIZINGS)
def test_resizing(code: str, profile: str, other: str) -> None:
    rng = np.random.default_rng(5)
    compared = caught = 0
    ends = np.iinfo(CONTAINERS[code])
    while compared < FEWEST_OUTPUTS:
        height, width = (int(v) for v in rng.integers(2, 12, 2))
        out_h, out_w = (int(v) for v in rng.integers(2, 40, 2))
        if rng.integers(4) == 0:  # the optimised kernel has a loop for eightfold images
            out_h, out_w = 8 * height, 8 * width
        half = bool(rng.integers(2))
        tensors = [
            Tensor("x", (2, height, width, 8), code, F32(0.1), 3),
            Tensor("size", (2,), "i32", data=np.array([out_h, out_w], np.int32)),
            Tensor("y", (2, out_h, out_w, 8), code, F32(0.1), 3),
        ]
        options = {"AlignCorners": not half and bool(rng.integers(2)), "HalfPixelCenters": half}
        op = Op("RESIZE_BILINEAR", ["x", "size"], "y", options)
        content = build_model(tensors, [op], ["x"], ["y"])
        shape = (1, 2, height, width, 8)
        x = rng.integers(ends.min, ends.max + 1, shape).astype(CONTAINERS[code])
        if rng.integers(3) == 0:
            x = rng.choice([ends.min, ends.max], shape).astype(CONTAINERS[code])
        got = agreed(content, {"x": x}, profile)
        caught += int((simulated(content, {"x": x}, other) != got).sum())
        compared += got.size
    assert caught > 30


def softmax_model(
    s_in: np.float32, shape: tuple[int, int], code: str, out: str, beta: float = 1.0
) -> bytes:
    result = {"i8": (1 / 256, -128), "u8": (1 / 256, 0), "i16": (1 / 65536, -32768)}[out]
    tensors = [
        Tensor("x", shape, code, s_in, 0),
        Tensor("y", shape, out, F32(result[0]), result[1]),
    ]
    op = Op("SOFTMAX", ["x"], "y", {"Beta": beta}, version=3 if out == "i16" else None)
    return build_model(tensors, [op], ["x"], ["y"])


@pytest.mark.parametrize("profile", ["ruy", "xnnpack"])
@pytest.mark.parametrize(("code", "out"), [("i8", "i8"), ("u8", "u8"), ("i8", "i16")])
def test_softmax(code: str, out: str, profile: str) -> None:
    """Every difference of two codes, in rows with 1 to 15 of the larger one; then ordinary rows."""
    rng = np.random.default_rng(6)
    ends = np.iinfo(CONTAINERS[code])
    counts, differences = (v.reshape(-1, 1) for v in np.meshgrid(np.arange(1, 16), np.arange(256)))
    pairs = ends.max - np.where(np.arange(16) < counts, 0, differences)
    caught = 0
    for _ in range(60):
        s_in = F32(np.exp(rng.uniform(-7, 0.7)))
        beta = float(F32(rng.choice([1.0, 0.3, 2.5])))
        noise = rng.normal(128, rng.choice([5, 20, 60]), (40, rng.integers(2, 300)))
        rows = np.rint(np.clip(noise, 0, 255)) + ends.min
        for x in (pairs, rows):
            content = softmax_model(s_in, x.shape, code, out, beta)
            inputs = {"x": x[None].astype(CONTAINERS[code])}
            got = agreed(content, inputs, profile)
            caught += int((simulated(content, inputs, "tflite") != got).sum())
    assert caught > 10


def _true_exponentials(s_in: np.float32) -> np.ndarray:
    """The float32 nearest to each exp, by the long double of the platform."""
    arguments = (-s_in * np.arange(256).astype(F32)).astype(np.longdouble)
    return np.exp(arguments).astype(F32)


def _shares(count: np.ndarray, e: np.ndarray) -> np.ndarray:
    """The last code of rows of ``count`` maxima and one smaller code, before rounding, in float32."""
    inverse = F32(1) / ((count.astype(F32) + e) * F32(1 / 65536))
    return e * inverse


@pytest.mark.parametrize("profile", ["ruy", "xnnpack"])
def test_the_last_bit_of_expf_decides_a_code(profile: str) -> None:
    """Scales at which the C library's expf is not the nearest float32, rows in which that shows."""
    rng = np.random.default_rng(7)
    shown = 0
    counts = np.arange(1, 256)
    while shown < 8:
        s_in = F32(np.exp(rng.uniform(-7, -2)))
        table, true = exponentials(float(s_in), 1.0), _true_exponentials(s_in)
        for d in np.flatnonzero(table != true):
            codes = [np.floor(_shares(counts, t[d]) + F32(0.5)) for t in (table, true)]
            for count in counts[codes[0] != codes[1]][:1]:
                row = np.full((1, 1, count + 1), 127, np.int8)
                row[0, 0, -1] = 127 - d
                content = softmax_model(s_in, (1, int(count) + 1), "i8", "i16")
                got = agreed(content, {"x": row}, profile)
                assert got[0, 0, -1] == codes[0][count - 1] - 32768
                shown += 1


# Scale, how many largest codes, and the difference to the last: a share of the float32 below 1/2.
BELOW_HALF = [("0x1.6b0de8p-4", 51, 26), ("0x1.d6e9eep-5", 86, 31), ("0x1.67f722p-5", 178, 24)]


@pytest.mark.parametrize(("scale", "count", "difference"), BELOW_HALF)
@pytest.mark.parametrize("profile", ["ruy", "xnnpack"])
def test_half_is_added_to_uint8_codes(
    scale: str, count: int, difference: int, profile: str
) -> None:
    """The sum of 1/2 and the float32 below it is 1; rounding half away from 0 gives 0."""
    s_in = F32(float.fromhex(scale))
    for code, low in (("u8", 0), ("i8", -128)):
        row = np.full((1, 1, count + 1), low + 255)
        row[0, 0, -1] -= difference
        content = softmax_model(s_in, (1, count + 1), code, code)
        got = agreed(content, {"x": row.astype(CONTAINERS[code])}, profile)
        assert got[0, 0, -1] - low == (1 if code == "u8" else 0)


# Argument -> word of the result.
GLIBC_EXPF = {
    "-0x1.a3329ep+0": 0x3E472272, "-0x1.fa2b8cp-6": 0x3F783647, "-0x1.1be692p-4": 0x3F6EDB70,
    "-0x1.2f8376p+1": 0x3DBF3813, "-0x1.f1f548p+5": 0x129302ED, "-0x1.b8decep+5": 0x17B45EDD,
    "-0x1.aa992cp-8": 0x3F7E56CA, "-0x1.2cee54p+0": 0x3E9E08D2,
}  # fmt: skip


def test_expf_is_that_of_the_c_library() -> None:
    """Arguments at which it is not the float32 nearest to exp; results of glibc 2.36's expf."""
    for argument, word in GLIBC_EXPF.items():
        x = F32(float.fromhex(argument))
        assert expf(x).view(np.uint32) == word
        nearest = np.exp(x.astype(np.longdouble)).astype(F32)
        assert abs(int(nearest.view(np.uint32)) - word) == 1
    assert expf(F32(0)) == 1
    assert expf(F32(-200)) == 0
