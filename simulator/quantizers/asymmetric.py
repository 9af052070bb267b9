"""Asymmetric uniform levels (Gholami et al., III-C): ``s = (high - low) / (2**bits - 1)``, with the zero
point that makes 0 exact."""

from __future__ import annotations

import numpy as np

from simulator.coding import Coding
from simulator.quantizers._form import Quantized, Setting, quantized, rows_of
from simulator.quantizers._scales import ruled
from simulator.quantizers.ranges import limits

SUMMARY = "uniform, with a zero point"
BITS = (2, 8)


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    rows = rows_of(values, setting.axis)
    ends = np.array([limits(setting.limits, row, setting.bits, False) for row in rows])
    low, high = np.minimum(ends[:, 0], 0.0), np.maximum(ends[:, 1], 0.0)
    scales = ruled((high - low) / ((1 << setting.bits) - 1), setting.scale)
    steps = scales.astype(np.float64)
    least, most = -(1 << (setting.bits - 1)), (1 << (setting.bits - 1)) - 1
    points = np.clip(np.rint(least - low / steps), least, most)
    codes = np.clip(np.rint(rows / steps[:, None]) + points[:, None], least, most)
    return quantized(codes, values, setting.axis, scales, Coding(setting.bits), points)
