"""Cases of operators that remember: called several times, each with the states that the last one left."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.graph.ir import Attribute
from simulator.vectors.build import (
    Case,
    Operand,
    Result,
    Rng,
    any_scale,
    any_zero_point,
    codes,
    one_node,
    real,
)
from simulator.vectors.elementwise import Cases

KINDS = ("random", "corners", "zero_points", "ones")
_CALLS = 6
_INPUT, _FORGET, _CELL, _OUTPUT = range(4)
_PEEPHOLES = {_INPUT: 9, _FORGET: 10, _OUTPUT: 11}


def svdf(rng: Rng, kind: str, profile: str) -> Case:
    """Features that fill 16 bits or now and then saturate, outputs that fill 8."""
    most = (2, 2, 2, 2, 2) if kind == "ones" else (4, 8, 8, 12, 4)
    rank, units, memory, inputs, batch = (int(n) for n in rng.integers(1, most))
    filters = rank * units
    s_in, s_feature, s_time = any_scale(rng), any_scale(rng, 1e-3, 0.1), any_scale(rng, 1e-5, 1e-3)
    s_state = real(s_in * s_feature * np.sqrt(inputs) * 5000 / rng.choice([10_000, 60_000]))
    wide = int(rng.choice([32767, 32767, 100]))
    s_out = real(s_state * s_time * 20_000 * wide / 2 * np.sqrt(rank * memory) / 60)
    time = rng.integers(-wide - 1, wide + 1, (filters, memory)).astype(np.int16)
    before = np.zeros((batch, filters * memory), np.int16)
    bias = Operand("")
    if rng.integers(3):
        values = rng.integers(-(2**27), 2**27, units).astype(np.int32)
        bias = Operand("b", (units,), "i32", (real(1e-4),), 0, values)
    operands = [
        Operand("x", (batch, inputs), "i8", (s_in,), any_zero_point(rng, "i8", kind)),
        Operand("f", (filters, inputs), "i8", (s_feature,), 0, codes(rng, "i8", (filters, inputs), kind)),
        Operand("t", (filters, memory), "i16", (s_time,), 0, time), bias,
        Operand("s", before.shape, "i16", (s_state,), 0, before, state=True),
    ]  # fmt: skip
    result = Result("i8", s_out, any_zero_point(rng, "i8", kind))
    graph = one_node("svdf", operands, result, profile, {"rank": rank, "activation": "RELU"})
    return Case(kind, graph, {"x": codes(rng, "i8", (_CALLS, batch, inputs), kind)})


@dataclass(frozen=True)
class _Lstm:
    """Sizes and parts of one LSTM; ``gain``: from gates that hardly move to gates that saturate."""

    batch: int
    time: int
    inputs: int
    cells: int
    outputs: int
    gates: tuple[int, ...]
    peephole: bool
    norm: bool
    projection: bool
    gain: float


def _drawn(rng: Rng, kind: str) -> _Lstm:
    ones, projection = kind == "ones", bool(rng.random() < 0.4)
    cells = 1 if ones else int(rng.integers(1, 20))
    outputs = int(rng.integers(1, 2 if ones else 12)) if projection else cells
    # Kernels read beyond the peephole weights where outputs and cells differ.
    peephole = bool(rng.random() < 0.3) and outputs == cells
    batch, time, inputs = (int(n) for n in rng.integers(1, (2, 2, 2) if ones else (4, 5, 9)))
    gates = (_FORGET, _CELL, _OUTPUT) if rng.integers(2) else (_INPUT, _FORGET, _CELL, _OUTPUT)
    norm, gain = bool(rng.random() < 0.25), float(rng.choice([0.25, 1, 4, 64]))
    return _Lstm(
        batch, time, inputs, cells, outputs, gates, peephole, norm, projection, gain
    )  # fmt: skip


def _near(rng: Rng, value: float) -> tuple[float, ...]:
    return (real(value * rng.uniform(0.5, 2.0)),)


def _matrix(rng: Rng, kind: str, shape: tuple[int, int], scale: float) -> Operand:
    values = np.maximum(codes(rng, "i8", shape, kind), np.int8(-127))
    return Operand("w", shape, "i8", _near(rng, scale), 0, values)


def _vector(rng: Rng, size: int, dtype: str, reach: int, scale: tuple[float, ...]) -> Operand:
    values = rng.integers(-reach, reach, size).astype(f"int{dtype[1:]}")
    return Operand("w", (size,), dtype, scale, 0, values)


def _parts(rng: Rng, kind: str, lstm: _Lstm) -> dict[int, Operand]:
    """The operator's constant inputs by their number."""
    found: dict[int, Operand] = {}
    for gate in lstm.gates:
        found[1 + gate] = _matrix(rng, kind, (lstm.cells, lstm.inputs), lstm.gain / 64)
        found[5 + gate] = _matrix(rng, kind, (lstm.cells, lstm.outputs), lstm.gain / 64)
        reach = 2**20 if lstm.norm else 9000
        found[12 + gate] = _vector(rng, lstm.cells, "i32", reach, (real(1e-4),))
        if lstm.norm:
            scale = _near(rng, 2.0 ** int(rng.integers(-15, -12)))
            found[20 + gate] = _vector(rng, lstm.cells, "i16", 32767, scale)
        if lstm.peephole and gate != _CELL:
            scale = _near(rng, lstm.gain / 2**14)
            found[_PEEPHOLES[gate]] = _vector(rng, lstm.cells, "i16", 32767, scale)
    if lstm.projection:
        found[16] = _matrix(rng, kind, (lstm.outputs, lstm.cells), 1 / 96)
        if rng.integers(2):
            found[17] = _vector(rng, lstm.outputs, "i32", 2000, (real(1e-4),))
    return {number: replace(part, name=f"w{number}") for number, part in found.items()}


