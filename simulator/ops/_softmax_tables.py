"""Tables and scales of the softmaxes that look up their exponentials."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from simulator.fixedpoint.requantize import quantize_multiplier
from simulator.ops._common import round_half_away
from simulator.ops._expf import expf

_STEPS = 512
_ONE = 32768.0  # the 16-bit tables hold Q0.15
_REACH = 10.0  # the table of exp begins at exp(-10)


def exponentials(scale: float, beta: float) -> np.ndarray:
    """exp(-beta * scale * d) for differences d = 0 .. 255 to the maximum, as the C library's expf gives
    it for the float32 product: (256,) float32."""
    step = -np.float32(scale) * np.float32(beta)
    return np.array([expf(step * np.float32(d)) for d in range(256)], np.float32)


def _sampled(function: Callable[[float], float], low: float, high: float) -> np.ndarray:
    """``function`` on 512 steps of [low, high] as Q0.15: (513,) int32.

    Each sample is moved by half of the error that interpolation would make in the middle of its step.
    """
    step = (high - low) / _STEPS
    samples = []
    for i in range(_STEPS):
        here, following = function(low + i * step) * _ONE, function(low + (i + 1) * step) * _ONE
        middle = function(low + i * step + step / 2) * _ONE
        interpolated = round_half_away((following + round_half_away(here)) / 2)
        moved = round_half_away((interpolated - round_half_away(middle)) / 2)
        samples.append(round_half_away(here) - moved)
    samples.append(round_half_away(function(high) * _ONE))
    return np.clip(samples, -32768, 32767).astype(np.int32)


@cache
def interpolated() -> tuple[np.ndarray, np.ndarray]:
    """exp on [-10, 0] and 1 / (1 + x) on [0, 1]."""
    return _sampled(math.exp, -_REACH, 0.0), _sampled(lambda x: 1 / (1 + x), 0.0, 1.0)


def interpolated_scaling(scale: float, beta: float) -> tuple[int, int]:
    """Multiplier and shift that bring a difference of codes to 65535ths of the table's reach."""
    return quantize_multiplier(float(np.float32(scale) * np.float32(beta)) / (_REACH / 65535.0))
