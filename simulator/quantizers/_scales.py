"""What a scale may be."""

from __future__ import annotations

import numpy as np

_DYADIC_BITS = 8
# A channel of nothing but 0s: any scale will do, and this one is harmless wherever scales meet.
_OF_NOTHING = 2.0**-20


def as_float(scales: np.ndarray) -> np.ndarray:
    """the nearest float32"""
    return scales


def as_power_of_two(scales: np.ndarray) -> np.ndarray:
    """2**rint(log2(scale))"""
    return np.exp2(np.rint(np.log2(scales)))


def as_dyadic(scales: np.ndarray) -> np.ndarray:
    """the nearest m / 2**c with an m of 8 bits"""
    mantissa, exponent = np.frexp(scales)
    return np.ldexp(np.rint(mantissa * (1 << _DYADIC_BITS)), exponent - _DYADIC_BITS)


RULES = {"float": as_float, "power_of_two": as_power_of_two, "dyadic": as_dyadic}


def ruled(scales: np.ndarray, rule: str) -> np.ndarray:
    """``scales`` as ``rule`` allows them, float32; 0 becomes one for nothing but 0s."""
    whole = np.where(scales > 0, scales, _OF_NOTHING)
    return np.maximum(RULES[rule](whole), 2.0**-100).astype(np.float32)
