"""Worked vectors through the whole way, model file to output codes; every number is LiteRT's own."""

from __future__ import annotations

import numpy as np
import pytest
from litert_runner import LiteRTRunner
from random_devices import small_device
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.importers.tflite import read_tflite
from simulator.program.commands import Vector

WINDOW = {"Padding": 1, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}


def single_product(kind: str) -> bytes:
    """One input times one weight, M = 0.00215302: the layer that tells the requantizers apart."""
    shape = (1, 1) if kind == "FULLY_CONNECTED" else (1, 1, 1, 1)
    tensors = [
        Tensor("x", shape, "i8", np.float32(0.0235)),
        Tensor("w", shape, "i8", np.float32(0.0047), data=np.full(shape, -17, np.int8)),
        Tensor("b", (1,), "i32", np.float32(0.0235) * np.float32(0.0047), data=np.zeros(1, "i4")),
        Tensor("y", shape, "i8", np.float32(0.0513)),
    ]
    options = {} if kind == "FULLY_CONNECTED" else WINDOW
    return build_model(tensors, [Op(kind, ["x", "w", "b"], "y", options)], ["x"], ["y"])


def run(content: bytes, **inputs: np.ndarray) -> np.ndarray:
    """The only output, on a small device."""
    graph = read_tflite(content, "worked")
    return Machine(compile_graph(graph, small_device())).run(inputs).outputs["y"]


@pytest.mark.golden
@pytest.mark.parametrize(("kind", "expected"), [("CONV_2D", [-2, 2]), ("FULLY_CONNECTED", [-2, 2])])
def test_one_product(kind: str, expected: list[int]) -> None:
    content = single_product(kind)
    shape = (2, 1, 1) if kind == "FULLY_CONNECTED" else (2, 1, 1, 1, 1)
    x = np.array([41, -41], np.int8).reshape(shape)  # accumulators -697 and 697
    assert run(content, x=x).reshape(-1).tolist() == expected


@pytest.mark.golden
@pytest.mark.parametrize(("kind", "expected"), [("CONV_2D", [1, -1]), ("FULLY_CONNECTED", [0, 0])])
def test_one_bias(kind: str, expected: list[int]) -> None:
    """Accumulators +232 and -232, as biases: double rounding gives a code more than it should."""
    shape = (2, 1) if kind == "FULLY_CONNECTED" else (2, 1, 1, 1)
    out = (1, 2) if kind == "FULLY_CONNECTED" else (1, 1, 1, 2)
    tensors = [
        Tensor("x", (*out[:-1], 1), "i8", np.float32(0.0235)),
        Tensor("w", shape, "i8", np.float32(0.0047), data=np.zeros(shape, np.int8)),
        Tensor("b", (2,), "i32", np.float32(0.0235) * np.float32(0.0047),
               data=np.array([232, -232], np.int32)),
        Tensor("y", out, "i8", np.float32(0.0513)),
    ]  # fmt: skip
    options = {} if kind == "FULLY_CONNECTED" else WINDOW
    content = build_model(tensors, [Op(kind, ["x", "w", "b"], "y", options)], ["x"], ["y"])
    x = np.zeros((1, *out[:-1], 1), np.int8)
    assert run(content, x=x).reshape(-1).tolist() == expected


@pytest.mark.golden
def test_add() -> None:
    shape = (5,)
    tensors = [
        Tensor("x", shape, "i8", np.float32(0.05), -5),
        Tensor("z", shape, "i8", np.float32(0.03), 10),
        Tensor("y", shape, "i8", np.float32(0.06), 3),
    ]
    content = build_model(tensors, [Op("ADD", ["x", "z"], "y")], ["x", "z"], ["y"])
    x = np.array([[10, -128, 127, 3, 0]], np.int8)
    z = np.array([[20, 127, 127, -40, 0]], np.int8)
    assert run(content, x=x, z=z).tolist() == [[21, -41, 127, -15, 2]]
    (command,) = compile_graph(read_tflite(content, "add"), small_device()).commands
    assert isinstance(command, Vector)
    scalings = [
        (command.parameter(f"multiplier_{s}"), command.parameter(f"shift_{s}"))
        for s in ("1", "2", "out")
    ]
    assert scalings == [(2**30, 0), (1288490141, -1), (1789569773, -19)]


SOFTMAX_ROWS = [
    (0.1, [10, 12, -5, 100], [-128, -128, -128, 127]),
    (0.1, [0, 1, 2, 3], [-73, -68, -61, -54]),
    (0.02, [10, 12, -5, 100], [-99, -98, -107, 47]),
]


def softmax_model(scale: float, depth: int, beta: float = 1.0) -> bytes:
    tensors = [
        Tensor("x", (1, depth), "i8", np.float32(scale)),
        Tensor("y", (1, depth), "i8", np.float32(1 / 256), -128),
    ]
    return build_model(tensors, [Op("SOFTMAX", ["x"], "y", {"Beta": beta})], ["x"], ["y"])


@pytest.mark.golden
@pytest.mark.parametrize(("scale", "row", "expected"), SOFTMAX_ROWS)
def test_softmax(scale: float, row: list[int], expected: list[int]) -> None:
    got = run(softmax_model(scale, 4), x=np.array([[row]], np.int8))
    assert got.reshape(-1).tolist() == expected


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("scale", [1e-7, 1e-4, 0.5, 7.9, 15.9, 16.0, 31.9, 33.0, 1000.0])
def test_softmax_at_extreme_scales(scale: float, beta: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (40, 1, 9)).astype(np.int8)
    x[::2] = np.clip(x[::2] % 3 + 120, -128, 127)
    content = softmax_model(scale, 9, beta)
    np.testing.assert_array_equal(run(content, x=x), LiteRTRunner(content).run({"x": x})["y"])


def test_convolution_without_a_bias_is_one_with_zeros() -> None:
    """LiteRT refuses a CONV_2D of 8-bit codes without a bias, so zeros are the comparison."""
    rng = np.random.default_rng(0)
    tensors = [
        Tensor("x", (1, 5, 6, 3), "i8", np.float32(0.02), 3),
        Tensor("w", (4, 3, 3, 3), "i8", np.float32(0.01),
               data=rng.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)),
        Tensor("y", (1, 3, 4, 4), "i8", np.float32(0.4)),
        Tensor("b", (4,), "i32", np.float32(0.02) * np.float32(0.01), data=np.zeros(4, np.int32)),
    ]  # fmt: skip
    x = rng.integers(-128, 128, (3, 1, 5, 6, 3)).astype(np.int8)
    results = [
        run(build_model(t, [Op("CONV_2D", names, "y", WINDOW)], ["x"], ["y"]), x=x)
        for t, names in [
            (tensors, ["x", "w", "b"]), (tensors[:3], ["x", "w"]), (tensors[:3], ["x", "w", ""])
        ]
    ]  # fmt: skip
    assert results[0].std() > 10
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
