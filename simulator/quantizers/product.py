"""Product quantization (Gholami et al., IV-F): a codebook of vectors, each of ``vector`` neighbours along
the last axis, by k-means from a seeded k-means++ start; the centroids become levels of 8 bits."""

from __future__ import annotations

import numpy as np

from simulator.coding import table_coding
from simulator.errors import UsageError
from simulator.quantizers._form import Quantized, Setting, quantized, rows_of
from simulator.quantizers._scales import ruled
from simulator.quantizers._tables import row_sizes

SUMMARY = "a codebook of 2**bits vectors of neighbouring weights by k-means"
BITS = (1, 8)
_ITERATIONS = 40
_AT_ONCE = 1 << 22  # distances


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    if values.shape[-1] % setting.vector:
        allowed = f"a multiple of {setting.vector}"
        raise UsageError("quantizer product", f"last axis of {values.shape[-1]}", allowed)
    sizes = row_sizes(values, setting.axis)
    vectors = (rows_of(values, setting.axis) / sizes[:, None]).reshape(-1, setting.vector)
    centres = _centroids(vectors, 1 << setting.bits, np.random.default_rng(setting.seed))
    largest = float(np.abs(centres).max())
    unit = largest / 127 if largest > 0 else 1.0
    table = np.unique(np.rint(centres / unit).astype(np.int64), axis=0)
    scales = ruled(sizes * unit, setting.scale)
    exact = rows_of(values, setting.axis) / scales[:, None].astype(np.float64)
    levels = table[_nearest(exact.reshape(-1, setting.vector), table.astype(np.float64))]
    coding = table_coding(table)
    return quantized(levels, values, setting.axis, scales, coding)


def _centroids(vectors: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    distinct = np.unique(vectors, axis=0)
    if distinct.shape[0] <= count:
        return distinct
    centres = [vectors[random.integers(vectors.shape[0])]]
    distance = ((vectors - centres[0]) ** 2).sum(axis=1)
    while len(centres) < count:
        total = distance.sum()
        chosen = random.choice(vectors.shape[0], p=distance / total) if total > 0 else 0
        centres.append(vectors[chosen])
        distance = np.minimum(distance, ((vectors - centres[-1]) ** 2).sum(axis=1))
    found = np.array(centres)
    for _ in range(_ITERATIONS):
        place = _nearest(vectors, found)
        counts = np.bincount(place, minlength=count)
        sums = np.stack([np.bincount(place, column, count) for column in vectors.T], axis=1)
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], found)
        if np.array_equal(moved, found):
            break
        found = moved
    return found


def _nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Index of the nearest centre of each vector; of equally near ones the first."""
    norms = (centres**2).sum(axis=1)
    step = max(1, _AT_ONCE // centres.shape[0])
    parts = [
        (norms - 2 * vectors[i : i + step] @ centres.T).argmin(axis=1)
        for i in range(0, vectors.shape[0], step)
    ]
    return np.concatenate(parts)