def unidirectional_sequence_lstm(rng: Rng, kind: str, profile: str) -> Case:
    """With or without an input gate, peepholes, layer normalization and projection."""
    lstm, time_major = _drawn(rng, kind), int(rng.integers(2))
    parts = _parts(rng, kind, lstm)
    lead = (lstm.time, lstm.batch) if time_major else (lstm.batch, lstm.time)
    zero = int(rng.integers(-20, 20))
    scale = _near(rng, 1 / 128)
    parts[0] = Operand(
        "x", (*lead, lstm.inputs), "i8", _near(rng, 1 / 64), any_zero_point(rng, "i8", kind)
    )
    state = np.full((lstm.batch, lstm.outputs), zero, np.int8)
    cell = np.zeros((lstm.batch, lstm.cells), np.int16)
    cell_scale = 2.0 ** int(rng.integers(-15, -8))
    parts[18] = Operand("state", state.shape, "i8", scale, zero, state, state=True)
    parts[19] = Operand("cell", cell.shape, "i16", (cell_scale,), 0, cell, state=True)
    hidden = (
        (_near(rng, 1 / 128)[0], int(rng.integers(-20, 20)))
        if lstm.projection
        else (scale[0], zero)
    )
    between = [_near(rng, 2.0**-12)[0] for _ in range(4)]
    attrs: dict[str, Attribute] = {
        "activation": "TANH", "time_major": time_major, "diagonal": 0,
        "cell_clip": real(rng.choice([0.0, 0.3, 10.0])),
        "proj_clip": real(rng.choice([0.0, 0.4])) if lstm.projection else 0.0,
        "intermediate_scales": (*between, hidden[0]),
        "intermediate_zero_points": (0, 0, 0, 0, hidden[1]),
    }  # fmt: skip
    operands = [parts.get(number, Operand("")) for number in range(24)]
    operator = "unidirectional_sequence_lstm"
    graph = one_node(operator, operands, Result("i8", scale[0], zero), profile, attrs)
    return Case(kind, graph, {"x": codes(rng, "i8", (_CALLS, *lead, lstm.inputs), kind)})


CASES = {
    "svdf": Cases(KINDS, svdf),
    "unidirectional_sequence_lstm": Cases(KINDS, unidirectional_sequence_lstm),
}
