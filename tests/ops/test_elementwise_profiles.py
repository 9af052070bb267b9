"""Element-wise operators in the profiles that LiteRT runs: its reference kernels, its optimised ones and
XNNPACK, on scales where the right rounding, the right order of float operations or the place of an
element in a row decides the code."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np
import pytest
from litert_runner import LiteRTRunner
from random_devices import small_device
from random_layers import LAYERS, Rng
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.fixedpoint.requantize import REQUANTIZERS
from simulator.importers.tflite import read_tflite
from simulator.ops import operator, reference_values
from simulator.profiles import RUN

F32 = np.float32
RUNTIMES = ("tflite", "ruy", "xnnpack")
CONTAINERS = {"i8": np.int8, "u8": np.uint8, "i16": np.int16}
LOWEST = {"i8": -128, "u8": 0, "i16": -32768}
Arrays = dict[str, np.ndarray]


def simulated(content: bytes, inputs: Arrays, profile: str) -> np.ndarray:
    """The only output, in the arithmetic of ``profile``."""
    graph = dataclasses.replace(read_tflite(content, "profiles"), profile=profile)
    run = Machine(compile_graph(graph, small_device())).run(inputs)
    return run.outputs[graph.outputs[0]]


def run(content: bytes, inputs: Arrays, profile: str) -> np.ndarray:
    return next(iter(LiteRTRunner(content, profile).run(inputs).values()))


def check(content: bytes, inputs: Arrays, profile: str) -> np.ndarray:
    """The output, equal to the runtime's in every bit."""
    got = simulated(content, inputs, profile)
    np.testing.assert_array_equal(got, run(content, inputs, profile), profile)
    return got


def pairs(code: str) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of 8-bit codes."""
    every = np.arange(LOWEST[code], LOWEST[code] + 256)
    x, z = (v.reshape(-1) for v in np.meshgrid(every, every))
    return x, z


def binary_model(
    kind: str, code: str, scales: tuple[np.float32, ...], points: tuple[int, ...],
    shapes: tuple[tuple[int, ...], ...], options: dict[str, Any] | None = None,
) -> bytes:  # fmt: skip
    tensors = [
        Tensor(name, shape, code, s, z)
        for name, shape, s, z in zip(("x", "z", "y"), shapes, scales, points, strict=True)
    ]
    return build_model(tensors, [Op(kind, ["x", "z"], "y", options or {})], ["x", "z"], ["y"])


def on_all_pairs(
    kind: str, code: str, scales: tuple[np.float32, ...], points: tuple[int, ...],
    options: dict[str, Any] | None = None,
) -> tuple[bytes, Arrays]:  # fmt: skip
    x, z = (v[None].astype(CONTAINERS[code]) for v in pairs(code))
    content = binary_model(kind, code, scales, points, (x[0].shape,) * 3, options)
    return content, {"x": x, "z": z}


def sum_scales(rng: Rng) -> tuple[np.float32, np.float32, np.float32]:
    """Both inputs near small fractions of the output's scale, so that many pairs sum to a tie."""
    s_out = F32(np.exp(rng.uniform(-5, 0)))
    divisor = 2 * int(rng.choice([3, 5, 7]))
    first, second = (F32(float(s_out) * int(a) / divisor) for a in rng.integers(1, 12, 2))
    return first, second, s_out


def product_scales(rng: Rng) -> tuple[np.float32, np.float32, np.float32]:
    """A ratio next to a fraction with a small denominator: products meet ties in great number."""
    s_out = F32(np.exp(rng.uniform(-5, 0)))
    first = F32(float(s_out) * int(rng.integers(1, 12)) / 64)
    return first, F32(1 / int(rng.choice([2, 4, 6, 10, 12]))), s_out


def points_of(rng: Rng, code: str) -> tuple[int, int, int]:
    a, b, c = (int(v) for v in rng.integers(LOWEST[code], LOWEST[code] + 256, 3))
    return a, b, c


@pytest.mark.parametrize("profile", RUNTIMES)
@pytest.mark.parametrize("code", ["i8", "u8"])
@pytest.mark.parametrize("kind", ["ADD", "SUB"])
def test_sums_at_ties(kind: str, code: str, profile: str) -> None:
    rng, others = np.random.default_rng(3), [p for p in RUNTIMES if p != profile]
    caught = dict.fromkeys(others, 0)
    for t in range(5):
        middle = LOWEST[code] + 128
        points = (middle,) * 3 if t % 2 else points_of(rng, code)
        content, inputs = on_all_pairs(kind, code, sum_scales(rng), points)
        got = check(content, inputs, profile)
        for other in others:
            caught[other] += int((simulated(content, inputs, other) != got).sum())
    if kind == "SUB":  # whose optimised kernel rounds as the reference does
        caught = {p: n for p, n in caught.items() if {p, profile} != {"tflite", "ruy"}}
    assert min(caught.values()) > 100, caught


