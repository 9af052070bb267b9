"""Element-wise operators on codes: plain Python integers, or exactly the float operations stated.

Every function takes one code (or two) and the operator's parameters. Scales are float32 values held in
Python floats; ``f32`` marks each operation the runtime makes in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from oracles.fixed import (
    clamp,
    divide_by_pot,
    double_rounding,
    f32,
    high_mul,
    quantize_multiplier,
    round_away,
    saturate,
    trunc_div,
    wrap,
)
from oracles.lstm import inverse_sqrt


class Q(NamedTuple):
    """Quantization of a tensor, and its type's range."""

    scale: float
    zero_point: int = 0
    bits: int = 8
    signed: bool = True

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def fit(self, code: int) -> int:
        return clamp(code, self.low, self.high)


def quantize_float(value: np.float32, out: Q) -> int:
    """QUANTIZE of a float: one float32 division, half away from zero."""
    return out.fit(round_away(np.float32(value / f32(out.scale))) + out.zero_point)


def requantize(code: int, x: Q, out: Q) -> int:
    """QUANTIZE of a code: the multiplier is a float64 quotient."""
    scaling = quantize_multiplier(x.scale / out.scale)
    return out.fit(double_rounding(code - x.zero_point, *scaling) + out.zero_point)


def add(a: int, b: int, qa: Q, qb: Q, out: Q, sign: int = 1) -> int:
    """ADD (sign 1) and SUB (sign -1) with any scales; 15 guard bits for 16-bit codes, 20 for 8."""
    guard = 15 if out.bits == 16 else 20
    twice = float(f32(2) * max(f32(qa.scale), f32(qb.scale)))
    sa, sb = quantize_multiplier(qa.scale / twice), quantize_multiplier(qb.scale / twice)
    so = quantize_multiplier(twice / float(f32(1 << guard) * f32(out.scale)))
    ta = double_rounding((a - qa.zero_point) << guard, *sa)
    tb = double_rounding((b - qb.zero_point) << guard, *sb)
    return out.fit(double_rounding(ta + sign * tb, *so) + out.zero_point)


def add_power_of_two(a: int, b: int, shift_a: int, shift_b: int, sign: int = 1) -> int:
    """ADD and SUB of 16-bit codes with power-of-two scales and no zero points.

    A shift is log2(input scale / output scale), zero or negative; at least one is zero.
    """
    a, b = divide_by_pot(a, -shift_a), divide_by_pot(b, -shift_b)
    return saturate(a + sign * b, 16)


def mul(a: int, b: int, qa: Q, qb: Q, out: Q) -> int:
    scaling = quantize_multiplier(float(f32(f32(qa.scale) * f32(qb.scale)) / f32(out.scale)))
    product = (a - qa.zero_point) * (b - qb.zero_point)
    return out.fit(double_rounding(product, *scaling) + out.zero_point)


def leaky_relu(code: int, x: Q, out: Q, alpha: float) -> int:
    value = code - x.zero_point
    real = f32(x.scale) / f32(out.scale)
    if value < 0:
        real = f32(f32(x.scale) * f32(alpha)) / f32(out.scale)
    return out.fit(double_rounding(value, *quantize_multiplier(float(real))) + out.zero_point)


def prelu(code: int, alpha: int, x: Q, qa: Q, out: Q) -> int:
    value = code - x.zero_point
    real = f32(x.scale) / f32(out.scale)
    if value < 0:
        value *= alpha - qa.zero_point
        real = f32(f32(x.scale) * f32(qa.scale)) / f32(out.scale)
    return out.fit(double_rounding(value, *quantize_multiplier(float(real))) + out.zero_point)


def rsqrt(code: int, x: Q, out: Q) -> int:
    """RSQRT of a code at or above the zero point, by integer Newton steps."""
    value = code - x.zero_point
    if value == 0:
        return out.high
    real = 1.0 / float(np.sqrt(f32(x.scale)) * f32(out.scale))
    multiplier, shift = quantize_multiplier(real)
    inverse, inverse_shift = inverse_sqrt(value)
    fixed = double_rounding(1, inverse, inverse_shift + 20)
    return out.fit(double_rounding(fixed, multiplier, shift - 20) + out.zero_point)


def _to_16(multiplier: int) -> int:
    return 32767 if multiplier >= (1 << 31) - 1 - (1 << 15) else (multiplier + (1 << 15)) >> 16


def hard_swish(code: int, x: Q, out: Q) -> int:
    """HARD_SWISH on 8-bit codes: a pipeline of 16-bit integers."""
    fine = f32(f32(1 / 128) * f32(x.scale))
    m_out, e_out = quantize_multiplier(float(fine / f32(out.scale)))
    m_relu, e_relu = quantize_multiplier(float(fine / f32(f32(3) / f32(32768))))
    value = (code - x.zero_point) << 7
    scaled = high_mul(value, _to_16(m_out), 16)
    gate = value
    if e_relu > 0:
        gate = saturate(gate << (e_relu - 1), 16)
    gate = high_mul(gate, _to_16(m_relu), 16)
    if e_relu > 0:
        gate = saturate(gate << 1, 16)
    if e_relu < 0:
        gate = divide_by_pot(gate, -e_relu)
    gate = (gate + (1 << 15)) >> 1
    product = trunc_div(gate * scaled, 1 << 15)  # no rounding
    return out.fit(wrap(divide_by_pot(product, -e_out) + out.zero_point, 16))


def table8(function: Callable[[np.float32], float | np.floating], x: Q, out: Q) -> list[int]:
    """256 entries, lowest code first: ``function`` of the real value in float32, then rounded."""
    inverse = f32(1) / f32(out.scale)
    entries = []
    for code in range(x.low, x.high + 1):
        real = f32(x.scale) * f32(code - x.zero_point)
        entries.append(out.fit(round_away(f32(f32(function(real)) * inverse)) + out.zero_point))
    return entries


def gelu(x: np.float32) -> np.float32:
    """x * Phi(x); erf of the float32 product, as float32."""
    erf = f32(math.erf(float(x * f32(math.sqrt(0.5)))))
    return f32(f32(f32(0.5) * x) * f32(f32(1) + erf))


def gelu_tanh(x: np.float32) -> np.float32:
    cube = f32(f32(f32(f32(0.044715) * x) * x) * x)
    inner = f32(f32(math.sqrt(2 / math.pi)) * f32(x + cube))
    return f32(f32(f32(0.5) * x) * f32(f32(1) + f32(math.tanh(float(inner)))))
