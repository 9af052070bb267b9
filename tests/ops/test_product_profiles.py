"""Products under the profiles of LiteRT's other kernels, and under those that no runtime stands for.

Random layers show that shapes, groups, padding and tails are right; which bit decides a code is shown by
``test_adversarial_products``.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from adversarial import Edges, edges, formulas, scale_orders
from layer_parts import codes
from litert_runner import LiteRTRunner
from random_devices import compile_tightly, small_device
from random_layers import LAYERS, Layer, Rng
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.errors import ModelError
from simulator.graph import Graph
from simulator.importers.tflite import read_tflite
from simulator.ops import operator, reference_values
from simulator.ops._stage import output_stage, sums_only, taken_by_xnnpack
from simulator.profiles import PROFILES
from simulator.program.commands import Host
from simulator.program.traffic import weight_bytes

F32 = np.float32
WIDE = {"ifmap_bits": 16, "weight_bits": 16, "accumulator_bits": 48}
PRODUCTS = ("conv_2d", "depthwise_conv_2d", "fully_connected", "transpose_conv", "batch_matmul")
WINDOW = {"Padding": 1, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
LAYERS_PER_PRODUCT = 100


def crashes(graph: Graph) -> bool:
    """LiteRT's optimised DEPTHWISE_CONV_2D of 8 bits crashes without a bias."""
    (node,) = graph.nodes
    eight_bit = graph.spec(node.inputs[0]).dtype != "i16"
    return node.operator == "depthwise_conv_2d" and len(node.inputs) == 2 and eight_bit


def split_within_pixels(graph: Graph) -> bool:
    """What a test below is about: such layers are refused."""
    (node,) = graph.nodes
    spec = graph.spec(node.outputs[0])
    if (node.operator, spec.dtype) != ("transpose_conv", "u8"):
        return False
    by_xnnpack = graph.profile == "xnnpack" and taken_by_xnnpack(graph, node)
    return spec.elements > 16 and spec.elements % 16 > 0 and not by_xnnpack


def naive(graph: Graph, layer: Layer) -> np.ndarray:
    (node,) = graph.nodes
    operands = [layer.inputs[name][0] for name in node.inputs if name in layer.inputs]
    return reference_values(graph, node, operands)[0]


