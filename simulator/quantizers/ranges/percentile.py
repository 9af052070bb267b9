"""Without the outermost values: the survey's percentile calibration (Gholami et al., III-C)."""

from __future__ import annotations

import numpy as np

SUMMARY = "99.99 % of the values; of both signs, of each half of it left out at either end"
_PERCENT = 99.99


def limits(values: np.ndarray, bits: int, symmetric: bool) -> tuple[float, float]:
    if symmetric:
        largest = np.percentile(np.abs(values), _PERCENT)
        return -largest, largest
    rest = (100 - _PERCENT) / 2
    low, high = np.percentile(values, [rest, 100 - rest])
    return low, high
