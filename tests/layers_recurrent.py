"""Random recurrent layers; samples follow each other, since the operators remember."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from layer_parts import Layer, Rng, codes, one_input, scale, zero_point
from oracles.lstm_model import Shape, lstm_parts, random_lstm
from tflite_builder import Op, Tensor

RELU = 1
_LSTM_SAMPLES, _SVDF_SAMPLES = 3, 10


def lstm_shape(rng: Rng) -> Shape:
    """Small sizes with any parts; more than 16 cells now and then, where peepholes round two ways."""
    projection, peephole = bool(rng.random() < 0.4), bool(rng.random() < 0.3)
    cells = int(rng.integers(1, 20))
    shape = Shape(
        batch=int(rng.integers(1, 4)), time=int(rng.integers(1, 5)), inputs=int(rng.integers(1, 9)),
        cells=cells, outputs=int(rng.integers(1, 12)) if projection else cells,
        cifg=bool(rng.integers(2)), peephole=peephole, norm=bool(rng.random() < 0.25),
        projection=projection, projection_bias=bool(rng.integers(2)),
        time_major=bool(rng.integers(2)),
    )  # fmt: skip
    if peephole and shape.outputs > cells:
        return replace(shape, peephole=False)
    if peephole and shape.outputs < cells:
        return replace(shape, batch=1)
    return shape


def unidirectional_sequence_lstm(rng: Rng) -> Layer:
    shape = lstm_shape(rng)
    # From gates that hardly move to gates that saturate.
    gain = float(rng.choice([0.25, 1, 4, 64]))
    lstm = random_lstm(rng, shape, int(rng.integers(-15, -8)), gain)
    lead = (shape.time, shape.batch) if shape.time_major else (shape.batch, shape.time)
    x = codes(rng, "i8", _LSTM_SAMPLES, *lead, shape.inputs)
    tensors, op = lstm_parts(lstm, shape)
    return Layer(tensors, [op], {"x": x}, ["y"])


def svdf(rng: Rng) -> Layer:
    rank, units = int(rng.integers(1, 4)), int(rng.integers(1, 8))
    memory, inputs, batch = (int(n) for n in rng.integers(1, (8, 12, 4)))
    filters = rank * units
    s_in, s_feature, s_time = scale(rng), scale(rng, 1e-3, 1e-1), scale(rng, 1e-5, 1e-3)
    # Features that fill 16 bits or now and then saturate; outputs that fill 8.
    s_state = np.float32(s_in * s_feature * np.sqrt(inputs) * 5000 / rng.choice([10000, 60000]))
    wide = int(rng.choice([32767, 32767, 100]))
    s_out = np.float32(s_state * s_time * 20000 * wide / 2 * np.sqrt(rank * memory) / 60)
    tensors = [
        Tensor("x", (batch, inputs), "i8", s_in, zero_point(rng, "i8")),
        Tensor("f", (filters, inputs), "i8", s_feature, 0, codes(rng, "i8", filters, inputs)),
        Tensor(
            "t", (filters, memory), "i16", s_time, 0,
            rng.integers(-wide - 1, wide + 1, (filters, memory)).astype(np.int16),
        ),
        Tensor("s", (batch, filters * memory), "i16", s_state, 0, variable=True),
        Tensor("y", (batch, units), "i8", s_out, zero_point(rng, "i8")),
    ]  # fmt: skip
    biased = bool(rng.integers(3))
    if biased:
        values = rng.integers(-(2**27), 2**27, units).astype(np.int32)
        tensors.append(Tensor("b", (units,), "i32", 1e-4, 0, values))
    names = ["x", "f", "t", "b" if biased else "", "s"]
    op = Op("SVDF", names, "y", {"Rank": rank, "FusedActivationFunction": RELU})
    return one_input(tensors, op, codes(rng, "i8", _SVDF_SAMPLES, batch, inputs))


LAYERS: dict[str, Callable[[Rng], Layer]] = {
    "svdf": svdf,
    "unidirectional_sequence_lstm": unidirectional_sequence_lstm,
}
