"""Random products in profile ``onnxruntime`` against ONNX Runtime: shapes, groups, pads, types, sums.

Which bit decides a code is shown by ``test_adversarial_onnx``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from layer_parts import Rng, codes, scale, zero_point
from onnx_compare import LARGEST_WEIGHT
from onnx_products import DENSE, MATRICES, Coded, OnnxLayer, OnnxRunner, convolution
from random_devices import compile_tightly

from simulator.datapath.machine import Machine
from simulator.errors import ModelError
from simulator.importers._check import check_graph
from simulator.ops import reference_values

TYPES = (("i8", "i8"), ("u8", "u8"), ("u8", "i8"))
Made = tuple[OnnxLayer, dict[str, np.ndarray]]


def weights(rng: Rng, dtype: str, *shape: int) -> np.ndarray:
    """Codes that every processor multiplies exactly."""
    values = codes(rng, dtype, *shape)
    return values if dtype == "u8" else np.clip(values, -LARGEST_WEIGHT, LARGEST_WEIGHT - 1)


def coded(rng: Rng, shape: tuple[int, ...], dtype: str, scales: int = 1) -> Coded:
    """A constant; with several scales along its first axis."""
    several = np.array([scale(rng) for _ in range(scales)], np.float32)
    values = weights(rng, dtype, *shape)
    return Coded(
        shape, dtype, several if scales > 1 else several[0], zero_point(rng, dtype), values
    )


def finished(rng: Rng, layer: OnnxLayer, terms: int) -> Made:
    """The layer with a scale for its output, or without one; and inputs for it."""
    x, w = layer.x, layer.w
    y = None
    bias = layer.bias
    sums = np.sqrt(terms) * 75.0**2
    if rng.integers(4):
        step = float(x.scale * np.max(w.scale) * sums / np.exp(rng.uniform(2, 7)))
        y = Coded(layer.y_shape, x.dtype, np.float32(step), zero_point(rng, x.dtype))
    else:
        bias = None  # ConvInteger and MatMulInteger have none
    layer = OnnxLayer(layer.operator, x, w, y, layer.y_shape, bias, layer.attrs)
    inputs = {"x": codes(rng, x.dtype, 2, *x.shape)}
    if w.values is None:
        inputs["w"] = weights(rng, w.dtype, 2, *w.shape)
    return layer, inputs


def _types(rng: Rng) -> tuple[str, str]:
    return TYPES[rng.integers(3)]


def conv(rng: Rng) -> Made:
    groups, k, n = (int(v) for v in rng.integers(1, 4, 3))
    kernel = [int(v) for v in rng.integers(1, 4, 2)]
    names = ("stride_h", "stride_w", "dilation_h", "dilation_w")
    values: dict[str, int] = dict(zip(names, (int(v) for v in rng.integers(1, 3, 4)), strict=True))
    sides = ("pad_top", "pad_bottom", "pad_left", "pad_right")
    values |= dict(zip(sides, (int(v) for v in rng.integers(0, 3, 4)), strict=True))
    image = [int(v) for v in rng.integers(5, 9, 2)]
    depthwise = k == 1 and bool(rng.integers(2))
    out = [
        (image[i] + values[a] + values[b] - (kernel[i] - 1) * values[f"dilation_{d}"] - 1)
        // values[f"stride_{d}"] + 1
        for i, (a, b, d) in enumerate((("pad_top", "pad_bottom", "h"), ("pad_left", "pad_right", "w")))
    ]  # fmt: skip
    x_type, w_type = _types(rng)
    channels = groups * n
    w = coded(rng, (channels, *kernel, k), w_type, channels if rng.integers(2) else 1)
    if depthwise:
        assert w.values is not None
        turned = w.values.reshape(channels, *kernel).transpose(1, 2, 0)[None]
        w = Coded(turned.shape, w_type, w.scale, w.zero_point, turned, 3 if np.ndim(w.scale) else 0)
    shape = (1, *image, groups * k)
    x = Coded(shape, x_type, scale(rng), zero_point(rng, x_type))
    bias = rng.normal(0, 20_000, channels).astype(np.int32) if rng.integers(2) else None
    operator = "depthwise_conv_2d" if depthwise else "conv_2d"
    attrs = convolution("NONE", **values)
    layer = OnnxLayer(operator, x, w, None, (1, out[0], out[1], channels), bias, attrs)
    return finished(rng, layer, k * kernel[0] * kernel[1])


def dense(rng: Rng) -> Made:
    m, k, n = (int(v) for v in rng.integers(1, 30, 3))
    x_type, w_type = _types(rng)
    x = Coded((m, k), x_type, scale(rng), zero_point(rng, x_type))
    w = coded(rng, (n, k), w_type, n if rng.integers(2) else 1)
    return finished(rng, OnnxLayer("fully_connected", x, w, None, (m, n), None, DENSE), k)


def batched(rng: Rng) -> Made:
    b, m, k, n = (int(v) for v in rng.integers(1, 9, 4))
    x_type, w_type = _types(rng)
    x = Coded((b, m, k), x_type, scale(rng), zero_point(rng, x_type))
    w = Coded((b, k, n), w_type, scale(rng), zero_point(rng, w_type))
    return finished(rng, OnnxLayer("batch_matmul", x, w, None, (b, m, n), None, MATRICES), k)


@pytest.mark.parametrize("maker", [conv, dense, batched])
def test_random_layers(maker: Callable[[Rng], Made]) -> None:
    compared, operators = 0, set()
    for seed in range(100):
        rng = np.random.default_rng([seed, 12])
        layer, inputs = maker(rng)
        graph = layer.graph()
        expected = OnnxRunner(layer).run(inputs)
        got = Machine(compile_tightly(rng, graph)).run(inputs).outputs["y"]
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected, f"ONNX Runtime, seed {seed}")
        operands = [inputs[name][0] for name in graph.nodes[0].inputs if name in inputs]
        by_definition = reference_values(graph, graph.nodes[0], operands)[0]
        np.testing.assert_array_equal(got[0], by_definition, f"naive, seed {seed}")
        operators.add((layer.operator, layer.y is None))
        compared += got.size
    assert compared > 5000
    assert len(operators) == (4 if maker is conv else 2)


def test_int8_by_uint8_takes_sums_only() -> None:
    rng = np.random.default_rng(1)
    x = Coded((2, 4), "i8", scale(rng), 3)
    w = coded(rng, (5, 4), "u8")
    sums = OnnxLayer("fully_connected", x, w, None, (2, 5), None, DENSE)
    inputs = {"x": codes(rng, "i8", 2, 2, 4)}
    got = Machine(compile_tightly(rng, sums.graph())).run(inputs).outputs["y"]
    np.testing.assert_array_equal(got, OnnxRunner(sums).run(inputs))
    y = Coded((2, 5), "i8", scale(rng), 3)
    coded_output = OnnxLayer("fully_connected", x, w, y, (2, 5), None, DENSE)
    with pytest.raises(ModelError, match="weights are int8"):
        coded_output.graph()


def test_zero_points_that_differ_are_refused() -> None:
    rng = np.random.default_rng(1)
    x = Coded((2, 4), "i8", scale(rng), 3)
    layer = OnnxLayer("fully_connected", x, coded(rng, (5, 4), "i8", 5), None, (2, 5), None, DENSE)
    graph = layer.graph()
    params = graph.quantization("w")
    assert params.per_channel
    mixed = replace(graph.tensors["w"], quantization=replace(params, zero_points=(0, 1, 2, 3, 4)))
    with pytest.raises(ModelError, match="one zero point"):
        check_graph(replace(graph, tensors={**graph.tensors, "w": mixed}))
