"""The naive SVDF against LiteRT's reference kernel, its state carried from invocation to invocation."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_builder import Op, Tensor, build_model

from oracles.fixed import double_rounding, quantize_multiplier
from oracles.runtime import Runtime, shared_model
from oracles.svdf import Svdf

RELU = 1


def test_real_model() -> None:
    """Seven layers of the keyword model over 60 invocations."""
    runtime = Runtime(shared_model("tflite_micro/keyword_scrambled.tflite"))
    layers = [op for op in runtime.interpreter._get_ops_details() if op["op_name"] == "SVDF"]
    assert len(layers) == 7
    rng = np.random.default_rng(0)
    states = [runtime.tensor(int(op["inputs"][4])) for op in layers]
    saturated = 0
    for invocation in range(60):
        low, high = ((-32768, 32767), (-3000, 3000), (0, 1))[invocation % 3]
        runtime.run(rng.integers(low, high + 1, (1, 96)).astype(np.int16))
        for k, op in enumerate(layers):
            x, feature, time, bias, state = (int(i) for i in op["inputs"][:5])
            y = int(op["outputs"][0])
            layer = Svdf(
                feature=runtime.tensor(feature),
                time=runtime.tensor(time),
                bias=runtime.tensor(bias),
                rank=runtime.tensor(feature).shape[0] // runtime.tensor(y).shape[1],
                scales=tuple(float(runtime.scale(i)) for i in (x, feature, state, time, y)),  # type: ignore[arg-type]
                input_zero_point=runtime.zero_point(x),
                output_zero_point=runtime.zero_point(y),
            )
            before = states[k][0].reshape(layer.time.shape)
            after, out = layer.step(before, runtime.tensor(x)[0])
            states[k] = after.reshape(1, -1)
            np.testing.assert_array_equal(states[k], runtime.tensor(state))
            np.testing.assert_array_equal(out, runtime.tensor(y)[0])
            saturated += int(np.sum(np.abs(after.astype(int)) >= 32767))
    assert saturated > 0


def model(layer: Svdf, batch: int) -> bytes:
    s_x, s_f, s_s, s_t, s_y = layer.scales
    filters, memory = layer.time.shape
    units = filters // layer.rank
    tensors = [
        Tensor("x", (batch, layer.feature.shape[1]), "i8", s_x, layer.input_zero_point),
        Tensor("f", layer.feature.shape, "i8", s_f, 0, layer.feature),
        Tensor("t", layer.time.shape, "i16", s_t, 0, layer.time),
        Tensor("s", (batch, filters * memory), "i16", s_s, 0, variable=True),
        Tensor("y", (batch, units), "i8", s_y, layer.output_zero_point),
    ]
    if layer.bias is not None:
        tensors.append(Tensor("b", (units,), "i32", 1e-4, 0, layer.bias))
    names = ["x", "f", "t", "b" if layer.bias is not None else "", "s"]
    options = {"Rank": layer.rank, "FusedActivationFunction": RELU}
    return build_model(tensors, [Op("SVDF", names, "y", options)], ["x"], ["y"])


def random_layer(rng: np.random.Generator, ties: bool) -> Svdf:
    rank, units = int(rng.integers(1, 4)), int(rng.integers(1, 6))
    memory, inputs = int(rng.integers(1, 7)), int(rng.integers(1, 12))
    scales = [2.0**-5, 2.0**-7, 2.0**-9, 2.0**-9, 2.0 ** int(rng.integers(-6, 0))]
    if not ties:
        scales = [float(np.float32(s * rng.uniform(0.4, 2))) for s in scales]
    wide = 32768 if rng.integers(2) else 100
    return Svdf(
        feature=rng.integers(-127, 128, (rank * units, inputs)).astype(np.int8),
        time=rng.integers(-wide, wide, (rank * units, memory)).astype(np.int16),
        bias=rng.integers(-(2**15), 2**15, units).astype(np.int32) if rng.integers(4) else None,
        rank=rank,
        scales=tuple(scales),  # type: ignore[arg-type]
        input_zero_point=int(rng.integers(-128, 128)),
        output_zero_point=int(rng.integers(-128, 128)),
    )


def check(layer: Svdf, rng: np.random.Generator) -> int:
    """Compare over 12 invocations; the number of outputs below the zero point."""
    batch = int(rng.integers(1, 4))
    runtime = Runtime(model(layer, batch))
    states = runtime.tensor("s").reshape(batch, *layer.time.shape)
    negative = 0
    for _ in range(12):
        x = rng.integers(-128, 128, (batch, layer.feature.shape[1])).astype(np.int8)
        y = runtime.run(x)
        for b in range(batch):
            states[b], out = layer.step(states[b], x[b])
            np.testing.assert_array_equal(out, y[b])
            negative += int(np.sum(out < layer.output_zero_point))
        np.testing.assert_array_equal(states.reshape(batch, -1), runtime.tensor("s"))
    return negative


@pytest.mark.parametrize("ties", [False, True])
def test_built_models(ties: bool) -> None:
    rng = np.random.default_rng(7 + ties)
    negative = sum(check(random_layer(rng, ties), rng) for _ in range(60))
    assert negative > 0  # RELU is asked for and yet nothing cuts at the zero point


def test_time_product_wraps() -> None:
    """Seven terms of 2**30: beyond int32, where the runtime's sum wraps."""
    layer = Svdf(
        feature=np.full((1, 4), 127, np.int8),
        time=np.full((1, 7), 32767, np.int16),
        bias=None,
        rank=1,
        scales=(1.0, 1.0, 2.0, 2.0**-15, 2.0**10),
        input_zero_point=0,
        output_zero_point=3,
    )
    check(layer, np.random.default_rng(0))


def test_float32_scales() -> None:
    """Biases at the edges of the output codes: the float64 quotient rounds many of them otherwise."""
    rng = np.random.default_rng(2)
    told_apart = 0
    for _ in range(40):
        layer = random_layer(rng, ties=False)
        layer.input_zero_point = layer.output_zero_point = 0
        layer.feature[:] = 0
        s_in, s_feature, s_state, s_time = layer.scales[:4]
        s_out = float(np.float32(s_state * s_time * 2**21.3))
        layer.scales = (s_in, s_feature, s_state, s_time, s_out)
        units = layer.time.shape[0] // layer.rank
        codes = rng.integers(-127, 127, units) + 0.5
        edges = codes * s_out / (s_state * s_time) + rng.integers(-1, 2, units)
        layer.bias = edges.astype(np.int32)
        other = quantize_multiplier(s_state * s_time / s_out)
        _, right = layer.step(
            np.zeros(layer.time.shape, np.int16), np.zeros(layer.feature.shape[1])
        )
        wrong = [double_rounding(int(b), *other) for b in edges.astype(np.int32)]
        told_apart += int(np.sum(right != np.array(wrong)))
        check(layer, rng)
    assert told_apart > 20
