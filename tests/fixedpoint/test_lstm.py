"""The LSTM's integers: kernels against the naive oracle, both against LiteRT's reference kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pytest
from oracles.fixed import high_mul, saturate
from oracles.gemmlowp import FixedPoint
from oracles.lstm import GATES, Lstm, State, Weight, inverse_sqrt
from oracles.lstm_model import Shape, lstm_model, random_lstm, read_lstm
from oracles.runtime import Runtime, shared_model

from simulator.errors import ModelError
from simulator.fixedpoint import lstm as kernels
from simulator.fixedpoint.gemmlowp import logistic, tanh
from simulator.fixedpoint.requantize import double_rounding, quantize_multiplier

# (file, tensor numbers of the operator's inputs, output, hidden intermediate)
MODELS = {
    "keras_lstm_mnist_ptq": (
        "coral/keras_lstm_mnist_ptq.tflite",
        [16, 8, 9, 10, 11, 12, 13, 14, 15, -1, -1, -1, 2, 3, 4, 5, -1, -1, 17, 18],
        24,
        23,
    ),
    "trained_lstm_int8": (
        "tflite_micro/trained_lstm_int8.tflite",
        [0, 15, 14, 13, 12, 11, 10, 9, 8, -1, -1, -1, 7, 6, 5, 4, -1, -1, 16, 17],
        23,
        22,
    ),
}
KERAS_CELL_CLIP = 10.0  # what Keras' converter writes; 32767 codes at 2**-12


@pytest.mark.golden
def test_activations_worked() -> None:
    # By hand from gemmlowp's definitions on 16 bits; 4096 is 1.0 in Q3.12.
    oracle = FixedPoint(16)
    for code in (-32768, -32767, -4096, -1, 0, 1, 4096, 32767):
        assert logistic(code, 3, 16) == oracle.logistic(code, 3)
        for integer_bits in range(7):
            assert tanh(code, integer_bits, 16) == oracle.tanh(code, integer_bits)
    assert logistic(0, 3, 16) == 16384
    assert tanh(0, 3, 16) == 0
    assert logistic(32767, 3, 16) + logistic(-32767, 3, 16) == 32767


def test_activations_on_every_code() -> None:
    oracle = FixedPoint(16)
    for code in range(-32768, 32768):
        value = logistic(code, 3, 16)
        assert value == oracle.logistic(code, 3)
        assert abs(value - 32768 / (1 + math.exp(-code / 4096))) < 8
        bent = tanh(code, 3, 16)
        assert bent == oracle.tanh(code, 3)
        assert abs(bent - 32768 * math.tanh(code / 4096)) < 12


@pytest.mark.parametrize("integer_bits", [0, 1, 2, 4, 5, 6])
def test_tanh_of_every_cell_scale(integer_bits: int) -> None:
    oracle = FixedPoint(16)
    for code in (*range(-32768, 32768, 5), 32767):
        assert tanh(code, integer_bits, 16) == oracle.tanh(code, integer_bits)


def test_inverse_sqrt() -> None:
    rng = np.random.default_rng(0)
    values = [0, 1, 2, 3, *(2**k for k in range(2, 31)), *(2**k - 1 for k in range(2, 32))]
    values += [int(2 ** rng.uniform(1, 31)) for _ in range(2000)]
    for value in values:
        multiplier, shift = kernels._inverse_sqrt(value)
        assert (multiplier, shift) == inverse_sqrt(value)
        assert multiplier * 2.0 ** (shift - 31) == pytest.approx(max(value, 1) ** -0.5, rel=2e-4)


class Layer(NamedTuple):
    """An LSTM as the machine would hold it: products with folded zero points, and the step's parameters."""

    products: Mapping[int, tuple[np.ndarray, np.ndarray, tuple[int, int], tuple[int, int]]]
    biases: Mapping[int, np.ndarray]
    cell: kernels.LstmCell
    peephole: kernels.LstmPeephole
    norm: kernels.LstmNorm


def _codes(value: object) -> np.ndarray:
    return value.codes if isinstance(value, Weight) else np.asarray(value)


