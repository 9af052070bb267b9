"""The output stage of products, per operator, types and profile, against LiteRT's kernels for it.

``RIGHT`` says which formula each of LiteRT's kernels computes. Each test shows that every other formula
would be caught, then that LiteRT and the datapath agree with the right one in every code.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import tflite
from adversarial import (
    CHANNELS,
    FEWEST_CAUGHT,
    OUTPUTS,
    Edges,
    edges,
    formulas,
    short_multiplier_edges,
)  # fmt: skip
from litert_runner import LiteRTRunner
from random_devices import small_device
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.importers.tflite import read_tflite
from simulator.tensor import TensorSpec

DR, RX, FE, FA, RM = (
    "double_rounding", "double_rounding_up", "float32_even", "float64_away", "reduced_multiplier"
)  # fmt: skip
KINDS = (DR, RX, "single_rounding", FE, FA, RM)
DOUBLE, PRODUCT, SINGLE = "double", "float32 product", "float32"
WINDOW = {"Padding": 1, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}


class Layer(NamedTuple):
    """Operator, and types of input, weights and bias."""

    operator: str
    x: str
    weights: str
    bias: str

    @property
    def wide(self) -> bool:
        """Whether sums go through 15-bit multipliers."""
        return self.bias == "i64" and self.operator != "FULLY_CONNECTED"


# Layer -> kind and order of scales in the profiles tflite, ruy and xnnpack. FULLY_CONNECTED on ruy rounds
# the product of scales to float32, but not with a scale per channel.
GEMM = f"{RX} of {PRODUCT}, per channel {DOUBLE}"
SHORT = (f"{RM} of {DOUBLE}",) * 3
CODES = (f"{DR} of {DOUBLE}", f"{RX} of {DOUBLE}", f"{FE} of {SINGLE}")
BYTES = (f"{DR} of {PRODUCT}", f"{RX} of {PRODUCT}", f"{FE} of {SINGLE}")
NOT_XNNPACK = (f"{DR} of {DOUBLE}", f"{RX} of {DOUBLE}", f"{RX} of {DOUBLE}")
RIGHT = {
    Layer("CONV_2D", "i8", "i8", "i32"): CODES,
    Layer("CONV_2D", "u8", "u8", "i32"): BYTES,
    Layer("CONV_2D", "i8", "i4", "i32"): NOT_XNNPACK,
    Layer("CONV_2D", "i16", "i8", "i32"): NOT_XNNPACK,
    Layer("CONV_2D", "i16", "i8", "i64"): SHORT,
    Layer("DEPTHWISE_CONV_2D", "i8", "i8", "i32"): CODES,
    Layer("DEPTHWISE_CONV_2D", "u8", "u8", "i32"): (
        f"{DR} of {PRODUCT}", f"{DR} of {PRODUCT}", f"{FE} of {SINGLE}"
    ),
    Layer("DEPTHWISE_CONV_2D", "i8", "i4", "i32"): NOT_XNNPACK,
    Layer("DEPTHWISE_CONV_2D", "i16", "i8", "i64"): SHORT,
    Layer("FULLY_CONNECTED", "i8", "i8", "i32"): (f"{FA} of {DOUBLE}", GEMM, f"{FE} of {SINGLE}"),
    Layer("FULLY_CONNECTED", "u8", "u8", "i32"): (f"{FA} of {DOUBLE}", GEMM, f"{FE} of {SINGLE}"),
    Layer("FULLY_CONNECTED", "i8", "i4", "i32"): (f"{FA} of {DOUBLE}", GEMM, f"{FE} of {SINGLE}"),
    Layer("FULLY_CONNECTED", "i16", "i8", "i32"): (f"{FA} of {DOUBLE}", GEMM, GEMM),
    Layer("FULLY_CONNECTED", "i16", "i8", "i64"): (f"{FA} of {DOUBLE}",) * 3,
    Layer("TRANSPOSE_CONV", "i8", "i8", "i32"): CODES,
    Layer("TRANSPOSE_CONV", "u8", "u8", "i32"): BYTES,
    Layer("TRANSPOSE_CONV", "i16", "i8", "i32"): NOT_XNNPACK,
    Layer("TRANSPOSE_CONV", "i16", "i8", "i64"): SHORT,
}  # fmt: skip
PROFILES = ("tflite", "ruy", "xnnpack")
CASES = [
    pytest.param(layer, per_channel, id=f"{'-'.join(layer)}-{'channels' if per_channel else 'one'}")
    for layer in RIGHT for per_channel in (False, True) if not (per_channel and layer.weights == "u8")
]  # fmt: skip


def right_formula(layer: Layer, profile: str, per_channel: bool) -> str:
    formula = RIGHT[layer][PROFILES.index(profile)]
    if formula == GEMM:
        return f"{RX} of {DOUBLE if per_channel else PRODUCT}"
    return formula


def zero_point(dtype: str) -> int:
    return 128 if dtype == "u8" else 0


def model(layer: Layer, e: Edges, rng: np.random.Generator) -> tuple[bytes, np.ndarray]:
    """A layer with two products per output; the bias makes up the rest of the sum."""
    n, zero, z_w = CHANNELS, zero_point(layer.x), zero_point(layer.weights)
    depthwise, flat = (layer.operator == o for o in ("DEPTHWISE_CONV_2D", "FULLY_CONNECTED"))
    depth = 2 if flat else 1  # XNNPACK wants an even reduction of int4 weights
    x_shape = (1, 2) if flat else (1, 1, 1, n if depthwise else 1)
    w_shape = (n, 2) if flat else (1, 1, 1, n) if depthwise else (n, 1, 1, 1)
    x = rng.integers(-128, 128, x_shape) + zero
    w = rng.integers(-7, 8, (n, depth)) + z_w
    products = (x.reshape(-1, depth) - zero) * (w - z_w)
    bias = (e.sums - products.sum(axis=1)).astype(TensorSpec((), layer.bias).container)
    s_w = e.w if np.ptp(e.w) else e.w[:1]
    data = w.reshape(w_shape).astype(TensorSpec((), layer.weights).container)
    tensors = [
        Tensor("x", x_shape, layer.x, e.x, zero),
        Tensor("w", w_shape, layer.weights, s_w, z_w, data, 3 if depthwise and s_w.size > 1 else 0),
        Tensor("b", (n,), layer.bias, e.x * s_w, 0, bias),
        Tensor("y", (*x_shape[:-1], n), layer.x, e.y, zero),
    ]
    options = {} if flat else dict(WINDOW)
    inputs = ["x", "w", "b"]
    if depthwise:
        options["DepthMultiplier"] = 1
    if layer.operator == "TRANSPOSE_CONV":
        tensors.append(Tensor("s", (4,), "i32", data=np.array((1, 1, 1, n), np.int32)))
        options, inputs = (
            {k: WINDOW[k] for k in ("Padding", "StrideH", "StrideW")},
            ["s", "w", "x", "b"],
        )
    if (layer.x, layer.bias) == ("i16", "i32"):
        options["QuantizedBiasType"] = tflite.TensorType.INT32
    content = build_model(tensors, [Op(layer.operator, inputs, "y", options)], ["x"], ["y"])
    return content, x[None].astype(TensorSpec((), layer.x).container)


def clamped(layer: Layer, codes: np.ndarray) -> np.ndarray:
    spec = TensorSpec((), layer.x)
    return np.clip(codes + zero_point(layer.x), spec.minimum, spec.maximum)


@pytest.mark.parametrize(("layer", "per_channel"), CASES)
def test_products(layer: Layer, per_channel: bool) -> None:
    rng = np.random.default_rng(7)
    device = small_device(ifmap_bits=16, accumulator_bits=48)
    caught: dict[str, dict[str, int]] = {profile: {} for profile in PROFILES}
    for _ in range(-(-OUTPUTS // CHANNELS)):
        if layer.wide:
            e = short_multiplier_edges(rng, per_channel)
        else:
            # XNNPACK keeps 16 times the sums of int4 weights, in 32 bits.
            e = edges(rng, layer.x, per_channel, 26 if layer.weights == "i4" else 30)
        content, x = model(layer, e, rng)
        graph = read_tflite(content, "adversarial")
        codes = {name: clamped(layer, found) for name, found in formulas(e, KINDS).items()}
        for profile in PROFILES:
            expected = LiteRTRunner(content, profile).run({"x": x})["y"]
            program = compile_graph(replace(graph, profile=profile), device)
            got = Machine(program).run({"x": x}).outputs["y"]
            np.testing.assert_array_equal(got, expected, profile)
            for name, found in codes.items():
                wrong = int((found != expected.reshape(-1)).sum())
                caught[profile][name] = caught[profile].get(name, 0) + wrong
    for profile, counts in caught.items():
        assert counts.pop(right_formula(layer, profile, per_channel)) == 0, profile
        assert min(counts.values()) > FEWEST_CAUGHT, (profile, counts)


# Types of both operands -> kind in the profiles tflite, ruy and xnnpack; XNNPACK takes int8 alone.
MATRICES = {
    ("i8", "i8"): (f"{DR} of {PRODUCT}", f"{DR} of {PRODUCT}", f"{FE} of {SINGLE}"),
    ("i16", "i8"): (f"{RM} of {PRODUCT}",) * 3,
    ("i16", "i16"): (f"{RM} of {PRODUCT}",) * 3,
}
DEPTH = 1400
BASE = {"i8": 127, "i16": 2**15 - 1}


def matrices(types: tuple[str, str], e: Edges) -> tuple[bytes, dict[str, np.ndarray]]:
    """One row for each sum, one column: largest codes, then what is left of the sum times 1."""
    high = BASE[types[1]]
    rest = np.abs(e.sums)
    x = np.zeros((CHANNELS, DEPTH), np.int64)
    x[:, -1] = rest % high
    rest //= high
    full, last = np.divmod(rest, BASE[types[0]])
    assert full.max() < DEPTH - 1
    x[np.arange(DEPTH)[None, :] < full[:, None]] = BASE[types[0]]
    x[np.arange(CHANNELS), full] = last
    w = np.full((DEPTH, 1), high)
    w[-1] = 1
    tensors = [
        Tensor("x", x.shape, types[0], e.x), Tensor("w", w.shape, types[1], e.w[0]),
        Tensor("y", (CHANNELS, 1), types[0], e.y),
    ]  # fmt: skip
    content = build_model(tensors, [Op("BATCH_MATMUL", ["x", "w"], "y")], ["x", "w"], ["y"])
    x_codes, w_codes = (
        v[None].astype(TensorSpec((), t).container)
        for v, t in ((x * np.sign(e.sums)[:, None], types[0]), (w, types[1]))
    )
    return content, {"x": x_codes, "w": w_codes}


@pytest.mark.parametrize("types", MATRICES)
def test_matrices(types: tuple[str, str]) -> None:
    rng = np.random.default_rng(5)
    device = small_device(ifmap_bits=16, weight_bits=16, accumulator_bits=48)
    layer = Layer("BATCH_MATMUL", *types, "")
    caught: dict[str, dict[str, int]] = {profile: {} for profile in PROFILES}
    for _ in range(-(-OUTPUTS // CHANNELS)):
        e = (
            edges(rng, "i8", False, 24)
            if types[0] == "i8"
            else short_multiplier_edges(rng, False, 30)
        )
        content, inputs = matrices(types, e)
        graph = read_tflite(content, "adversarial")
        codes = {name: clamped(layer, found) for name, found in formulas(e, KINDS).items()}
        for profile in PROFILES:
            expected = LiteRTRunner(content, profile).run(inputs)["y"]
            program = compile_graph(replace(graph, profile=profile), device)
            got = Machine(program).run(inputs).outputs["y"]
            np.testing.assert_array_equal(got, expected, profile)
            for name, found in codes.items():
                wrong = int((found != expected.reshape(-1)).sum())
                caught[profile][name] = caught[profile].get(name, 0) + wrong
    for profile, right in zip(PROFILES, MATRICES[types], strict=True):
        assert caught[profile].pop(right) == 0, profile
        assert min(caught[profile].values()) > FEWEST_CAUGHT, (profile, caught[profile])