@pytest.mark.parametrize("profile", RUNTIMES)
@pytest.mark.parametrize("code", ["i8", "u8"])
def test_products_at_ties(code: str, profile: str) -> None:
    """A ratio formed in double instead would give other codes; XNNPACK's differs from the others'."""
    rng = np.random.default_rng(4)
    requantizer = REQUANTIZERS["float32_even" if profile == "xnnpack" else "double_rounding"]
    x, z = pairs(code)
    zero = LOWEST[code] + 128
    caught = compared = 0
    while compared < 8:
        scales = product_scales(rng)
        single = float(scales[0] * scales[1] / scales[2])
        double = float(scales[0]) * float(scales[1]) / float(scales[2])
        if F32(double) == F32(single):
            continue
        content, inputs = on_all_pairs("MUL", code, scales, (zero,) * 3)
        got = check(content, inputs, profile).reshape(-1)
        products, places = np.unique((x - zero) * (z - zero), return_inverse=True)
        wrong = requantizer.convert(double)
        codes = np.array([requantizer.apply(int(p), *wrong) for p in products])[places] + zero
        caught += int((np.clip(codes, LOWEST[code], LOWEST[code] + 255) != got).sum())
        compared += 1
    assert caught > 100, caught


@pytest.mark.parametrize("profile", RUNTIMES)
@pytest.mark.parametrize("code", ["i8", "u8"])
def test_slopes_at_ties(code: str, profile: str) -> None:
    """PRELU of every code with every alpha."""
    rng = np.random.default_rng(7)
    every = np.arange(LOWEST[code], LOWEST[code] + 256).astype(CONTAINERS[code])
    inputs = {"x": np.repeat(every[None, :, None], 256, axis=2)}
    zero = LOWEST[code] + 128
    caught = 0
    for _ in range(4):
        s_in, s_alpha, s_out = product_scales(rng)
        tensors = [
            Tensor("x", (256, 256), code, s_in, zero), Tensor("y", (256, 256), code, s_out, zero),
            Tensor("alpha", (1, 256), code, s_alpha, zero, every[None]),
        ]  # fmt: skip
        content = build_model(tensors, [Op("PRELU", ["x", "alpha"], "y")], ["x"], ["y"])
        got = check(content, inputs, profile)
        caught += int((simulated(content, inputs, "dyadic") != got).sum())
    assert caught > 100, caught


def _tie_rich_row(rng: Rng) -> tuple[str, tuple[tuple[int, ...], ...]]:
    """A type and shapes: rows shorter and longer than the kernels' blocks, repeated in every way."""
    code = str(rng.choice(["i8", "u8", "i16"]))
    out = [int(v) for v in rng.integers(1, 7, rng.integers(0, 4))] + [int(rng.integers(1, 70))]
    shapes = [tuple(1 if rng.integers(3) == 0 else n for n in out) for _ in range(2)]
    if rng.integers(2):
        shapes[int(rng.integers(2))] = tuple(out)
    return code, (*shapes, np.broadcast_shapes(*shapes))


@pytest.mark.parametrize("profile", RUNTIMES)
@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
def test_rows_and_what_is_left_of_them(kind: str, profile: str) -> None:
    """Blocks of 8 and 16 elements and what is left, in the order in which kernels broadcast."""
    rng = np.random.default_rng(5)
    compared = 0
    while compared < 100_000:
        code, shapes = _tie_rich_row(rng)
        scales = product_scales(rng) if kind == "MUL" else sum_scales(rng)
        options = {} if kind == "MUL" else {"PotScaleInt16": False}
        middle = 0 if code == "i16" else LOWEST[code] + 128
        spread = 255 if code == "i16" else 127
        content = binary_model(kind, code, scales, (middle,) * 3, shapes, options)
        inputs = {
            name: rng.integers(middle - spread, middle + spread, (1, *shape)).astype(
                CONTAINERS[code]
            )
            for name, shape in zip(("x", "z"), shapes, strict=False)
        }
        compared += check(content, inputs, profile).size


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("profile", RUNTIMES)
def test_bounds_of_activations_at_ties(kind: str, profile: str) -> None:
    """6 / s_out or 1 / s_out is an odd half: XNNPACK rounds it after adding the zero point, to even."""
    rng = np.random.default_rng(6)
    ends = set()
    for t in range(24):
        top, number = ((6, 3), (1, 2))[t % 2]
        s_out = F32(top / (int(rng.integers(10, 100)) + 0.5))
        s_in = F32(s_out * 1.3), F32(0.5 if kind == "MUL" else s_out * 0.9)
        points = (3, 4, int(rng.integers(-60, 20)))
        options = {"FusedActivationFunction": number}
        content, inputs = on_all_pairs(kind, "i8", (*s_in, s_out), points, options)
        got = check(content, inputs, profile)
        other = simulated(content, inputs, "tflite" if profile == "xnnpack" else "xnnpack")
        ends.add(int(got.max()) - int(other.max()))
    assert 0 in ends
    assert len(ends) > 1


