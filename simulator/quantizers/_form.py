"""What quantizers take and give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.coding import Coding


@dataclass(frozen=True)
class Setting:
    """How to quantize, as far as a quantizer can be told.

    ``axis``: one scale for each index of it (None: one for all). ``limits``: the rule for what is clipped,
    of ``quantizers.ranges``. ``scale``: what scales may be, of ``quantizers._scales.RULES``. ``group``:
    neighbours along the last axis with a factor of ``factor_bits`` of their own; ``vector``: neighbours
    that one code stands for. ``seed``: of what is drawn at random.
    """

    bits: int = 8
    axis: int | None = None
    limits: str = "min_max"
    scale: str = "float"
    group: int = 16
    factor_bits: int = 4
    vector: int = 4
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Quantized:
    """Values as ``scale * (level - zero_point)``; ``levels`` have their shape and are int8 or uint8.

    ``scales`` float32 and ``zero_points`` int64 have one entry, or one for each index of ``axis``.
    """

    levels: np.ndarray
    scales: np.ndarray
    zero_points: np.ndarray
    axis: int | None
    coding: Coding

    @property
    def real(self) -> np.ndarray:
        """What the levels stand for, in float64."""
        shape = [1] * self.levels.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        steps = self.levels.astype(np.float64) - self.zero_points.reshape(shape)
        return steps * self.scales.astype(np.float64).reshape(shape)


def rows_of(values: np.ndarray, axis: int | None) -> np.ndarray:
    """(scales, values of each) in float64."""
    if axis is None:
        return values.reshape(1, -1).astype(np.float64)
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).astype(np.float64)


def shaped(rows: np.ndarray, shape: tuple[int, ...], axis: int | None, dtype: type) -> np.ndarray:
    """The inverse of :func:`rows_of`."""
    if axis is None:
        return np.ascontiguousarray(rows.reshape(shape), dtype)
    moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
    return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, axis), dtype)


def quantized(
    levels: np.ndarray, values: np.ndarray, axis: int | None, scales: np.ndarray, coding: Coding,
    zero_points: np.ndarray | None = None,
) -> Quantized:  # fmt: skip
    """What ``values`` became, of ``levels`` in rows, one for each of ``scales``; zero points are 0 unless
    given."""
    points = np.zeros(scales.size) if zero_points is None else zero_points
    whole = shaped(levels, values.shape, axis, np.int8)
    return Quantized(whole, scales, points.astype(np.int64), axis, coding)


def nearest(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Index of the nearest of ascending ``levels``; of two equally near ones the lower."""
    bounds = (levels[1:] + levels[:-1]) / 2
    return np.searchsorted(bounds, values, side="left")
