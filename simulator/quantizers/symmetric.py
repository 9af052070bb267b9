"""Symmetric uniform levels of restricted range (Gholami et al., III-C): ``clip(rint(w / s), -q, q)`` with
``q = 2**(bits - 1) - 1`` and no zero point."""

from __future__ import annotations

import numpy as np

from simulator.coding import Coding
from simulator.quantizers._form import Quantized, Setting, quantized, rows_of
from simulator.quantizers._tables import scales_of

SUMMARY = "uniform, from -(2**(bits - 1) - 1)"
BITS = (2, 8)


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    most = (1 << (setting.bits - 1)) - 1
    scales = scales_of(values, setting, np.arange(-most, most + 1))
    rows = rows_of(values, setting.axis) / scales[:, None].astype(np.float64)
    codes = np.clip(np.rint(rows), -most, most)
    return quantized(codes, values, setting.axis, scales, Coding(setting.bits))
