"""The 16-bit cell of TensorFlow Lite's 8-bit LSTM: parameters, and one time step after the products.

A gate's pre-activation is 16 bits wide, in steps of 2**-12 (Q3.12) unless it is normalized:

    gate = saturate16(DR(W x + bias'))                 every time step at once
    gate = saturate16(gate + DR(R h + bias''))         DR unsaturated (int32) before the sum

where DR is :func:`~simulator.fixedpoint.requantize.double_rounding` and the zero points of ``x`` and
``h`` are folded into the biases; :func:`new_cell` and :func:`new_hidden` do the rest. Sources:
``lstm_eval.cc`` (``LstmStepInteger8x8_16``), ``unidirectional_sequence_lstm.cc``,
``portable_tensor_utils.cc``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simulator.errors import ModelError
from simulator.fixedpoint.gemmlowp import logistic, tanh
from simulator.fixedpoint.requantize import (
    double_rounding,
    doubling_high_mul,
    quantize_multiplier,
    rounding_divide_by_pot,
)
from simulator.fixedpoint.width import Integer, highest, lowest, saturate, wrap
from simulator.jit import jit

INPUT, FORGET, CELL, OUTPUT = 0, 1, 2, 3  # the gates, in the order of the operator's tensors
GATE_SCALE = 2.0**-12
PEEPHOLE_LANES = 16  # cells the runtime's vector code takes at a time


class LstmCell(NamedTuple):
    """Scalars of :func:`new_cell` and :func:`new_hidden`."""

    cell_log2: int
    """log2 of the cell state's scale, -15 to -9."""
    cell_clip: int
    """Largest magnitude of a cell code; 0: no clipping."""
    coupled: bool
    """No input gate: 32767 minus the forget gate takes its place."""
    hidden_multiplier: int
    hidden_shift: int
    hidden_zero_point: int
    """Added to the hidden state; **minus** its zero point where a projection follows."""


class LstmPeephole(NamedTuple):
    """Weights from the cell state to the gates; arrays of no columns where there are none."""

    weights: np.ndarray
    """int16 [4, cells], rows as the gates; the cell gate's is not used."""
    multipliers: np.ndarray
    """int64 [4]."""
    shifts: np.ndarray
    """int64 [4]."""


class LstmNorm(NamedTuple):
    """Layer normalization of the gates; arrays of no columns where there is none."""

    weights: np.ndarray
    """int16 [4, cells]."""
    biases: np.ndarray
    """int32 [4, cells], in steps of the weight's scale / 1024."""
    multipliers: np.ndarray
    """int64 [4], of the weights' scales."""
    shifts: np.ndarray
    """int64 [4]."""
    guards: np.ndarray
    """int64 [4]: the variance to use where it is below 1."""


def no_peephole() -> LstmPeephole:
    none = np.zeros(4, np.int64)
    return LstmPeephole(np.zeros((4, 0), np.int16), none, none)


def no_norm() -> LstmNorm:
    none = np.zeros(4, np.int64)
    return LstmNorm(np.zeros((4, 0), np.int16), np.zeros((4, 0), np.int32), none, none, none)


def cell_log2(scale: float) -> int:
    """log2 of the cell state's scale, which the runtime wants to be within 0.1 % of an integer."""
    exact = math.log2(scale) if scale > 0 and math.isfinite(scale) else 0.0
    if not (abs(exact - round(exact)) < 1e-3 and -15 <= round(exact) <= -9):
        raise ModelError("LSTM cell state", f"scale {scale}", "a power of two, 2**-15 to 2**-9")
    return round(exact)


def gate_multiplier(
    weight_scale: float, activation_scale: float, gate_scale: float = GATE_SCALE
) -> tuple[int, int]:
    """(multiplier, shift) of a gate's product with the input or the output state.

    The runtime multiplies and divides in float32, in this order.
    """
    product = np.float32(weight_scale) * np.float32(activation_scale)
    return quantize_multiplier(float(product / np.float32(gate_scale)))


def hidden_multiplier(hidden_scale: float) -> tuple[int, int]:
    """(multiplier, shift) of output gate * tanh(cell): float64, then rounded to float32."""
    real = 2.0**-15 / float(np.float32(hidden_scale)) * 2.0**-15
    return quantize_multiplier(float(np.float32(real)))


def projection_multiplier(
    weight_scale: float, hidden_scale: float, output_scale: float
) -> tuple[int, int]:
    """(multiplier, shift) of the projection, in float32."""
    return gate_multiplier(weight_scale, hidden_scale, output_scale)


def peephole_multiplier(
    cell_scale_log2: int, weight_scale: float, gate_scale: float = GATE_SCALE
) -> tuple[int, int]:
    """(multiplier, shift) of weight * cell: float64, then rounded to float32."""
    product = 2.0**cell_scale_log2 * float(np.float32(weight_scale))
    return quantize_multiplier(float(np.float32(product / float(np.float32(gate_scale)))))


def clip_code(clip: float, scale: float, bits: int) -> int:
    """Largest magnitude of a code, 0 for none: cell_clip / cell scale in 16 bits, proj_clip / output
    scale in 8; a float32 quotient, clamped and cut to an integer. No zero point enters."""
    if not clip > 0:
        return 0
    quotient = np.float32(clip) / np.float32(scale)
    return int(min(max(float(quotient), float(lowest(bits))), float(highest(bits))))


def variance_guard(norm_scale: float) -> int:
    """The variance that stands in for one below 1."""
    return max(1, int(np.float32(10000) * np.float32(norm_scale)))


