"""UNIDIRECTIONAL_SEQUENCE_LSTM on 8-bit codes with a 16-bit cell, in plain integers.

Follows TensorFlow Lite's ``lstm_eval.cc`` (``LstmStepInteger8x8_16``) and the parameters that
``unidirectional_sequence_lstm.cc`` computes: those are float32 quotients, in the order written here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from oracles.fixed import (
    clamp,
    divide_by_pot,
    double_rounding,
    f32,
    high_mul,
    quantize_multiplier,
    saturate,
    tie_up,
    trunc_div,
    wrap,
)
from oracles.gemmlowp import FixedPoint

GATES = ("input", "forget", "cell", "output")
_Q15 = FixedPoint(16)
_LOGISTIC: dict[int, int] = {}
_TANH: dict[tuple[int, int], int] = {}


@dataclass
class Weight:
    """Integer codes and the float32 scale they stand for."""

    codes: np.ndarray
    scale: np.float32


@dataclass
class Lstm:
    """Everything the operator is given; ``gates`` maps a gate to its tensors.

    A gate's tensors: ``input`` and ``recurrent`` (Weight, int8), ``bias`` (int32), and where the
    model has them ``peephole`` and ``norm`` (Weight, int16). Without the input gate it is coupled
    to the forget gate (CIFG). ``norm_scale`` is each gate's intermediate scale, used with norms.
    """

    gates: Mapping[str, Mapping[str, Weight | np.ndarray]]
    input_scale: np.float32
    input_zero_point: int
    output_scale: np.float32  # of the output state
    output_zero_point: int
    cell_scale: np.float32
    hidden_scale: np.float32
    hidden_zero_point: int
    cell_clip: float = 0.0
    proj_clip: float = 0.0
    projection: Weight | None = None
    projection_bias: np.ndarray | None = None
    norm_scale: Mapping[str, np.float32] = field(default_factory=dict)
    clip_scale: np.float32 | None = None  # of the output tensor, where it differs


def logistic(code: int) -> int:
    if code not in _LOGISTIC:
        _LOGISTIC[code] = _Q15.logistic(code, 3)
    return _LOGISTIC[code]


def tanh(code: int, integer_bits: int) -> int:
    key = (code, integer_bits)
    if key not in _TANH:
        _TANH[key] = _Q15.tanh(code, integer_bits)
    return _TANH[key]


def inverse_sqrt(value: int) -> tuple[int, int]:
    """(multiplier, shift) with multiplier * 2**(shift - 31) about 1 / sqrt(value)."""
    if value <= 1:
        return (1 << 31) - 1, 0
    right = 11
    while value >= 1 << 29:
        value //= 4
        right += 1
    pairs = (32 - value.bit_length() - 1) // 2 - 1
    right -= pairs
    value <<= 2 * pairs
    half = divide_by_pot(value >> 1, 1)
    x = 1 << 28  # 1 in Q3.28
    for _ in range(5):
        cube = saturate(high_mul(high_mul(x, x), x) << 6, 32)
        x = saturate(wrap(high_mul(3 << 27, x) - high_mul(half, cube), 32) << 3, 32)
    x = high_mul(x, 1518500250)  # sqrt(1/2) in Q0.31
    if right < 0:
        x <<= -right
        right = 0
    return x, -right


def layer_norm(gate: list[int], weights: Weight, bias: np.ndarray) -> list[int]:
    n = len(gate)
    multiplier, shift = quantize_multiplier(float(weights.scale))
    guard = max(1, int(f32(f32(10000) * weights.scale)))
    mean = trunc_div(sum(gate) * 1024, n)
    variance = trunc_div(sum(v * v for v in gate) * ((1 << 20) // n) - mean * mean, 1 << 20)
    variance = wrap(variance, 32)
    inverse, inverse_shift = inverse_sqrt(guard if variance < 1 else variance)
    out = []
    for i, value in enumerate(gate):
        rescaled = double_rounding(1024 * value - mean, inverse, inverse_shift)
        scaled = wrap(rescaled * int(weights.codes[i]) + int(bias[i]), 32)
        rounded = trunc_div(scaled + 512 if scaled > 0 else scaled - 512, 1024)
        out.append(saturate(double_rounding(rounded, multiplier, shift + 12), 16))
    return out


class State:
    """Output state (int8) and cell state (int16) of a batch of one."""

    def __init__(self, lstm: Lstm, output: np.ndarray, cell: np.ndarray) -> None:
        self.lstm = lstm
        self.output = [int(v) for v in output]
        self.cell = [int(v) for v in cell]
        self.cell_log2 = round(math.log2(lstm.cell_scale))

    def _products(self, weight: Weight, codes: list[int], zero_point: int) -> list[int]:
        matrix = weight.codes.astype(np.int64)
        return [int(v) for v in matrix @ (np.array(codes, np.int64) - zero_point)]

    def gate(self, name: str, x: list[int]) -> list[int]:
        lstm, tensors = self.lstm, self.lstm.gates[name]
        norm = tensors.get("norm")
        scale = lstm.norm_scale[name] if norm is not None else f32(2.0**-12)
        result = [0] * len(self.cell)
        for key, codes, zero, factor in (
            ("input", x, lstm.input_zero_point, lstm.input_scale),
            ("recurrent", self.output, lstm.output_zero_point, lstm.output_scale),
        ):
            weight = tensors[key]
            assert isinstance(weight, Weight)
            real = f32(f32(weight.scale * factor) / scale)
            multiplier, shift = quantize_multiplier(float(real))
            sums = self._products(weight, codes, zero)
            if key == "input" and norm is None:
                sums = [
                    wrap(s + int(b), 32)
                    for s, b in zip(sums, np.asarray(tensors["bias"]), strict=True)
                ]
            result = [
                saturate(r + double_rounding(s, multiplier, shift), 16)
                for r, s in zip(result, sums, strict=True)
            ]
        peephole = tensors.get("peephole")
        if isinstance(peephole, Weight):
            real = f32(2.0**self.cell_log2 * float(peephole.scale) / float(scale))
            multiplier, shift = quantize_multiplier(float(real))
            length = min(len(self.output), len(self.cell))  # the runtime stops at n_output
            for i in range(length):
                # Whole groups of 16 run as vectors, whose second rounding sends ties to +inf.
                rounding = tie_up if i < length // 16 * 16 else double_rounding
                product = rounding(int(peephole.codes[i]) * self.cell[i], multiplier, shift)
                result[i] = saturate(result[i] + product, 16)
        if isinstance(norm, Weight):
            result = layer_norm(result, norm, np.asarray(tensors["bias"]))
        if name == "cell":
            return [tanh(v, 3) for v in result]
        return [logistic(v) for v in result]

    def step(self, x: np.ndarray) -> list[int]:
        """One time step; returns the new output state."""
        lstm, codes = self.lstm, [int(v) for v in x]
        forget = self.gate("forget", codes)
        update = self.gate("cell", codes)
        if "input" in lstm.gates:
            enter = self.gate("input", codes)
        else:
            enter = [32767 - f for f in forget]
        kept = [divide_by_pot(f * c, 15) for f, c in zip(forget, self.cell, strict=True)]
        new = [
            divide_by_pot(i * g, 30 + self.cell_log2) for i, g in zip(enter, update, strict=True)
        ]
        self.cell = [saturate(k + n, 16) for k, n in zip(kept, new, strict=True)]
        if lstm.cell_clip > 0:
            clip = int(clamp_float(f32(f32(lstm.cell_clip) / lstm.cell_scale), 32767.0))
            self.cell = [clamp(c, -clip, clip) if clip > 0 else c for c in self.cell]
        out = self.gate("output", codes)
        self.output = self._hidden(out)
        return self.output

    def _hidden(self, out: list[int]) -> list[int]:
        lstm = self.lstm
        real = f32(2.0**-15 / float(lstm.hidden_scale) * 2.0**-15)
        multiplier, shift = quantize_multiplier(float(real))
        zero = -lstm.hidden_zero_point if lstm.projection else lstm.hidden_zero_point
        hidden = [
            saturate(double_rounding(o * tanh(c, 15 + self.cell_log2), multiplier, shift) + zero, 8)
            for o, c in zip(out, self.cell, strict=True)
        ]
        if lstm.projection is None:
            return hidden
        return self._project(lstm.projection, hidden)

    def _project(self, weight: Weight, hidden: list[int]) -> list[int]:
        lstm = self.lstm
        real = f32(f32(weight.scale * lstm.hidden_scale) / lstm.output_scale)
        multiplier, shift = quantize_multiplier(float(real))
        sums = self._products(weight, hidden, -lstm.hidden_zero_point)
        if lstm.projection_bias is not None:
            sums = [s + int(b) for s, b in zip(sums, lstm.projection_bias, strict=True)]
        out = [
            saturate(double_rounding(s, multiplier, shift) + lstm.output_zero_point, 8)
            for s in sums
        ]
        if lstm.proj_clip > 0:
            scale = lstm.output_scale if lstm.clip_scale is None else lstm.clip_scale
            clip = int(clamp_float(f32(f32(lstm.proj_clip) / scale), 127.0))
            out = [clamp(v, -clip, clip) if clip > 0 else v for v in out]
        return out


def clamp_float(value: np.float32, high: float) -> float:
    return min(max(float(value), -high - 1), high)
