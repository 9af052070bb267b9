"""gemmlowp's fixed-point softmax, as TensorFlow Lite's reference SOFTMAX runs it on 8-bit codes.

``Qm.n`` is a fixed-point number with m integer and n fraction bits.
"""

from __future__ import annotations

import math

from simulator.fixedpoint import gemmlowp
from simulator.fixedpoint.requantize import quantize_multiplier
from simulator.fixedpoint.width import Integer
from simulator.jit import jit

_INPUT_INTEGER_BITS = 5  # the scaled difference to the maximum is Q5.26


def input_scaling(beta: float, scale: float) -> tuple[int, int, int]:
    """(multiplier, left shift, smallest difference) that bring code differences to Q5.26.

    Differences below the smallest contribute nothing: their exponential is below half an LSB.
    """
    real = min(beta * scale * 2.0 ** (31 - _INPUT_INTEGER_BITS), 2.0**31 - 1.0)
    # Halved, since quantize_multiplier ends at shift 30; that changes the shift alone.
    multiplier, shift = quantize_multiplier(real / 2)
    shift += 1
    radius = math.floor(31 * 2.0 ** (31 - _INPUT_INTEGER_BITS) / 2.0**shift)
    return multiplier, shift, -radius


@jit
def exp_on_negative(a: Integer) -> Integer:
    """exp(a) for a <= 0: Q5.26 to Q0.31."""
    return gemmlowp.exp_on_negative(a, _INPUT_INTEGER_BITS, 32)


@jit
def one_over_one_plus(a: Integer) -> Integer:
    """1 / (1 + a) for a in [0, 1): Q0.31 to Q0.31."""
    return gemmlowp.one_over_one_plus(a, 32)


@jit
def leading_zeros(value: Integer) -> int:
    """Leading zero bits of a positive 32-bit value."""
    count = 32
    while value > 0:
        value >>= 1
        count -= 1
    return count
