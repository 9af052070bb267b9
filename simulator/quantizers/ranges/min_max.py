"""From the least to the largest value: nothing is clipped."""

from __future__ import annotations

import numpy as np

SUMMARY = "least and largest value"


def limits(values: np.ndarray, bits: int, symmetric: bool) -> tuple[float, float]:
    low, high = values.min(), values.max()
    largest = max(-low, high)
    return (-largest, largest) if symmetric else (low, high)
