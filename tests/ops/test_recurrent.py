"""Recurrent operators beyond random layers: 16-bit arrays, other kernels, scales where one ulp decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from layer_parts import Layer, Rng
from layers_recurrent import LAYERS, RELU
from litert_runner import LiteRTRunner
from oracles.lstm import Lstm, Weight
from oracles.lstm_model import Shape, lstm_model, random_lstm
from oracles.runtime import Runtime
from random_devices import compile_tightly, small_device
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine, Values
from simulator.fixedpoint import lstm as fixed
from simulator.fixedpoint.requantize import double_rounding, quantize_multiplier
from simulator.importers.tflite import read_tflite
from simulator.ops import operator
from simulator.profiles import RUN
from simulator.program.commands import Host
from simulator.program.nest import tile_count
from simulator.program.program import Program

F32 = np.float32
Scaling = tuple[int, int]


def agreed(content: bytes, program: Program, x: np.ndarray) -> Values:
    """Our run of ``x``, which ends in LiteRT's outputs and states."""
    values, runtime = Machine(program).run({"x": x}), Runtime(content)
    theirs = np.stack([runtime.run(one) for one in x])
    np.testing.assert_array_equal(values.outputs["y"], theirs)
    for name, state in values.states.items():
        np.testing.assert_array_equal(state, runtime.tensor(name), name)
    return values


def run(content: bytes, x: np.ndarray) -> Values:
    return agreed(content, compile_graph(read_tflite(content, "test"), small_device()), x)


def test_svdf_on_a_16_bit_array() -> None:
    """Else its product over the memory is the host's on every device of the conformance suite."""
    tiled = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        layer = LAYERS["svdf"](rng)
        graph = read_tflite(layer.content, "svdf")
        program = compile_tightly(rng, graph, ifmap_bits=16, weight_bits=16)
        assert not any(isinstance(c, Host) for c in program.commands)
        tiled += tile_count(program.commands[2].nest) > 1  # type: ignore[union-attr]
        agreed(layer.content, program, layer.inputs["x"])
    assert tiled > 15


@pytest.mark.parametrize("profile", ["ruy", "xnnpack"])
@pytest.mark.parametrize("name", LAYERS)
def test_all_of_the_runtimes_kernels_agree(name: str, profile: str) -> None:
    assert operator(name).PROFILES[profile] == RUN
    for seed in range(40):
        rng = np.random.default_rng([seed, 1])
        layer = LAYERS[name](rng)
        graph = replace(read_tflite(layer.content, name), profile=profile)
        got = Machine(compile_tightly(rng, graph)).run(layer.inputs).outputs["y"]
        theirs = LiteRTRunner(layer.content, profile).run(layer.inputs)["y"]
        np.testing.assert_array_equal(got, theirs)


def edges(right: Scaling, wrong: Scaling, rng: Rng, largest: int, count: int) -> np.ndarray:
    """Accumulators that the two scalings send to different codes up to ``largest``."""
    found: list[int] = []
    step = 2.0 ** (31 - right[1]) / right[0]  # accumulators to a code
    for _ in range(4000):
        near = int((int(rng.integers(-largest, largest)) + 0.5) * step)
        for a in (near - 1, near, near + 1):
            if double_rounding(a, *right) != double_rounding(a, *wrong):
                found.append(a)
        if len(found) >= count:
            break
    return np.resize(found or [0], count).astype(np.int64)


def told_apart(sums: np.ndarray, right: Scaling, wrong: Scaling) -> int:
    return sum(double_rounding(int(s), *right) != double_rounding(int(s), *wrong) for s in sums)


def f32(value: float) -> float:
    return float(F32(value))


def svdf(
    feature: np.ndarray, time: np.ndarray, bias: np.ndarray, scales: tuple[float, ...]
) -> bytes:
    """Rank 1, zero points 0; ``scales`` of input, features, state, time, output."""
    s_in, s_feature, s_state, s_time, s_out = scales
    filters, inputs = feature.shape
    tensors = [
        Tensor("x", (1, inputs), "i8", s_in), Tensor("f", feature.shape, "i8", s_feature, 0, feature),
        Tensor("t", time.shape, "i16", s_time, 0, time), Tensor("y", (1, filters), "i8", s_out),
        Tensor("s", (1, filters * time.shape[1]), "i16", s_state, 0, variable=True),
        Tensor("b", (filters,), "i32", 1e-4, 0, bias.astype(np.int32)),
    ]  # fmt: skip
    options = {"Rank": 1, "FusedActivationFunction": RELU}
    op = Op("SVDF", ["x", "f", "t", "b", "s"], "y", options)
    return build_model(tensors, [op], ["x"], ["y"])


