"""The clipping that loses the least information: the Kullback-Leibler divergence between the histogram and
what ``bits`` leave of it (Migacz, 8-bit inference with TensorRT, GTC 2017)."""

from __future__ import annotations

import numpy as np

SUMMARY = "least Kullback-Leibler divergence between histograms of 2,048 bins"
_BINS = 2048
_STEP = 16  # bins between the first ends that are tried; then those around the best


def limits(values: np.ndarray, bits: int, symmetric: bool) -> tuple[float, float]:
    """Of the sizes of values: what is clipped is clipped at the same distance from 0 on both sides."""
    sizes = np.abs(values)
    if sizes.max() == 0:
        return 0.0, 0.0
    counts, edges = np.histogram(sizes, _BINS, (0.0, sizes.max()))
    # Codes for the sizes alone: half of them where values have both signs.
    both = symmetric or values.min() < 0 < values.max()
    levels = 1 << (bits - 1 if both else bits)
    if levels >= _BINS:
        threshold = sizes.max()
    else:
        first = max(levels, 2)
        coarse = _least(counts, levels, range(first, _BINS + 1, _STEP))
        around = range(max(first, coarse - _STEP), min(coarse + _STEP, _BINS) + 1)
        threshold = edges[_least(counts, levels, around)]
    if symmetric:
        return -threshold, threshold
    return max(values.min(), -threshold), min(values.max(), threshold)


def _least(counts: np.ndarray, levels: int, ends: range) -> int:
    """Of equally good ends the last, which clips least."""
    return min(ends, key=lambda end: (_divergence(counts, end, levels), -end))


def _divergence(counts: np.ndarray, end: int, levels: int) -> float:
    """Of the first ``end`` bins, the clipped mass in the last of them, from their ``levels`` means."""
    kept = counts[:end].astype(np.float64)
    place = np.arange(end) * levels // end
    filled = kept > 0
    sums = np.bincount(place, kept, levels)
    cells = np.bincount(place, filled, levels)
    q = np.where(filled, (sums / np.maximum(cells, 1))[place], 0.0)
    p = kept
    p[-1] += counts[end:].sum()
    there = p > 0
    # Mass in a bin that had none before it was clipped there: what q lacks costs as the smallest number.
    q = np.where(there & (q == 0), 1e-4, q)
    p, q = p / p.sum(), q / q.sum()
    return float((p[there] * np.log(p[there] / q[there])).sum())
