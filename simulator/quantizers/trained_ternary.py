"""Ternary weights with a size of their own on either side (TTQ, Zhu et al., arXiv 1612.01064): 0 where
``|w| <= 0.05 max|w|``, else the mean of the values on that side, from where training moves it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.quantizers._form import Quantized, Setting, rows_of, shaped
from simulator.quantizers._tables import from_table, row_sizes

SUMMARY = "0, and a level on either side"
BITS = (2, 2)
_PART = 0.05


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    """The threshold decides which level a value takes, not which one is nearest."""
    sizes = row_sizes(values, setting.axis)
    rows = rows_of(values, setting.axis) / sizes[:, None]
    sides = [rows[rows > _PART], rows[rows < -_PART]]
    reals = np.array([0.0, *(side.mean() for side in sides if side.size)])
    found = from_table(values, setting.axis, sizes, reals, setting.scale)
    levels = np.array([row[0] for row in found.coding.table])
    codes = np.where(rows > _PART, levels.max(), np.where(rows < -_PART, levels.min(), 0))
    return replace(found, levels=shaped(codes, values.shape, setting.axis, np.int8))
