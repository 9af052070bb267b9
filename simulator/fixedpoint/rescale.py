"""Requantization as element-wise operators do it: the kinds of ``requantize``, and one more."""

from __future__ import annotations

from simulator.fixedpoint.requantize import KINDS, doubling_high_mul, requantize
from simulator.fixedpoint.width import Integer
from simulator.jit import jit

DOUBLE_ROUNDING_DOWN = -1
RESCALE_KINDS = {**KINDS, "double_rounding_down": DOUBLE_ROUNDING_DOWN}


@jit
def double_rounding_down(value: Integer, multiplier: int, shift: int) -> Integer:
    """The product rounded ties up, then shifted right without rounding; value int32, shift -31 .. 0.

    What an ADD of TensorFlow Lite's optimised kernels does to its operands (``vshlq_s32`` with a negative
    shift in ``optimized_ops.h``), where the reference rounds twice.
    """
    return doubling_high_mul(value, multiplier) >> -shift


@jit
def rescaled(kind: int, value: Integer, multiplier: int, shift: int) -> Integer:
    """``value`` by a requantizer of :data:`RESCALE_KINDS`."""
    if kind == DOUBLE_ROUNDING_DOWN:
        return double_rounding_down(value, multiplier, shift)
    return requantize(kind, value, multiplier, shift)
