"""Symmetric uniform levels by stochastic rounding (Gholami et al., III-H): up with the probability of what
is left over, seeded, so that the mean of many roundings is the value itself."""

from __future__ import annotations

import numpy as np

from simulator.coding import Coding
from simulator.quantizers._form import Quantized, Setting, quantized, rows_of
from simulator.quantizers._scales import ruled
from simulator.quantizers.ranges import largest_of

SUMMARY = "uniform, rounded up or down at random"
BITS = (2, 8)


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    most = (1 << (setting.bits - 1)) - 1
    rows = rows_of(values, setting.axis)
    highs = largest_of(setting.limits, rows, setting.bits)
    scales = ruled(highs / most, setting.scale)
    exact = rows / scales[:, None].astype(np.float64)
    down = np.floor(exact)
    up = np.random.default_rng(setting.seed).random(exact.shape) < exact - down
    codes = np.clip(down + up, -most, most)
    return quantized(codes, values, setting.axis, scales, Coding(setting.bits))
