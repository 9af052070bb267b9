"""A codebook of the values' own (Gholami et al., III-F): k-means by Lloyd's iterations, of rows divided by
their largest value; the centroids become levels of 8 bits."""

from __future__ import annotations

import numpy as np

from simulator.quantizers._form import Quantized, Setting, nearest, rows_of
from simulator.quantizers._tables import from_table, row_sizes

SUMMARY = "a codebook of 2**bits levels by k-means"
BITS = (1, 6)
_ITERATIONS = 100


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    sizes = row_sizes(values, setting.axis)
    rows = rows_of(values, setting.axis) / sizes[:, None]
    reals = centroids(np.sort(rows.reshape(-1)), 1 << setting.bits)
    return from_table(values, setting.axis, sizes, reals, setting.scale)


def centroids(ordered: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` ascending centroids of ascending values.

    The better of two starts: as many values to each, and even steps.
    """
    distinct = np.unique(ordered)
    if distinct.size <= count:
        return distinct
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    places = (np.arange(count) + 0.5) / count
    starts = (np.quantile(ordered, places), ordered[0] + places * (ordered[-1] - ordered[0]))
    found = [_lloyd(ordered, sums, np.unique(start)) for start in starts]
    return min(found, key=lambda c: float(((c[nearest(ordered, c)] - ordered) ** 2).sum()))


def _lloyd(ordered: np.ndarray, sums: np.ndarray, centres: np.ndarray) -> np.ndarray:
    for _ in range(_ITERATIONS):
        bounds = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2, side="right")
        ends = np.concatenate([[0], bounds, [ordered.size]])
        counts = np.diff(ends)
        moved = np.where(counts > 0, np.diff(sums[ends]) / np.maximum(counts, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = np.unique(moved)
    return centres