def layer_of(lstm: Lstm) -> Layer:
    cells = _codes(lstm.gates["forget"]["input"]).shape[0]
    log2 = kernels.cell_log2(float(lstm.cell_scale))
    products, biases = {}, {}
    peephole, norm = kernels.no_peephole(), kernels.no_norm()
    if "peephole" in lstm.gates["forget"]:
        width = min(cells, _codes(lstm.gates["forget"]["recurrent"]).shape[1])
        peephole = kernels.LstmPeephole(
            np.zeros((4, width), np.int16), np.zeros(4, np.int64), np.zeros(4, np.int64)
        )
    if "norm" in lstm.gates["forget"]:
        norm = kernels.LstmNorm(
            np.zeros((4, cells), np.int16),
            np.zeros((4, cells), np.int32),
            *(np.zeros(4, np.int64) for _ in range(3)),
        )
    for which, name in enumerate(GATES):
        if name not in lstm.gates:
            continue
        gate = lstm.gates[name]
        scale = float(lstm.norm_scale[name]) if "norm" in gate else kernels.GATE_SCALE
        x, h = gate["input"], gate["recurrent"]
        assert isinstance(x, Weight)
        assert isinstance(h, Weight)
        products[which] = (
            x.codes.astype(np.int64),
            h.codes.astype(np.int64),
            kernels.gate_multiplier(float(x.scale), float(lstm.input_scale), scale),
            kernels.gate_multiplier(float(h.scale), float(lstm.output_scale), scale),
        )
        biases[which] = 0 if "norm" in gate else np.asarray(gate["bias"], np.int64)
        look = gate.get("peephole")
        if isinstance(look, Weight):
            peephole.weights[which] = look.codes[: peephole.weights.shape[1]]
            peephole.multipliers[which], peephole.shifts[which] = kernels.peephole_multiplier(
                log2, float(look.scale), scale
            )
        weights = gate.get("norm")
        if isinstance(weights, Weight):
            norm.weights[which] = weights.codes
            norm.biases[which] = gate["bias"]
            norm.multipliers[which], norm.shifts[which] = quantize_multiplier(float(weights.scale))
            norm.guards[which] = kernels.variance_guard(float(weights.scale))
    zero = lstm.hidden_zero_point if lstm.projection is None else -lstm.hidden_zero_point
    clip = kernels.clip_code(lstm.cell_clip, float(lstm.cell_scale), 16)
    hidden = kernels.hidden_multiplier(float(lstm.hidden_scale))
    cell = kernels.LstmCell(log2, clip, "input" not in lstm.gates, *hidden, zero)
    return Layer(products, biases, cell, peephole, norm)


def _requantized(sums: np.ndarray, scaling: tuple[int, int]) -> np.ndarray:
    return np.array([double_rounding(int(s), *scaling) for s in sums], np.int64)


def run_layer(
    lstm: Lstm, layer: Layer, x: np.ndarray, h: np.ndarray, cell: np.ndarray
) -> Iterator[np.ndarray]:
    """Outputs step by step; ``x`` [time, inputs]; ``h`` and ``cell`` are the states, updated."""
    cells = cell.size
    gates = np.zeros((4, cells), np.int64)
    hidden = np.zeros(cells, np.int8)
    for row in x.astype(np.int64):
        for which, (wx, wh, scale_x, scale_h) in layer.products.items():
            sums = wx @ (row - lstm.input_zero_point) + layer.biases[which]
            gate = np.clip(_requantized(sums, scale_x), -32768, 32767)
            sums = wh @ (h.astype(np.int64) - lstm.output_zero_point)
            gates[which] = np.clip(gate + _requantized(sums, scale_h), -32768, 32767)
        parts = layer.cell, layer.peephole, layer.norm
        kernels.new_cell(gates, cell, *parts)
        kernels.new_hidden(gates, cell, hidden, *parts)
        h[:] = hidden if lstm.projection is None else _projected(lstm, lstm.projection, hidden)
        yield h.copy()


def _projected(lstm: Lstm, projection: Weight, hidden: np.ndarray) -> np.ndarray:
    sums = projection.codes.astype(np.int64) @ (hidden.astype(np.int64) + lstm.hidden_zero_point)
    if lstm.projection_bias is not None:
        sums = sums + lstm.projection_bias
    scaling = kernels.projection_multiplier(
        float(projection.scale), float(lstm.hidden_scale), float(lstm.output_scale)
    )
    out = np.clip(_requantized(sums, scaling) + lstm.output_zero_point, -128, 127)
    clip = kernels.clip_code(lstm.proj_clip, float(lstm.output_scale), 8)
    return np.clip(out, -clip, clip) if clip > 0 else out


def sequences(rng: np.random.Generator, runtime: Runtime, count: int) -> Iterator[np.ndarray]:
    """Random, two-valued, sparse and constant inputs in turn."""
    detail = runtime.details[runtime.inputs[0]]
    shape, dtype = detail["shape"], detail["dtype"]
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    for i in range(count):
        x = rng.integers(low, high + 1, shape)
        if i % 4 == 1:
            x = rng.choice([low, high], size=shape)
        elif i % 4 == 2:
            x = np.where(rng.random(shape) < 0.8, low, x)
        elif i % 4 == 3:
            x = np.full(shape, rng.integers(low, high + 1))
        yield x.astype(dtype)


