"""What quantizers to a table of levels share: a scale per row, and the nearest level."""

from __future__ import annotations

import numpy as np

from simulator.coding import Coding, table_coding
from simulator.quantizers._form import Quantized, Setting, nearest, quantized, rows_of
from simulator.quantizers._scales import ruled
from simulator.quantizers.ranges import limits

_PARTS = np.linspace(1.0, 0.3, 71)


def to_levels(
    values: np.ndarray, setting: Setting, levels: np.ndarray, coding: Coding
) -> Quantized:
    """Each value to the nearest of ascending integer ``levels``, of which the largest stands for the limit.

    The rule ``mse`` looks for the limit with these levels; others have one of their own.
    """
    scales = scales_of(values, setting, levels)
    rows = rows_of(values, setting.axis) / scales[:, None].astype(np.float64)
    codes = levels[nearest(rows, levels)]
    return quantized(codes, values, setting.axis, scales, coding)


def scales_of(values: np.ndarray, setting: Setting, levels: np.ndarray) -> np.ndarray:
    """A float32 scale for each row, by the setting's rule for limits."""
    rows = rows_of(values, setting.axis)
    return np.array([_scale(row, setting, levels) for row in rows], np.float32)


def _scale(row: np.ndarray, setting: Setting, levels: np.ndarray) -> np.float32:
    largest = levels[-1]
    if setting.limits != "mse":
        high = limits(setting.limits, row, setting.bits, True)[1]
        return ruled(np.array([high / largest]), setting.scale)[0]
    tried = ruled(_PARTS * np.abs(row).max() / largest, setting.scale)
    return min(tried, key=lambda s: _error(row, s, levels))


def _error(row: np.ndarray, scale: np.float32, levels: np.ndarray) -> float:
    step = float(scale)
    return float(((levels[nearest(row / step, levels)] * step - row) ** 2).sum())


def from_table(
    values: np.ndarray, axis: int | None, sizes: np.ndarray, reals: np.ndarray, rule: str
) -> Quantized:
    """Each value to the nearest of a table of ``reals``, given for rows divided by their ``sizes``.

    The table is rounded to levels of 8 bits, the largest of them 127 in size.
    """
    largest = float(np.abs(reals).max())
    unit = largest / 127 if largest > 0 else 1.0
    levels = np.unique(np.rint(reals / unit).astype(np.int64))
    rows = rows_of(values, axis)
    scales = ruled(sizes * unit, rule)
    codes = levels[nearest(rows / scales[:, None].astype(np.float64), levels)]
    return quantized(codes, values, axis, scales, table_coding(levels[:, None]))


def row_sizes(values: np.ndarray, axis: int | None) -> np.ndarray:
    """The largest value of each row; 1 for rows of 0s."""
    largest = np.abs(rows_of(values, axis)).max(axis=1)
    return np.where(largest > 0, largest, 1.0)