@jit
def _inverse_sqrt(value: Integer) -> tuple[Integer, int]:
    """(multiplier, shift) with multiplier * 2**(shift - 31) near 1 / sqrt(value); 0 <= value < 2**31.

    Five Newton steps in Q3.28 on value * 4**pairs in [2**27, 2**29), from 1.
    """
    if value <= 1:
        return (1 << 31) - 1, 0
    right = 11
    while value >= 1 << 29:
        value //= 4
        right += 1
    while value < 1 << 27:
        value *= 4
        right -= 1
    half = rounding_divide_by_pot(value >> 1, 1)
    x = 1 << 28
    for _ in range(5):
        square = doubling_high_mul(x, x)
        cube = saturate(doubling_high_mul(square, x) << 6, 32)
        step = doubling_high_mul(3 << 27, x) - doubling_high_mul(half, cube)
        x = saturate(step << 3, 32)  # |step| < 2**31
    x = doubling_high_mul(x, 1518500250)  # sqrt(1/2) in Q0.31
    if right < 0:
        return x << -right, 0
    return x, -right


@jit
def _toward_zero(numerator: Integer, denominator: Integer) -> Integer:
    """numerator / denominator cut toward zero; denominator > 0."""
    quotient = abs(numerator) // denominator
    return -quotient if numerator < 0 else quotient


@jit
def _normalize(gate: np.ndarray, which: int, norm: LstmNorm) -> None:
    """Layer normalization in place; ``gate`` int64 [cells] of 16-bit codes."""
    cells = gate.size
    total = 0
    squares = 0
    for i in range(cells):
        total += gate[i]
        squares += gate[i] * gate[i]  # < 2**30 each
    mean = _toward_zero(total * 1024, cells)  # Q10
    variance = _toward_zero(squares * ((1 << 20) // cells) - mean * mean, 1 << 20)
    variance = wrap(variance, 32)
    if variance < 1:
        variance = norm.guards[which]
    multiplier, shift = _inverse_sqrt(variance)
    for i in range(cells):
        deviation = double_rounding(1024 * gate[i] - mean, int(multiplier), shift)  # Q10
        scaled = wrap(deviation * norm.weights[which, i] + norm.biases[which, i], 32)
        nudge = 512 if scaled > 0 else -512
        rounded = _toward_zero(scaled + nudge, 1024)
        code = double_rounding(rounded, norm.multipliers[which], norm.shifts[which] + 12)
        gate[i] = saturate(code, 16)


@jit
def _ties_up(value: Integer, multiplier: int, shift: int) -> Integer:
    """Double rounding whose right shift sends ties to +inf: the runtime's vector code."""
    left = shift if shift > 0 else 0
    right = -shift if shift < 0 else 0
    high = doubling_high_mul(wrap(value << left, 32), multiplier)  # |value| <= 2**30, left <= 30
    return (high + ((1 << right) >> 1)) >> right


@jit
def _finish_gate(
    gate: np.ndarray, which: int, cell: np.ndarray, peephole: LstmPeephole, norm: LstmNorm
) -> None:
    """Pre-activation (int64 [cells] of 16-bit codes) to activation in Q0.15, in place."""
    if which != CELL:
        looking = peephole.weights.shape[1]
        vectors = looking // PEEPHOLE_LANES * PEEPHOLE_LANES
        for i in range(looking):
            product = np.int64(peephole.weights[which, i]) * np.int64(cell[i])
            multiplier, shift = peephole.multipliers[which], peephole.shifts[which]
            if i < vectors:
                product = _ties_up(product, multiplier, shift)
            else:
                product = double_rounding(product, multiplier, shift)
            gate[i] = saturate(gate[i] + product, 16)
    if norm.weights.shape[1] > 0:
        _normalize(gate, which, norm)
    for i in range(gate.size):
        gate[i] = tanh(gate[i], 3, 16) if which == CELL else logistic(gate[i], 3, 16)


@jit
def new_cell(
    gates: np.ndarray,
    cell: np.ndarray,
    parameters: LstmCell,
    peephole: LstmPeephole,
    norm: LstmNorm,
) -> None:
    """The cell state after one time step of one batch.

    ``gates`` int64 [4, cells]: pre-activations, 16-bit codes; rows INPUT (unless the gates are coupled),
    FORGET and CELL are read and overwritten. ``cell`` int16 [cells]: the state, updated.
    """
    first = FORGET if parameters.coupled else INPUT
    for which in range(first, OUTPUT):
        _finish_gate(gates[which], which, cell, peephole, norm)
    for i in range(cell.size):
        enter = 32767 - gates[FORGET, i] if parameters.coupled else gates[INPUT, i]
        kept = rounding_divide_by_pot(gates[FORGET, i] * np.int64(cell[i]), 15)
        new = rounding_divide_by_pot(enter * gates[CELL, i], 30 + parameters.cell_log2)
        code = saturate(kept + new, 16)
        if parameters.cell_clip > 0:
            code = min(max(code, -parameters.cell_clip), parameters.cell_clip)
        cell[i] = code


@jit
def new_hidden(
    gates: np.ndarray,
    cell: np.ndarray,
    hidden: np.ndarray,
    parameters: LstmCell,
    peephole: LstmPeephole,
    norm: LstmNorm,
) -> None:
    """The hidden state after :func:`new_cell`, whose ``cell`` is read; ``hidden`` int8 [cells] is written.

    Row OUTPUT of ``gates`` is read and overwritten.
    """
    _finish_gate(gates[OUTPUT], OUTPUT, cell, peephole, norm)  # sees the new cell state
    for i in range(cell.size):
        bent = tanh(np.int64(cell[i]), 15 + parameters.cell_log2, 16)
        product = gates[OUTPUT, i] * bent  # |product| <= 2**30
        code = double_rounding(product, parameters.hidden_multiplier, parameters.hidden_shift)
        hidden[i] = saturate(code + parameters.hidden_zero_point, 8)
