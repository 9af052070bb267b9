"""16-bit look-up tables: LOGISTIC and TANH by 256 entries, SOFTMAX by two of 513 entries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from oracles.fixed import clamp, double_rounding, f32, quantize_multiplier, round_away, saturate


def _sigmoid(i: float) -> float:
    return 65536 / (1 + math.exp(-i / 24))


def _sigmoid_entry(i: int) -> int:
    """Q0.16 of the logistic function at i / 24, plus half of what interpolation loses half-way on."""
    lost = _sigmoid(i + 0.5) - (_sigmoid(i) + _sigmoid(i + 1)) / 2
    return round_away(_sigmoid(i) + lost / 2)


# The last entry is what saturated inputs give.
SIGMOID = [*(_sigmoid_entry(i) for i in range(255)), 65535]


def input_scaling(scale: float) -> tuple[int, int]:
    """(16-bit multiplier, right shift) to steps of 1 / (3 * 4096); multiplier 0: a power of two.

    With a power of two of at least 2**-12 the shift is to the left, before the factor 3.
    """
    log2 = round(math.log2(scale))
    exact = abs(math.log2(scale) - log2) < 1e-3
    if exact and log2 == -12:
        return 0, 0
    multiplier, shift = scale * 4096.0 * 3.0, 0
    while multiplier <= 32767 / 2 and shift <= 30:
        shift += 1
        multiplier *= 2
    return int(multiplier), shift


def _scaled(code: int, multiplier: int, shift: int) -> int:
    if multiplier == 0:
        multiplier, shift = 3 << shift, 0
    return (code * multiplier + ((1 << shift) >> 1)) >> shift


def _interpolate(magnitude: int, fraction_bits: int, beyond: int) -> int:
    index = magnitude >> fraction_bits
    if index >= 255:
        return beyond
    low, high = SIGMOID[index], SIGMOID[index + 1]
    return (low << fraction_bits) + (magnitude & ((1 << fraction_bits) - 1)) * (high - low)


def logistic(code: int, scale: float) -> int:
    """Q0.15 of the logistic function of ``code * scale``."""
    x = _scaled(code, *input_scaling(scale))
    result = _interpolate(abs(x), 9, 0x7FFF << 10)
    if x < 0:
        result = (1 << 25) - result - 1
    return (result + (1 << 9)) >> 10


def tanh(code: int, scale: float) -> int:
    """Q0.15 of tanh of ``code * scale``."""
    x = _scaled(code, *input_scaling(scale))
    result = _interpolate(abs(x), 8, 0xFFFF << 8) - (1 << 23)
    if x < 0:
        return (-result + (1 << 7) - 1) >> 8
    return (result + (1 << 7)) >> 8


def build513(function: Callable[[float], float], x_scale: float, x_zero: int) -> list[int]:
    """513 entries over all 16-bit codes of x; Q0.15 out, corrected by half the error between entries.

    All in float64, in this order.
    """
    low, high = x_scale * (-32768 - x_zero), x_scale * (32767 - x_zero)
    y_scale = 2.0 / 65535
    step = (high - low) / 512
    to_code = 65536.0 / (y_scale * 32767 - y_scale * -32768)
    entries = []
    for i in range(512):
        value = function(low + i * step) * to_code
        middle = round_away(function(low + i * step + step / 2) * to_code)
        following = function(low + (i + 1) * step) * to_code
        between = round_away((following + round_away(value)) / 2)
        entries.append(saturate(round_away(value) - round_away((between - middle) / 2), 16))
    entries.append(saturate(round_away(function(high) * to_code), 16))
    return entries


def lookup513(table: Sequence[int], code: int) -> int:
    index = 256 + (code >> 7)
    slope = table[index + 1] - table[index]
    return table[index] + ((slope * (code & 127) + 64) >> 7)


EXP = build513(math.exp, 10.0 / 65535, 32767)  # on [-10, 0]
RECIPROCAL = build513(lambda x: 1 / (1 + x), 1.0 / 65535, -32768)  # 1 / (1 + x) on [0, 1]


def softmax16(codes: Sequence[int], scale: float, beta: float) -> list[int]:
    """One row of 16-bit codes, Q0.15 out."""
    real = float(f32(scale) * f32(beta)) / (10.0 / 65535.0)
    scaling = quantize_multiplier(real)
    top = max(codes)
    exps = []
    for code in codes:
        difference = double_rounding(code - top, *scaling)
        exps.append(lookup513(EXP, saturate(difference + 32767, 16)))
    total = sum(exps)  # Q16.15
    zeros = 32 - total.bit_length()
    shifted = ((total << (zeros - 1)) + (1 << 13)) >> 14
    reciprocal = lookup513(RECIPROCAL, saturate(shifted - (1 << 15) - (1 << 16), 16))
    right = 31 - zeros
    return [clamp((e * reciprocal + (1 << (right - 1))) >> right, 0, 32767) for e in exps]


def table_array(entries: Sequence[int]) -> np.ndarray:
    return np.array(entries, np.int16)