def test_svdf_output_scale() -> None:
    """Sums at the edges of codes: state * time / output is a quotient of float32, not of float64."""
    rng, caught = np.random.default_rng(2), 0
    for _ in range(25):
        s_state, s_time = (f32(s) for s in rng.uniform(1e-4, 1e-2, 2))
        s_out = f32(s_state * s_time * 2 ** float(rng.uniform(20, 23)))
        right = quantize_multiplier(float(F32(s_state) * F32(s_time) / F32(s_out)))
        wrong = quantize_multiplier(s_state * s_time / s_out)
        sums = edges(right, wrong, rng, 127, 40)
        feature, time = np.zeros((40, 2), np.int8), np.ones((40, 3), np.int16)
        content = svdf(feature, time, sums, (0.1, 0.1, s_state, s_time, s_out))
        values = run(content, np.zeros((1, 1, 2), np.int8))
        caught += told_apart(sums, right, wrong)
        codes = np.array([int(double_rounding(int(s), *right)) for s in sums])
        np.testing.assert_array_equal(values.outputs["y"].reshape(-1), np.clip(codes, -128, 127))
    assert caught > 100


def test_svdf_state_scale() -> None:
    """The same of input * feature / state, seen in the state: sums as 127 * (a + b + ..) + rest."""
    rng, caught = np.random.default_rng(3), 0
    inputs = 80
    for _ in range(25):
        s_in, s_feature = (f32(s) for s in rng.uniform(1e-3, 1e-1, 2))
        s_state = f32(s_in * s_feature * 2 ** float(rng.uniform(4, 7)))
        right = quantize_multiplier(float(F32(s_in) * F32(s_feature) / F32(s_state)))
        wrong = quantize_multiplier(s_in * s_feature / s_state)
        sums = edges(right, wrong, rng, int(120 * 127 * inputs / 2**7), 40)
        feature = np.zeros((40, inputs), np.int8)
        for row, total in zip(feature, sums, strict=True):
            tens, row[0] = divmod(int(total), 127)
            row[1:] = tens // (inputs - 1)
            row[1 : 1 + tens % (inputs - 1)] += 1
        x = np.full((1, 1, inputs), 127, np.int8)
        x[..., 0] = 1
        np.testing.assert_array_equal(feature.astype(int) @ x[0, 0].astype(int), sums)
        time = np.ones((40, 1), np.int16)
        values = run(svdf(feature, time, sums * 0, (s_in, s_feature, s_state, 0.1, 0.1)), x)
        caught += told_apart(sums, right, wrong)
        codes = np.array([int(double_rounding(int(s), *right)) for s in sums])
        np.testing.assert_array_equal(values.states["s"].reshape(-1), codes)
    assert caught > 100


def one_step(rng: Rng, cells: int, **parts: bool) -> tuple[Lstm, Shape]:
    """One time step of an input that is 0: each gate is its bias."""
    shape = Shape(time=1, inputs=1, cells=cells, outputs=cells, **parts)
    lstm = random_lstm(rng, shape, -15)
    lstm.input_zero_point, lstm.cell_clip, lstm.proj_clip = 0, 0.0, 0.0
    return lstm, shape