@pytest.mark.parametrize("name", MODELS)
def test_real_models(name: str) -> None:
    """200 inputs one after another: the state is carried from each to the next."""
    file, numbers, output, hidden = MODELS[name]
    runtime = Runtime(shared_model(file))
    lstm = read_lstm(runtime, numbers, hidden, KERAS_CELL_CLIP)
    layer = layer_of(lstm)
    h, cell = runtime.tensor(numbers[18])[0], runtime.tensor(numbers[19])[0]
    assert np.all(h == lstm.output_zero_point)
    assert np.all(cell == 0)
    naive = State(lstm, h, cell)
    rng = np.random.default_rng(1)
    at_the_clip = 0
    for i, x in enumerate(sequences(rng, runtime, 200)):
        if i == 100:
            runtime.reset()
            h[:], cell[:] = lstm.output_zero_point, 0  # real zeros: what an interpreter starts with
            naive = State(lstm, h, cell)
        runtime.run(x)
        rows = runtime.tensor(numbers[0])[0]
        theirs = runtime.tensor(output)[0]
        np.testing.assert_array_equal(np.stack(list(run_layer(lstm, layer, rows, h, cell))), theirs)
        np.testing.assert_array_equal(cell, runtime.tensor(numbers[19])[0])
        np.testing.assert_array_equal(h, runtime.tensor(numbers[18])[0])
        at_the_clip += int(np.sum(cell == -32767))
        if i < 8 or 100 <= i < 104:
            np.testing.assert_array_equal(np.array([naive.step(row) for row in rows]), theirs)
            np.testing.assert_array_equal(naive.cell, cell)
    assert at_the_clip > 0  # the clip shows: without it these would be -32768


def check_built(lstm: Lstm, shape: Shape, rng: np.random.Generator, invocations: int = 5) -> None:
    runtime = Runtime(lstm_model(lstm, shape))
    layer = layer_of(lstm)
    h, cell = runtime.tensor("state"), runtime.tensor("cell")
    naive = [State(lstm, h[b], cell[b]) for b in range(shape.batch)]
    for _ in range(invocations):
        x = rng.integers(-128, 128, runtime.details[runtime.inputs[0]]["shape"]).astype(np.int8)
        y = runtime.run(x)
        if shape.time_major:
            x, y = x.swapaxes(0, 1), y.swapaxes(0, 1)
        for b in range(shape.batch):
            steps = run_layer(lstm, layer, x[b], h[b], cell[b])
            np.testing.assert_array_equal(np.stack(list(steps)), y[b])
            np.testing.assert_array_equal(np.array([naive[b].step(row) for row in x[b]]), y[b])
        np.testing.assert_array_equal(h, runtime.tensor("state"))
        np.testing.assert_array_equal(cell, runtime.tensor("cell"))
        np.testing.assert_array_equal(np.array([n.cell for n in naive]), cell)


def random_shape(rng: np.random.Generator) -> Shape:
    projection = bool(rng.integers(2))
    cells = int(rng.integers(1, 40))
    outputs = int(rng.integers(1, 20)) if projection else cells
    peephole = bool(rng.random() < 0.4) and outputs <= cells
    # With peepholes and a narrower output the runtime mixes the batch's rows up.
    batch = 1 if peephole and outputs != cells else int(rng.integers(1, 4))
    return Shape(
        batch=batch,
        time=int(rng.integers(1, 5)),
        inputs=int(rng.integers(1, 9)),
        cells=cells,
        outputs=outputs,
        cifg=bool(rng.integers(2)),
        peephole=peephole,
        norm=bool(rng.random() < 0.3),
        projection=projection,
        projection_bias=bool(rng.integers(2)),
        time_major=bool(rng.integers(2)),
    )


