"""Random LSTM operators as model files, and real ones read back from a runtime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tflite_builder import Op, Tensor, build_model

from oracles.lstm import GATES, Lstm, Weight
from oracles.runtime import Runtime

_PLACES = {"input": 1, "recurrent": 5, "peephole": 9, "bias": 12, "norm": 20}
_PEEPHOLES = {"input": 9, "forget": 10, "output": 11}
PROJECTION, PROJECTION_BIAS, OUTPUT_STATE, CELL_STATE = 16, 17, 18, 19


@dataclass(frozen=True)
class Shape:
    """Sizes and parts of a random LSTM."""

    batch: int = 1
    time: int = 4
    inputs: int = 5
    cells: int = 6
    outputs: int = 6
    cifg: bool = False
    peephole: bool = False
    norm: bool = False
    projection: bool = False
    projection_bias: bool = True
    time_major: bool = False


def place(key: str, gate: str) -> int:
    """The operator's input that holds ``key`` of ``gate``."""
    return _PEEPHOLES[gate] if key == "peephole" else _PLACES[key] + GATES.index(gate)


def random_lstm(rng: np.random.Generator, shape: Shape, cell_log2: int, gain: float = 1.0) -> Lstm:
    """An LSTM whose gates span their range where ``gain`` is about 1 and saturate above."""

    def scale(around: float) -> np.float32:
        return np.float32(around * rng.uniform(0.5, 2.0))

    def weight(rows: int, columns: int, around: float) -> Weight:
        return Weight(rng.integers(-127, 128, (rows, columns)).astype(np.int8), scale(around))

    s_in, s_out = scale(1 / 64), scale(1 / 128)
    gates: dict[str, dict[str, Weight | np.ndarray]] = {}
    for name in GATES[1:] if shape.cifg else GATES:
        gate: dict[str, Weight | np.ndarray] = {
            "input": weight(shape.cells, shape.inputs, gain / 64),
            "recurrent": weight(shape.cells, shape.outputs, gain / 64),
            "bias": rng.integers(-9000, 9000, shape.cells).astype(np.int32),
        }
        if shape.peephole and name != "cell":
            codes = rng.integers(-32767, 32768, shape.cells).astype(np.int16)
            gate["peephole"] = Weight(codes, scale(gain / 2**14))
        if shape.norm:
            codes = rng.integers(-32767, 32768, shape.cells).astype(np.int16)
            gate["norm"] = Weight(codes, scale(2.0 ** rng.integers(-15, -12)))
            gate["bias"] = rng.integers(-(2**20), 2**20, shape.cells).astype(np.int32)
        gates[name] = gate
    projection = weight(shape.outputs, shape.cells, 1 / 96) if shape.projection else None
    bias = rng.integers(-2000, 2000, shape.outputs).astype(np.int32)
    same = not shape.projection
    hidden = s_out if same else scale(1 / 128)
    zero = int(rng.integers(-20, 20))
    return Lstm(
        gates=gates,
        input_scale=s_in,
        input_zero_point=int(rng.integers(-128, 128)),
        output_scale=s_out,
        output_zero_point=zero,
        cell_scale=np.float32(2.0**cell_log2),
        hidden_scale=hidden,
        hidden_zero_point=zero if same else int(rng.integers(-20, 20)),
        cell_clip=float(rng.choice([0.0, 0.3, 10.0])),
        proj_clip=float(rng.choice([0.0, 0.4])) if shape.projection else 0.0,
        projection=projection,
        projection_bias=bias if shape.projection and shape.projection_bias else None,
        norm_scale={name: scale(2**-12) for name in GATES},
    )


def lstm_model(lstm: Lstm, shape: Shape) -> bytes:
    """Model file: tensor ``x`` in, ``y`` out, ``state`` and ``cell`` its variables."""
    tensors, op = lstm_parts(lstm, shape)
    return build_model(tensors, [op], ["x"], ["y"])


def lstm_parts(lstm: Lstm, shape: Shape) -> tuple[list[Tensor], Op]:
    """Tensors and operator of the model file; input number ``i`` of the operator is called ``w<i>``."""
    lead = (shape.time, shape.batch) if shape.time_major else (shape.batch, shape.time)
    s_x, z_x = lstm.input_scale, lstm.input_zero_point
    s_y, z_y = lstm.output_scale, lstm.output_zero_point
    tensors = [
        Tensor("x", (*lead, shape.inputs), "i8", s_x, z_x),
        Tensor("y", (*lead, shape.outputs), "i8", s_y, z_y),
        Tensor("state", (shape.batch, shape.outputs), "i8", s_y, z_y, variable=True),
        Tensor("cell", (shape.batch, shape.cells), "i16", lstm.cell_scale, 0, variable=True),
    ]
    inputs = [""] * 24
    inputs[0], inputs[OUTPUT_STATE], inputs[CELL_STATE] = "x", "state", "cell"

    def add(number: int, value: Weight | np.ndarray) -> None:
        codes = value.codes if isinstance(value, Weight) else value
        scale = value.scale if isinstance(value, Weight) else np.float32(1e-4)
        dtype = {"int8": "i8", "int16": "i16", "int32": "i32"}[codes.dtype.name]
        inputs[number] = f"w{number}"
        tensors.append(Tensor(inputs[number], codes.shape, dtype, scale, 0, codes))

    for gate, parts in lstm.gates.items():
        for key, value in parts.items():
            add(place(key, gate), value)
    if lstm.projection is not None:
        add(PROJECTION, lstm.projection)
    if lstm.projection_bias is not None:
        add(PROJECTION_BIAS, lstm.projection_bias)
    between = [f"between_{gate}" for gate in GATES]
    tensors += [
        Tensor(n, (1,), "i16", lstm.norm_scale[g], 0) for n, g in zip(between, GATES, strict=True)
    ]
    tensors.append(Tensor("hidden", (1,), "i8", lstm.hidden_scale, lstm.hidden_zero_point))
    options = {
        "FusedActivationFunction": 4,  # tanh
        "CellClip": lstm.cell_clip,
        "ProjClip": lstm.proj_clip,
        "TimeMajor": shape.time_major,
    }
    op = Op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, "y", options, (*between, "hidden"))
    return tensors, op


def read_lstm(runtime: Runtime, inputs: list[int], hidden: int, cell_clip: float) -> Lstm:
    """The LSTM of a real model: the operator's ``inputs`` and hidden intermediate as tensor numbers."""
    gates: dict[str, dict[str, Weight | np.ndarray]] = {}
    for gate in GATES:
        gates[gate] = {
            key: Weight(runtime.tensor(number), runtime.scale(number))
            for key in ("input", "recurrent")
            for number in [inputs[place(key, gate)]]
        }
        gates[gate]["bias"] = runtime.tensor(inputs[place("bias", gate)])
    state, cell = inputs[OUTPUT_STATE], inputs[CELL_STATE]
    return Lstm(
        gates=gates,
        input_scale=runtime.scale(inputs[0]),
        input_zero_point=runtime.zero_point(inputs[0]),
        output_scale=runtime.scale(state),
        output_zero_point=runtime.zero_point(state),
        cell_scale=runtime.scale(cell),
        hidden_scale=runtime.scale(hidden),
        hidden_zero_point=runtime.zero_point(hidden),
        cell_clip=cell_clip,
    )
