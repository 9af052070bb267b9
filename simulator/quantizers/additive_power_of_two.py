"""Additive powers of two: a level is a sign and the sum of two powers of two or 0s, so that a PE shifts
twice and adds (Li et al., Additive Powers-of-Two Quantization, arXiv 1909.13144)."""

from __future__ import annotations

import numpy as np

from simulator.coding import table_coding
from simulator.quantizers._form import Quantized, Setting
from simulator.quantizers._tables import to_levels

SUMMARY = "0 and signed sums of two powers of two"
BITS = (3, 5)
# Sizes of levels as the authors' code has them (yhhhli/APoT_Quantization), times 4, 16 and 64.
_SIZES = {
    3: (0, 1, 2, 4),
    4: (0, 1, 2, 3, 4, 6, 8, 10),
    5: (0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48),
}


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    sizes = np.array(_SIZES[setting.bits])
    levels = np.concatenate([-sizes[:0:-1], sizes])
    return to_levels(values, setting, levels, table_coding(levels[:, None]))
