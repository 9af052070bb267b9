"""Symmetric uniform levels of full range (Gholami et al., III-C): ``s = 2 max|w| / (2**bits - 1)``, levels
from ``-2**(bits - 1)``.

The survey rounds down, which shifts every value by half a step; here values round to the nearest level, and
what would be ``2**(bits - 1)`` is clipped.
"""

from __future__ import annotations

import numpy as np

from simulator.coding import Coding
from simulator.quantizers._form import Quantized, Setting, quantized, rows_of
from simulator.quantizers._scales import ruled
from simulator.quantizers.ranges import largest_of

SUMMARY = "uniform, from -2**(bits - 1): one level more"
BITS = (2, 8)


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    least = 1 << (setting.bits - 1)
    rows = rows_of(values, setting.axis)
    highs = largest_of(setting.limits, rows, setting.bits)
    scales = ruled(2 * highs / (2 * least - 1), setting.scale)
    codes = np.clip(np.rint(rows / scales[:, None].astype(np.float64)), -least, least - 1)
    return quantized(codes, values, setting.axis, scales, Coding(setting.bits))