def changed(program: Program, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Program:
    return replace(program, constants={**program.constants, name: change(program.constants[name])})


def test_lstm_gate_scale() -> None:
    """Biases at the edges of a gate's codes: the multiplier of the float64 quotient shows in the cells."""
    rng, caught, zero = np.random.default_rng(4), 0, np.zeros((1, 1, 1, 1), np.int8)
    for _ in range(25):
        lstm, shape = one_step(rng, 24)
        weight = lstm.gates["cell"]["input"]
        assert isinstance(weight, Weight)
        weight.scale = F32(float(rng.uniform(1, 2)) * 2.0**-27 / float(lstm.input_scale))
        right = fixed.gate_multiplier(float(weight.scale), float(lstm.input_scale))
        wrong = quantize_multiplier(float(weight.scale) * float(lstm.input_scale) * 4096)
        np.asarray(lstm.gates["cell"]["bias"])[:] = edges(right, wrong, rng, 3000, 24)
        np.asarray(lstm.gates["input"]["bias"])[:] = 1 << 20  # lets everything in
        content = lstm_model(lstm, shape)
        program = compile_graph(read_tflite(content, "gate"), small_device())
        values = agreed(content, program, zero)
        gate = np.arange(24 * 4) % 4 == 2

        def other(pairs: np.ndarray, gate: np.ndarray = gate, wrong: int = wrong[0]) -> np.ndarray:
            return np.where(gate, wrong, pairs)

        assert right[1] == wrong[1]
        neighbour = Machine(changed(program, "y/input/multiplier", other)).run({"x": zero})
        caught += int((neighbour.states["cell"] != values.states["cell"]).sum())
    assert caught > 100


def test_lstm_projection_scale() -> None:
    """Biases of a projection of nothing: weight * hidden / output is a quotient of float32."""
    rng, caught = np.random.default_rng(5), 0
    for _ in range(25):
        lstm, shape = one_step(rng, 24, projection=True)
        weight = lstm.projection
        assert weight is not None
        assert lstm.projection_bias is not None
        weight.codes[:], lstm.output_zero_point = 0, 0
        ratio = float(lstm.output_scale) / float(lstm.hidden_scale)
        weight.scale = F32(float(rng.uniform(1, 2)) * 2.0**-24 * ratio)
        scales = [float(s) for s in (weight.scale, lstm.hidden_scale, lstm.output_scale)]
        right = fixed.projection_multiplier(*scales)
        wrong = quantize_multiplier(scales[0] * scales[1] / scales[2])
        lstm.projection_bias[:] = edges(right, wrong, rng, 126, 24)
        run(lstm_model(lstm, shape), np.zeros((1, 1, 1, 1), np.int8))
        caught += told_apart(lstm.projection_bias, right, wrong)
    assert caught > 100


def products(lstm: Lstm, shape: Shape) -> np.ndarray:
    """Output gate * tanh(cell) of the first step, 30 fraction bits; the hidden scale plays no part."""
    program = compile_graph(read_tflite(lstm_model(lstm, shape), "products"), small_device())
    kept = Machine(program).run(
        {"x": np.zeros((1, 1, 1, 1), np.int8)}, keep=["y/input", "cell/next"]
    )
    gates = kept.tensors["y/input"].reshape(-1, 4)[:, 3].tolist()
    cells = kept.states["cell"].reshape(-1).tolist()
    return np.array([
        int(fixed.logistic(g, 3, 16)) * int(fixed.tanh(c, 0, 16)) for g, c in zip(gates, cells, strict=True)
    ])  # fmt: skip


def test_lstm_hidden_scale() -> None:
    """Scales found such that a product lies between the ties of the float32 and the float64 quotient."""
    rng, caught = np.random.default_rng(6), 0
    for _ in range(6):
        lstm, shape = one_step(rng, 200)
        lstm.output_zero_point = lstm.hidden_zero_point = 0
        exact = products(lstm, shape)
        for scale in rng.uniform(1 / 200, 1 / 100, 3000).astype(np.float32):
            # Within 2**-24 of a tie: about one scale in a few hundred.
            ratio = exact * 2.0**-30 / float(scale)
            if (np.abs(ratio - np.floor(ratio) - 0.5) > np.abs(ratio) * 2.0**-25).all():
                continue
            right = fixed.hidden_multiplier(float(scale))
            wrong = quantize_multiplier(2.0**-30 / float(scale))
            if told_apart(exact, right, wrong):
                lstm.output_scale = lstm.hidden_scale = scale
                run(lstm_model(lstm, shape), np.zeros((1, 1, 1, 1), np.int8))
                caught += told_apart(exact, right, wrong)
                break
    assert caught > 0


def test_lstm_recurrent_product_is_not_saturated() -> None:
    """Gates beyond 16 bits from the input and from the state that cancel: only their sum saturates."""
    rng, beyond = np.random.default_rng(7), 0
    for _ in range(20):
        shape = Shape(time=4, inputs=2, cells=6, outputs=6)
        lstm = random_lstm(rng, shape, -12, gain=64)
        content = lstm_model(lstm, shape)
        program = compile_graph(read_tflite(content, "beyond"), small_device())
        x = rng.integers(-128, 128, (3, 1, 4, 2)).astype(np.int8)
        agreed(content, program, x)
        kept = Machine(program).run({"x": x}, keep=["y/1/recurrent"]).tensors["y/1/recurrent"]
        beyond += int((np.abs(kept) > 1 << 16).sum())
    assert beyond > 100


def layer_of(name: str) -> Layer:
    return LAYERS[name](np.random.default_rng(1))


@pytest.mark.parametrize("name", LAYERS)
def test_samples_on_their_own(name: str) -> None:
    """Without carrying, samples run at once are what each would be alone, and states are none's affair."""
    layer = layer_of(name)
    program = compile_graph(read_tflite(layer.content, name), small_device())
    machine, x = Machine(program), layer.inputs["x"]
    together = machine.run({"x": x}, carry=False)
    alone = [machine.run({"x": x[i : i + 1]}) for i in range(x.shape[0])]
    np.testing.assert_array_equal(
        together.outputs["y"], np.concatenate([a.outputs["y"] for a in alone])
    )
    for state, value in together.states.items():
        np.testing.assert_array_equal(value, alone[-1].states[state])
    carried = machine.run({"x": x})
    assert (carried.outputs["y"] != together.outputs["y"]).any()
    # In two parts, the first one's states handed to the second.
    first = machine.run({"x": x[:1]})
    rest = machine.run({"x": x[1:]}, states=first.states)
    np.testing.assert_array_equal(rest.outputs["y"], carried.outputs["y"][1:])
