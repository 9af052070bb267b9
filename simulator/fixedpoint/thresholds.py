"""Requantization by comparison: how many of a channel's thresholds an accumulator reaches."""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.width import Integer
from simulator.jit import jit

THRESHOLDS = 100  # beside the codes of ``requantize.REQUANTIZERS``
NAME = "thresholds"


@jit
def reached(thresholds: np.ndarray, value: Integer) -> Integer:
    """Number of ascending ``thresholds`` that are at most ``value``, by halving."""
    low = 0
    high = thresholds.size
    while low < high:
        middle = (low + high) // 2
        if thresholds[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low
