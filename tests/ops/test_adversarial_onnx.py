"""The output stage of products in profile ``onnxruntime``, against ONNX Runtime.

As ``test_adversarial_products``: every wrong formula is caught, the right one and the datapath agree with
the runtime.
"""

from __future__ import annotations

import numpy as np
import pytest
from adversarial import CHANNELS, FEWEST_CAUGHT, OUTPUTS, Edges, edges, formulas
from onnx_compare import LARGEST_WEIGHT
from onnx_products import DENSE, Coded, OnnxLayer, OnnxRunner, convolution
from random_devices import small_device

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.tensor import TensorSpec

RIGHT = "float32_even of float32"
KINDS = ("double_rounding", "double_rounding_up", "single_rounding", "float32_even", "float64_away")
TYPES = (("i8", "i8"), ("u8", "u8"), ("u8", "i8"))


def zero_points(rng: np.random.Generator, x: str, w: str) -> tuple[int, int, int]:
    low, high = TensorSpec((), x).minimum, TensorSpec((), x).maximum
    return (
        int(rng.integers(low + 20, high - 20)), int(rng.integers(-5, 6)) + 128 * (w == "u8"),
        128 * (x == "u8"),
    )  # fmt: skip


def convolved(
    rng: np.random.Generator, e: Edges, types: tuple[str, str]
) -> tuple[OnnxLayer, np.ndarray]:
    """QLinearConv of one pixel; the bias makes up the rest of the sum."""
    z_x, z_w, z_y = zero_points(rng, *types)
    s_w = e.w if np.ptp(e.w) else e.w[0]
    x = rng.integers(0, 100, (1, 1, 1, 1, 1)).astype(TensorSpec((), types[0]).container)
    w = (rng.integers(-7, 8, (CHANNELS, 1, 1, 1)) + z_w).astype(TensorSpec((), types[1]).container)
    bias = e.sums - (int(x.item()) - z_x) * (w.reshape(-1).astype(np.int64) - z_w)
    shape = (1, 1, 1, CHANNELS)
    layer = OnnxLayer(
        "conv_2d", Coded((1, 1, 1, 1), types[0], e.x, z_x), Coded(w.shape, types[1], s_w, z_w, w),
        Coded(shape, types[0], e.y, z_y), shape, bias, convolution(),
    )  # fmt: skip
    return layer, x


DEPTH = 3200
# Codes of x less their zero point, and weights: as large as every processor multiplies exactly.
_HIGH = 100
_WEIGHT = min(_HIGH, LARGEST_WEIGHT - 8)


def multiplied(
    rng: np.random.Generator, e: Edges, types: tuple[str, str]
) -> tuple[OnnxLayer, np.ndarray]:
    """QLinearMatMul: each row of x makes its sum with equal weights, the last of them 1."""
    z_x, z_w, z_y = zero_points(rng, *types)
    z_x = 0 if types[0] == "i8" else 128
    rest, signs = np.abs(e.sums), np.sign(e.sums)
    x = np.zeros((CHANNELS, DEPTH), np.int64)
    x[:, -1] = rest % _WEIGHT
    rest //= _WEIGHT
    full = rest // _HIGH
    x[np.arange(DEPTH)[None, :] < full[:, None]] = _HIGH
    x[np.arange(CHANNELS), full] = rest % _HIGH
    w = np.full((1, DEPTH), _WEIGHT)
    w[0, -1] = 1
    w_codes = (w + z_w).astype(TensorSpec((), types[1]).container)
    x_codes = (x * signs[:, None] + z_x).astype(TensorSpec((), types[0]).container)
    layer = OnnxLayer(
        "fully_connected", Coded(x.shape, types[0], e.x, z_x),
        Coded(w.shape, types[1], e.w[0], z_w, w_codes),
        Coded((CHANNELS, 1), types[0], e.y, z_y), (CHANNELS, 1), None, DENSE,
    )  # fmt: skip
    return layer, x_codes[None]


CASES = [
    *(
        pytest.param("conv", t, c, id=f"conv-{'-'.join(t)}-{c}")
        for t in TYPES
        for c in (False, True)
    ),
    *(pytest.param("matmul", t, False, id=f"matmul-{'-'.join(t)}") for t in TYPES),
]


@pytest.mark.parametrize(("operator", "types", "per_channel"), CASES)
def test_products(operator: str, types: tuple[str, str], per_channel: bool) -> None:
    rng = np.random.default_rng(11)
    caught: dict[str, int] = {}
    spec = TensorSpec((), types[0])
    for _ in range(-(-OUTPUTS // CHANNELS)):
        e = edges(rng, types[0], per_channel, 30 if operator == "conv" else 24)
        make = convolved if operator == "conv" else multiplied
        layer, x = make(rng, e, types)
        assert layer.y is not None
        expected = OnnxRunner(layer).run({"x": x})
        program = compile_graph(layer.graph(), small_device())
        got = Machine(program).run({"x": x}).outputs["y"]
        np.testing.assert_array_equal(got, expected)
        for name, found in formulas(e, KINDS).items():
            codes = np.clip(found + layer.y.zero_point, spec.minimum, spec.maximum)
            caught[name] = caught.get(name, 0) + int((codes != expected.reshape(-1)).sum())
    assert caught.pop(RIGHT) == 0
    assert min(caught.values()) > FEWEST_CAUGHT, caught