# Ratios of the input's scale to the output's at which XNNPACK stops taking the operator.
LIMITS = {"ADD": (-10, 8), "SUB": (-10, 8), "QUANTIZE": (-8, 7), "LEAKY_RELU": (-8, 7)}


@pytest.mark.parametrize("kind", LIMITS)
def test_where_xnnpack_gives_up(kind: str) -> None:
    x = np.arange(-128, 128, dtype=np.int8)[None]
    s_out = F32(0.1)
    for exponent in LIMITS[kind]:
        for toward in (F32(0), None, F32(np.inf)):
            s_in = F32(float(s_out) * 2.0**exponent)
            s_in = s_in if toward is None else np.nextafter(s_in, toward)
            if kind in ("ADD", "SUB"):
                for fraction in (3 / 14, 5 / 6, 7 / 10, 1 / 2):
                    other = F32(float(s_out) * fraction)
                    for scales in ((s_in, other, s_out), (other, s_in, s_out)):
                        content, inputs = on_all_pairs(kind, "i8", scales, (3, 4, -3))
                        # Sums of fewer than 2**15 codes: others wrap in the optimised kernels.
                        within = {name: v.clip(-100, 100) for name, v in inputs.items()}
                        check(content, within, "xnnpack")
                continue
            tensors = [Tensor("x", (256,), "i8", s_in, 3), Tensor("y", (256,), "i8", s_out, -3)]
            # The alpha that leaves the negative side within reach.
            options = {"Alpha": 0.7 * 2.0**-exponent} if kind == "LEAKY_RELU" else {}
            content = build_model(tensors, [Op(kind, ["x"], "y", options)], ["x"], ["y"])
            check(content, {"x": x}, "xnnpack")


def _modelled(name: str, content: bytes, inputs: Arrays, profile: str) -> bool:
    """Whether the profile's kernels are modelled: not where MUL's vector code wraps at 16 bits."""
    if (name, profile) != ("mul", "ruy"):
        return True
    graph = read_tflite(content, name)
    if graph.spec(graph.outputs[0]).dtype not in ("i8", "u8"):
        return True
    (node,) = graph.nodes
    s1, s2, s_out = (graph.quantization(n).scale for n in (*node.inputs, node.outputs[0]))
    return 255 * 255 * s1 * s2 / s_out < 2**15 - 512


MAKERS = [
    (name, profile)
    for name in (
        "abs", "add", "dequantize", "div", "exp", "floor_div", "gelu", "hard_swish", "leaky_relu",
        "logistic", "maximum", "minimum", "mul", "prelu", "quantize", "relu", "relu6",
        "relu_n1_to_1", "rsqrt", "sqrt", "sub", "tanh",
    )
    for profile in ("ruy", "xnnpack")
    if operator(name).PROFILES.get(profile) == RUN
]  # fmt: skip


@pytest.mark.parametrize(("name", "profile"), MAKERS)
def test_random_layers(name: str, profile: str) -> None:
    compared = 0
    for seed in range(60):
        layer = LAYERS[name](np.random.default_rng([zlib.crc32(name.encode()), seed]))
        if _modelled(name, layer.content, layer.inputs, profile):
            compared += check(layer.content, layer.inputs, profile).size
    assert compared > 3000


@pytest.mark.parametrize("profile", ["tflite_micro", "ruy", "xnnpack", "power_of_two", "dyadic"])
@pytest.mark.parametrize("name", sorted({name for name, _ in MAKERS}))
def test_naive_references(name: str, profile: str) -> None:
    """The datapath equals the operator's own definition in profiles that no runtime here confirms, too."""
    for seed in range(12):
        layer = LAYERS[name](np.random.default_rng([zlib.crc32(name.encode()), seed]))
        graph = dataclasses.replace(read_tflite(layer.content, name), profile=profile)
        (node,) = graph.nodes
        operands = [layer.inputs[n][0] for n in node.inputs if n in layer.inputs]
        got = simulated(layer.content, layer.inputs, profile)[0]
        np.testing.assert_array_equal(got, reference_values(graph, node, operands)[0])
