"""The clipping that leaves the least squared error (Gholami et al., III-C; OMSE)."""

from __future__ import annotations

import numpy as np

SUMMARY = "of 100 parts of the whole range the one with the least squared error"
_PARTS = np.linspace(1.0, 0.01, 100)


def limits(values: np.ndarray, bits: int, symmetric: bool) -> tuple[float, float]:
    low, high = values.min(), values.max()
    if symmetric:
        high = max(-low, high)
        low = -high
    best, found = np.inf, (low, high)
    for part in _PARTS:
        error = squared_error(values, part * low, part * high, bits, symmetric)
        if error < best:
            best, found = error, (part * low, part * high)
    return found


def squared_error(values: np.ndarray, low: float, high: float, bits: int, symmetric: bool) -> float:
    """Sum of squared errors on the uniform grid of ``bits`` between ``low`` and ``high``, which holds 0."""
    if symmetric:
        steps = (1 << (bits - 1)) - 1 or 1
        scale = high / steps or 1.0
        codes = np.clip(np.rint(values / scale), -steps, steps)
    else:
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / ((1 << bits) - 1) or 1.0
        zero = np.rint(-low / scale)
        codes = np.clip(np.rint(values / scale) + zero, 0, (1 << bits) - 1) - zero
    return float(((codes * scale - values) ** 2).sum())
