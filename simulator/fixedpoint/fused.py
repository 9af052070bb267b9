"""The fused multiply-add, which numpy does not offer."""

from __future__ import annotations

import numpy as np


def fused_multiply_add(
    a: np.ndarray, b: np.ndarray | np.floating, c: np.ndarray | np.floating
) -> np.ndarray:
    """``a * b + c`` of float32 arrays, rounded once, as a processor's FMA does.

    The product is exact in float64. Where the sum is not, it is rounded to odd there, so that rounding it
    again to float32 equals rounding once (53 >= 2 * 24 + 2 bits).
    """
    product = a.astype(np.float64) * b.astype(np.float64)
    addend = c.astype(np.float64)
    total = product + addend
    part = total - product
    error = (product - (total - part)) + (addend - part)
    even = (total.view(np.int64) & 1) == 0
    nudged = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    inexact = np.isfinite(total) & (error != 0) & even
    return np.where(inexact, nudged, total).astype(np.float32)
