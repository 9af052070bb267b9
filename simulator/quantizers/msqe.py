"""Power-of-two scales of least mean squared quantization error (Bae et al., arXiv 2210.03671, after
QKeras, ``quantizers_po2.py``): alternating least squares, then a line search over exponents.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simulator.coding import Coding
from simulator.quantizers._form import Quantized, Setting, quantized, rows_of

SUMMARY = "uniform, with the power of two as scale that leaves the least squared error"
BITS = (2, 8)
_EPSILON = 1e-7  # of Keras
_ITERATIONS = 3
_REACH = 3  # exponents on either side of the first, in the line search
OUTLIER_SIGMAS = 2.0
_LEAST_EXPONENT = -100


class Solution(NamedTuple):
    """An exponent of 2 as scale, and the mean squared error that it leaves."""

    exponent: int
    error: float


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    """Without an outlier mask: what is rounded is then nearest to all values there are."""
    most = (1 << (setting.bits - 1)) - 1
    rows = rows_of(values, setting.axis)
    exponents = np.array([solve(row, setting.bits).exponent for row in rows])
    scales = np.exp2(exponents.astype(np.float64)).astype(np.float32)
    codes = np.clip(np.rint(rows / scales[:, None].astype(np.float64)), -most, most)
    return quantized(codes, values, setting.axis, scales, Coding(setting.bits))


def outlier_mask(values: np.ndarray) -> np.ndarray:
    """1 where a value lies within two standard deviations of 0, else 0."""
    return (np.abs(values) <= OUTLIER_SIGMAS * values.std()).astype(np.float64)


def solve(
    values: np.ndarray, bits: int, weights: np.ndarray | None = None, start: int | None = None
) -> Solution:
    """The exponent for ``values``, with a weight for each squared error.

    ``start``: the exponent of the step before; by default the one that clips nothing, rounded.
    """
    most = (1 << (bits - 1)) - 1
    m = np.ones(values.shape) if weights is None else weights
    if start is None:
        largest = float(np.abs(values).max())
        start = round(math.log2(largest / most)) if largest > 0 else _LEAST_EXPONENT
    best = _tried(values, m, most, start)
    exponent = start
    for _ in range(_ITERATIONS):
        codes = _codes(values, most, exponent)
        scale = float((m * codes * values).mean()) / (float((m * codes**2).mean()) + _EPSILON)
        exponent = max(round(math.log2(max(scale, 0.0) + _EPSILON)), _LEAST_EXPONENT)
        best = min(best, _tried(values, m, most, exponent), key=lambda s: s.error)
    entry = best.exponent  # offsets are from here, however the search goes
    for offset in (d for d in range(-_REACH, _REACH + 1) if d):
        best = min(best, _tried(values, m, most, entry + offset), key=lambda s: s.error)
    return best


def _codes(values: np.ndarray, most: int, exponent: int) -> np.ndarray:
    return np.clip(np.rint(np.ldexp(values, -exponent)), -most, most)


def _tried(values: np.ndarray, weights: np.ndarray, most: int, exponent: int) -> Solution:
    error = weights * (values - np.ldexp(_codes(values, most, exponent), exponent)) ** 2
    return Solution(exponent, float(error.mean()))