@pytest.mark.parametrize("seed", range(60))
def test_built_models(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = random_shape(rng)
    gain = float(rng.choice([0.25, 1, 4, 64]))  # 64: the two products saturate and cancel
    check_built(random_lstm(rng, shape, int(rng.integers(-15, -8)), gain), shape, rng)


def powers_of_two(lstm: Lstm, rng: np.random.Generator) -> None:
    """Scales with which most roundings meet ties."""
    lstm.input_scale, lstm.output_scale = np.float32(2**-6), np.float32(2**-7)
    lstm.hidden_scale = np.float32(2**-7)
    lstm.norm_scale = {name: np.float32(2**-12) for name in GATES}
    for gate in lstm.gates.values():
        for key, value in gate.items():
            if isinstance(value, Weight):
                exponents = {"peephole": -6, "norm": -14}
                value.scale = np.float32(2.0 ** exponents.get(key, int(rng.integers(-8, -6))))
                if key == "peephole":
                    value.codes = (value.codes >> rng.integers(9, 13)).astype(np.int16)
    if lstm.projection is not None:
        lstm.projection.scale = np.float32(2**-6)


@pytest.mark.parametrize("part", ["", "peephole", "norm", "projection"])
@pytest.mark.parametrize("seed", range(12))
def test_ties(part: str, seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    cells = int(rng.integers(1, 50))
    shape = Shape(cells=cells, outputs=cells, **({part: True} if part else {}))
    lstm = random_lstm(rng, shape, int(rng.integers(-15, -8)))
    powers_of_two(lstm, rng)
    check_built(lstm, shape, rng, invocations=8)


def one_gate(x_code: int, h_code: int, weight_scale: float) -> tuple[Lstm, Shape]:
    """One cell that multiplies one input by ``x_code`` and its state by ``h_code``, in every gate."""
    shape = Shape(time=6, inputs=1, cells=1, outputs=1)
    lstm = random_lstm(np.random.default_rng(0), shape, -12)
    lstm.input_zero_point = lstm.output_zero_point = lstm.hidden_zero_point = 0
    lstm.cell_clip = 0.0
    for gate in lstm.gates.values():
        for key, code in (("input", x_code), ("recurrent", h_code)):
            weight = gate[key]
            assert isinstance(weight, Weight)
            weight.codes[:], weight.scale = code, np.float32(weight_scale)
        np.asarray(gate["bias"])[:] = 0
    return lstm, shape


def test_saturation_after_each_product() -> None:
    """Products beyond 16 bits that cancel: saturating both first, or only the sum, gives other codes."""
    for x_code, h_code in ((127, -127), (127, 127), (-127, 127), (90, -127)):
        lstm, shape = one_gate(x_code, h_code, 0.3)
        check_built(lstm, shape, np.random.default_rng(3), invocations=10)


def test_scales_are_float32_quotients() -> None:
    """The float32 product is rounded: the float64 one is another multiplier almost always."""
    rng = np.random.default_rng(5)
    for _ in range(300):
        weight, activation = (float(np.float32(s)) for s in rng.uniform(1e-3, 2e-2, 2))
        multiplier, _ = kernels.gate_multiplier(weight, activation)
        assert multiplier % 128 == 0  # 24 significant bits
        exact, _ = quantize_multiplier(weight * activation * 4096)
        assert abs(exact - multiplier) <= 64


def test_multiplier_flips_codes() -> None:
    """Biases at the edges of the gate's codes: the neighbouring multiplier would round one otherwise.

    The neighbour is the multiplier of the float64 product.
    """
    rng = np.random.default_rng(11)
    told_apart = 0
    for _ in range(40):
        shape = Shape(time=1, inputs=1, cells=24, outputs=24)
        lstm = random_lstm(rng, shape, -12)
        scale = lstm.gates["forget"]["input"]
        assert isinstance(scale, Weight)
        right = kernels.gate_multiplier(float(scale.scale), float(lstm.input_scale))
        wrong = quantize_multiplier(float(scale.scale) * float(lstm.input_scale) * 4096)
        bias = np.asarray(lstm.gates["forget"]["bias"])
        bias[:] = _edges(right, wrong, rng, bias.size)
        told_apart += sum(
            double_rounding(int(b), *right) != double_rounding(int(b), *wrong) for b in bias
        )
        lstm.input_zero_point = 0
        scale.codes[:] = 0
        check_built(lstm, shape, rng, invocations=3)
    assert told_apart > 100


def _edges(
    right: tuple[int, int], wrong: tuple[int, int], rng: np.random.Generator, count: int
) -> np.ndarray:
    """Accumulators that the two scalings send to different codes, as far as there are any."""
    found = []
    step = 2.0 ** (31 - right[1]) / right[0]  # accumulators to a code
    for _ in range(4000):
        near = int((int(rng.integers(-16000, 16000)) + 0.5) * step)
        for a in (near - 1, near, near + 1):
            if double_rounding(a, *right) != double_rounding(a, *wrong):
                found.append(a)
        if len(found) >= count:
            break
    return np.resize(found or [0], count).astype(np.int32)


def test_rules() -> None:
    for scale in (2**-12 * 1.01, 0.0, 2.0**-8, 2.0**-16, 0.1):
        with pytest.raises(ModelError, match="a power of two"):
            kernels.cell_log2(scale)
    assert kernels.cell_log2(2**-9) == -9
    assert kernels.clip_code(10.0, 2**-12, 16) == 32767
    assert kernels.clip_code(0.3, 2**-12, 16) == 1228  # 1228.8, cut
    assert kernels.clip_code(0.0, 2**-12, 16) == 0
    assert high_mul(-32768, -32768, 16) == saturate(32768, 16)
