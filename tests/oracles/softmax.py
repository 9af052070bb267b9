"""SOFTMAX of 8-bit codes to 8 or 16 bits by gemmlowp's 32-bit fixed point."""

from __future__ import annotations

import math
from collections.abc import Sequence

from oracles.elementwise import Q
from oracles.fixed import divide_by_pot, f32, high_mul, quantize_multiplier, saturate
from oracles.gemmlowp import FixedPoint

_Q31 = FixedPoint(32)


def softmax8(codes: Sequence[int], scale: float, beta: float, out: Q) -> list[int]:
    """One row; ``out`` is 1/256 from the lowest code (8 bits) or 1/65536 from the lowest (16 bits)."""
    real = min(float(f32(beta)) * scale * 2.0**26, 2.0**31 - 1)
    multiplier, left = quantize_multiplier(real)
    smallest = -math.floor(31 * 2.0**26 / 2.0**left)
    top = max(codes)
    exps = []
    for code in codes:
        if code - top < smallest:
            exps.append(None)
            continue
        x = high_mul((code - top) << left, multiplier)
        exps.append(_Q31.exp_on_negative(x, 5))
    total = sum(divide_by_pot(e, 12) for e in exps if e is not None)  # Q12.19
    zeros = 32 - total.bit_length()
    mantissa = (total << zeros) - (1 << 31)
    reciprocal = saturate(_Q31._newton(mantissa) << 1, 32)
    shift = 12 - zeros + 31 - out.bits
    return [
        out.low if e is None else out.fit(divide_by_pot(high_mul(reciprocal, e), shift) + out.low)
        for e in exps
    ]
