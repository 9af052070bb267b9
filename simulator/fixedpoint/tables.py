"""Look-up tables of 16-bit operators: LOGISTIC and TANH by 256 entries, SOFTMAX by two of 513.

Tables are built once, in float64; what runs per element is integers. Sources: TensorFlow Lite's
``integer_ops/logistic.h`` and ``tanh.h``, ``softmax.h`` (``SoftmaxInt16``), ``common.h`` (``LUTPopulate``,
``LUTLookup``), ``activations.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from simulator.errors import ModelError
from simulator.fixedpoint.requantize import double_rounding, quantize_multiplier
from simulator.fixedpoint.softmax import leading_zeros
from simulator.fixedpoint.width import Integer, saturate
from simulator.jit import jit

STEPS = 512  # of a table over all 16-bit codes; 128 codes each


def _round_away(value: float) -> int:
    return int(math.copysign(math.floor(abs(value) + 0.5), value))  # |value| < 2**51


def sigmoid_table() -> np.ndarray:
    """int64 [256], Q0.16: the logistic function at i / 24.

    Each entry is raised by half of what interpolating to the next loses half-way on; the last is the
    largest 16-bit value, which inputs beyond the table give.
    """

    def exact(i: float) -> float:
        return 65536 / (1 + math.exp(-i / 24))

    entries = [
        _round_away(exact(i) + (exact(i + 0.5) - (exact(i) + exact(i + 1)) / 2) / 2)
        for i in range(255)
    ]
    return np.array([*entries, 65535], np.int64)


def activation_scaling(scale: float) -> tuple[int, int]:
    """(multiplier, right shift) that bring codes of LOGISTIC and TANH to steps of 1 / (3 * 4096).

    The multiplier is cut, not rounded, to 15 bits (16 for scales above 2.67); 2**-12 is exact.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ModelError("activation", f"scale {scale}", "finite and positive")
    if abs(math.log2(scale) + 12) < 1e-3:
        return 3, 0
    real, shift = scale * 4096.0 * 3.0, 0
    while real <= 32767 / 2 and shift <= 30:
        real *= 2
        shift += 1
    if real >= 65536:
        raise ModelError(
            "activation", f"scale {scale}", "below 16 / 3: the runtime's product overflows"
        )
    return int(real), shift


@jit
def _rescaled(code: Integer, multiplier: int, shift: int) -> Integer:
    return (code * multiplier + ((1 << shift) >> 1)) >> shift  # |product| < 2**31, shift <= 31


@jit
def _interpolated(magnitude: Integer, fraction_bits: int, table: np.ndarray) -> Integer:
    """Table value and interpolation, ``fraction_bits`` below the table's; -1 beyond the table."""
    index = magnitude >> fraction_bits
    if index >= 255:
        return -1
    fraction = magnitude & ((1 << fraction_bits) - 1)
    return (table[index] << fraction_bits) + fraction * (table[index + 1] - table[index])


@jit
def logistic(code: Integer, multiplier: int, shift: int, table: np.ndarray) -> Integer:
    """LOGISTIC of a 16-bit code to Q0.15; see :func:`activation_scaling` and :func:`sigmoid_table`."""
    x = _rescaled(code, multiplier, shift)
    result = _interpolated(abs(x), 9, table)  # Q0.25
    if result < 0:
        result = 0x7FFF << 10
    if x < 0:
        result = (1 << 25) - result - 1
    return (result + (1 << 9)) >> 10


@jit
def tanh(code: Integer, multiplier: int, shift: int, table: np.ndarray) -> Integer:
    """TANH of a 16-bit code to Q0.15: twice the logistic function of twice the input, less one."""
    x = _rescaled(code, multiplier, shift)
    result = _interpolated(abs(x), 8, table)  # Q0.24
    if result < 0:
        result = 0xFFFF << 8
    result -= 1 << 23
    if x < 0:
        return (-result + (1 << 7) - 1) >> 8
    return (result + (1 << 7)) >> 8


def build_table(function: Callable[[float], float], scale: float, zero_point: int) -> np.ndarray:
    """int64 [513] for :func:`look_up`, Q0.15: ``function`` of scale * (code - zero_point).

    Each entry is lowered by half the rounded error of interpolating half-way to the next. float64 in
    the runtime's order.
    """
    low, high = scale * (-32768 - zero_point), scale * (32767 - zero_point)
    out_scale = 2.0 / 65535
    step = (high - low) / STEPS
    to_code = 65536.0 / (out_scale * 32767 - out_scale * -32768)
    entries = np.zeros(STEPS + 1, np.int64)
    for i in range(STEPS):
        value = _round_away(function(low + i * step) * to_code)
        middle = _round_away(function(low + i * step + step / 2) * to_code)
        between = _round_away((function(low + (i + 1) * step) * to_code + value) / 2)
        entries[i] = saturate(value - _round_away((between - middle) / 2), 16)
    entries[STEPS] = saturate(_round_away(function(high) * to_code), 16)
    return entries


def softmax_tables() -> tuple[np.ndarray, np.ndarray]:
    """exp on [-10, 0], and 1 / (1 + x) on [0, 1]."""
    exponential = build_table(math.exp, 10.0 / 65535, 32767)
    return exponential, build_table(lambda x: 1 / (1 + x), 1.0 / 65535, -32768)


def softmax_scaling(beta: float, scale: float) -> tuple[int, int]:
    """(multiplier, shift) that bring code differences to steps of 10 / 65535."""
    real = float(np.float32(scale) * np.float32(beta)) / (10.0 / 65535.0)
    return quantize_multiplier(real)


@jit
def look_up(table: np.ndarray, code: Integer) -> Integer:
    """Interpolate a table of 513 entries at a 16-bit code."""
    index = 256 + (code >> 7)
    slope = table[index + 1] - table[index]
    return table[index] + ((slope * (code & 127) + 64) >> 7)


@jit
def softmax(
    codes: np.ndarray,
    out: np.ndarray,
    scaling: tuple[int, int],
    exponential: np.ndarray,
    reciprocal: np.ndarray,
) -> None:
    """SOFTMAX of one row of 16-bit codes (int64 [n], n < 2**16) to Q0.15 (int64 [n]), 0 to 32767."""
    top = codes.max()
    total = 0  # Q16.15
    for i in range(codes.size):
        difference = double_rounding(codes[i] - top, scaling[0], scaling[1])
        out[i] = look_up(exponential, saturate(difference + 32767, 16))
        total += out[i]
    zeros = leading_zeros(total)
    shifted = ((total << (zeros - 1)) + (1 << 13)) >> 14  # Q0.16 of total in [1, 2)
    inverse = look_up(reciprocal, saturate(shifted - (1 << 15) - (1 << 16), 16))
    right = 31 - zeros
    for i in range(codes.size):
        out[i] = min(max((out[i] * inverse + (1 << (right - 1))) >> right, 0), 32767)