@pytest.mark.parametrize("profile", ["ruy", "xnnpack"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_random_layers(name: str, profile: str) -> None:
    compared = delegated = on_device = 0
    for seed in range(LAYERS_PER_PRODUCT):
        rng = np.random.default_rng([zlib.crc32(name.encode()), seed, 1])
        layer = LAYERS[name](rng)
        graph = replace(read_tflite(layer.content, f"seed {seed}"), profile=profile)
        if crashes(graph):
            continue
        if split_within_pixels(graph):
            continue
        program = compile_tightly(rng, graph, **WIDE)
        runner = LiteRTRunner(layer.content, profile)
        if profile == "xnnpack":
            (node,) = graph.nodes
            taken = not sums_only(graph, node) and taken_by_xnnpack(graph, node)
            assert runner.delegated == taken, f"seed {seed}"
            delegated += taken
        expected = runner.run(layer.inputs)["y"]
        got = Machine(program).run(layer.inputs).outputs["y"]
        np.testing.assert_array_equal(got, expected, f"LiteRT, seed {seed}")
        np.testing.assert_array_equal(got[0], naive(graph, layer), f"naive, seed {seed}")
        on_device += not any(isinstance(c, Host) for c in program.commands)
        compared += got.size
    assert compared > 5000
    assert on_device > LAYERS_PER_PRODUCT // 4
    assert delegated > 5 or profile == "ruy"


@pytest.mark.parametrize("profile", ["tflite_micro", "power_of_two", "dyadic"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_profiles_without_a_runtime_equal_their_definition(name: str, profile: str) -> None:
    different = 0
    for seed in range(40):
        rng = np.random.default_rng([zlib.crc32(name.encode()), seed, 2])
        layer = LAYERS[name](rng)
        graph = read_tflite(layer.content, f"seed {seed}")
        plain = Machine(compile_graph(graph, small_device(**WIDE))).run(layer.inputs).outputs["y"]
        graph = replace(graph, profile=profile)
        got = Machine(compile_tightly(rng, graph, **WIDE)).run(layer.inputs).outputs["y"]
        np.testing.assert_array_equal(got[0], naive(graph, layer), f"seed {seed}")
        different += int((got != plain).sum())
    if profile == "power_of_two":
        assert different > 100
    elif (profile, name) != ("tflite_micro", "fully_connected") and profile == "tflite_micro":
        assert different == 0


def dense(e: Edges, per_channel: bool, dtype: str = "i8") -> bytes:
    """FULLY_CONNECTED of one value by ones; the bias makes up the sum."""
    n = e.sums.size
    s_w = e.w if per_channel else e.w[:1]
    tensors = [
        Tensor("x", (1, 1), dtype, e.x),
        Tensor("w", (n, 1), "i8", s_w, 0, np.ones((n, 1), np.int8)),
        Tensor("b", (n,), "i64" if dtype == "i16" else "i32", e.x * s_w, 0,
               e.sums.astype(np.int64 if dtype == "i16" else np.int32)),
        Tensor("y", (1, n), dtype, e.y),
    ]  # fmt: skip
    return build_model(tensors, [Op("FULLY_CONNECTED", ["x", "w", "b"], "y")], ["x"], ["y"])


@pytest.mark.parametrize(
    ("profile", "per_channel", "formula"),
    [
        ("tflite_micro", False, "double_rounding of float32 product"),
        ("tflite_micro", True, "double_rounding of double"),
        ("dyadic", False, "dyadic_even of float32 product"),
        ("dyadic", True, "dyadic_even of float32 product"),
    ],
)
def test_formulas_without_a_runtime(profile: str, per_channel: bool, formula: str) -> None:
    """Micro: its fully connected kernel calls the integer overload (source); dyadic: HAWQ-V3 (source)."""
    rng = np.random.default_rng(3)
    others = 0
    for _ in range(8):
        e = edges(rng, "i8", per_channel)
        found = {k: np.clip(v, -128, 127) for k, v in formulas(e, (formula.split()[0],)).items()}
        graph = replace(read_tflite(dense(e, per_channel), "formula"), profile=profile)
        x = np.zeros((1, 1, 1), np.int8)
        got = Machine(compile_graph(graph, small_device())).run({"x": x}).outputs["y"].reshape(-1)
        np.testing.assert_array_equal(got, found.pop(formula))
        others += min(int((codes != got).sum()) for codes in found.values())
    assert others > 10


def test_power_of_two_scales_are_the_nearest_by_ratio() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        e = edges(rng, "i8", True)
        graph = replace(read_tflite(dense(e, True), "shifts"), profile="power_of_two")
        stage = output_stage(graph, graph.nodes[0], e.sums.size)
        logs = np.log2(scale_orders(e)["double"])
        assert stage.kind == "power_of_two"
        np.testing.assert_array_equal(np.log2(stage.scales), np.rint(logs))


def vector_layer(rng: Rng, kind: str, shape: tuple[int, int, int, int], code: str) -> Layer:
    """A 1x1 layer with a scale that makes many ties; weights and biases small."""
    channels, zero = shape[3], 128 if code == "u8" else 0
    container = np.uint8 if code == "u8" else np.int8
    depthwise = kind == "DEPTHWISE_CONV_2D"
    x_shape = shape if depthwise else (*shape[:3], 1)
    w_shape = (1, 1, 1, channels) if depthwise else (channels, 1, 1, 1)
    w = (rng.integers(-3, 4, channels) + zero).astype(container)
    bias = rng.integers(-900, 900, channels).astype(np.int32)
    y = F32(2.0 ** rng.integers(3, 6))
    tensors = [
        Tensor("x", x_shape, code, F32(1), zero), Tensor("y", shape, code, y, zero),
        Tensor("w", w_shape, code, F32(1), zero, w.reshape(w_shape)),
        Tensor("b", (channels,), "i32", F32(1), 0, bias),
        Tensor("s", (4,), "i32", data=np.array(shape, np.int32)),
    ]  # fmt: skip
    if depthwise:
        op = Op(kind, ["x", "w", "b"], "y", {**WINDOW, "DepthMultiplier": 1})
    else:
        options = {k: WINDOW[k] for k in ("Padding", "StrideH", "StrideW")}
        op = Op(kind, ["s", "w", "x", "b"], "y", options)
    return Layer(tensors, [op], {"x": codes(rng, code, 2, *x_shape)}, ["y"])


@pytest.mark.parametrize(
    ("kind", "code", "shapes"),
    [
        ("DEPTHWISE_CONV_2D", "i8", [(1, 4, 4, c) for c in range(1, 27)]),
        ("TRANSPOSE_CONV", "i8", [(1, 4, 4, c) for c in range(1, 27)]),
        (
            "TRANSPOSE_CONV",
            "u8",
            [*((1, 1, 1, c) for c in range(1, 50)), (1, 1, 5, 3), (2, 4, 4, 5)],
        ),
    ],
)
def test_what_vector_loops_leave_over_is_rounded_twice(
    kind: str, code: str, shapes: list[tuple[int, int, int, int]]
) -> None:
    """The tail differs from the rest, and neither rounding serves for both."""
    rng, wrong = np.random.default_rng(6), {"double_rounding": 0, "double_rounding_up": 0}
    for shape in shapes * (8 if code == "u8" else 1):
        layer = vector_layer(rng, kind, shape, code)
        graph = replace(read_tflite(layer.content, "tail"), profile="ruy")
        program = compile_graph(graph, small_device())
        expected = LiteRTRunner(layer.content, "ruy").run(layer.inputs)["y"]
        got = Machine(program).run(layer.inputs).outputs["y"]
        np.testing.assert_array_equal(got, expected, str(shape))
        *moves, command = program.commands
        for one in wrong:
            stage = replace(command.requantize, kind=one, tail_kind="", tail_channels=0)  # type: ignore[union-attr]
            other = replace(program, commands=(*moves, replace(command, requantize=stage)))  # type: ignore[type-var]
            wrong[one] += int((Machine(other).run(layer.inputs).outputs["y"] != expected).sum())
    assert min(wrong.values()) > 10, wrong


def test_a_uint8_transposed_convolution_that_ruy_splits_within_a_pixel_is_refused() -> None:
    layer = vector_layer(np.random.default_rng(1), "TRANSPOSE_CONV", (1, 3, 3, 5), "u8")
    graph = replace(read_tflite(layer.content, "split"), profile="ruy")
    with pytest.raises(
        ModelError, match="45 outputs of uint8 in profile ruy; allowed: a multiple of 16"
    ):
        compile_graph(graph, small_device())


def scaled(ratio: float) -> Layer:
    """A convolution by this real scale."""
    tensors = [
        Tensor("x", (1, 2, 2, 1), "i8", F32(ratio)),
        Tensor("w", (8, 1, 1, 1), "i8", F32(1), 0, np.ones((8, 1, 1, 1), np.int8)),
        Tensor("b", (8,), "i32", F32(ratio), 0, np.zeros(8, np.int32)),
        Tensor("y", (1, 2, 2, 8), "i8", F32(1)),
    ]
    op = Op("CONV_2D", ["x", "w", "b"], "y", WINDOW)
    return Layer(tensors, [op], {"x": np.ones((1, 1, 2, 2, 1), np.int8)}, ["y"])


def test_scales_that_xnnpack_does_not_take() -> None:
    below, limit = np.nextafter(F32(256), F32(0), dtype=F32), F32(256)
    for ratio in (float(below), 2.0**-40):
        layer = scaled(ratio)
        graph = replace(read_tflite(layer.content, "scaled"), profile="xnnpack")
        runner = LiteRTRunner(layer.content, "xnnpack")
        got = Machine(compile_graph(graph, small_device())).run(layer.inputs).outputs["y"]
        np.testing.assert_array_equal(got, runner.run(layer.inputs)["y"])
        assert runner.delegated
    layer = scaled(float(limit))
    with pytest.raises(RuntimeError, match="XNNPACK"):
        LiteRTRunner(layer.content, "xnnpack")
    graph = replace(read_tflite(layer.content, "scaled"), profile="xnnpack")
    with pytest.raises(ModelError, match="scale 256 in profile xnnpack; allowed: below 256"):
        compile_graph(graph, small_device())


def test_sums_of_int4_weights_that_xnnpack_would_wrap() -> None:
    tensors = [
        Tensor("x", (1, 2), "i8", F32(1)),
        Tensor("w", (1, 2), "i4", F32(1), 0, np.ones((1, 2), np.int8)),
        Tensor("b", (1,), "i32", F32(1), 0, np.array([2**27], np.int32)),
        Tensor("y", (1, 1), "i8", F32(2.0**21)),
    ]
    content = build_model(tensors, [Op("FULLY_CONNECTED", ["x", "w", "b"], "y")], ["x"], ["y"])
    x = {"x": np.zeros((1, 1, 2), np.int8)}
    assert LiteRTRunner(content, "tflite").run(x)["y"].item() == 64
    # Which of its kernels runs depends on the processor: those for AVX2 keep the sum itself.
    assert LiteRTRunner(content, "xnnpack").run(x)["y"].item() in (-64, 64)
    graph = replace(read_tflite(content, "int4"), profile="xnnpack")
    with pytest.raises(ModelError, match="int4 weights in profile xnnpack"):
        compile_graph(graph, small_device())


@pytest.mark.parametrize("activation", [1, 2, 3])
def test_bounds_of_activations_at_ties(activation: int) -> None:
    """XNNPACK adds the zero point before it rounds a bound, and rounds ties to even."""
    different = 0
    for scale in (4.0, 2.4, 2.0, 6 / 3.5, 0.05):
        for zero in (-4, -3, 0, 1, 2):
            x = np.arange(-128, 128, dtype=np.int8).reshape(1, 1, 16, 16, 1)
            tensors = [
                Tensor("x", (1, 16, 16, 1), "i8", F32(scale), zero),
                Tensor("w", (1, 1, 1, 1), "i8", F32(1), 0, np.ones((1, 1, 1, 1), np.int8)),
                Tensor("b", (1,), "i32", F32(scale), 0, np.zeros(1, np.int32)),
                Tensor("y", (1, 16, 16, 1), "i8", F32(scale), zero),
            ]
            options: dict[str, Any] = {**WINDOW, "FusedActivationFunction": activation}
            op = Op("CONV_2D", ["x", "w", "b"], "y", options)
            content = build_model(tensors, [op], ["x"], ["y"])
            found = {}
            for profile in ("tflite", "ruy", "xnnpack"):
                graph = replace(read_tflite(content, "bounds"), profile=profile)
                got = Machine(compile_graph(graph, small_device())).run({"x": x}).outputs["y"]
                expected = LiteRTRunner(content, profile).run({"x": x})["y"]
                np.testing.assert_array_equal(got, expected, f"{profile} {scale} {zero}")
                found[profile] = got.tobytes()
            different += found["tflite"] != found["xnnpack"]
    assert (different > 0) == (activation != 1)  # RELU's bound is the zero point itself


def test_four_bit_weights_are_stored_packed() -> None:
    """Half the bytes of 8-bit ones, beside what the channels bring along."""
    sizes = {}
    for dtype in ("i4", "i8"):
        tensors = [
            Tensor("x", (1, 64), "i8", F32(1)),
            Tensor("w", (32, 64), dtype, F32(1), 0, np.ones((32, 64), np.int8)),
            Tensor("y", (1, 32), "i8", F32(64)),
        ]
        content = build_model(tensors, [Op("FULLY_CONNECTED", ["x", "w"], "y")], ["x"], ["y"])
        (command,) = compile_graph(read_tflite(content, dtype), small_device()).commands
        sizes[dtype] = weight_bytes(command)  # type: ignore[arg-type]
    assert sizes["i8"] - sizes["i4"] == 32 * 64 // 2


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_profile_is_spoken_for(name: str) -> None:
    # QONNX graphs have no transposed convolution, nor products of two activations.
    absent = {"qonnx"} if name in ("transpose_conv", "batch_matmul") else set[str]()
    assert set(operator(name).PROFILES) == set(PROFILES) - absent
