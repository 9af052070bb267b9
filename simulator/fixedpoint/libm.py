"""Functions of the C library in float32, where a runtime calls them to fill tables."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def nearest(function: Callable[[float], float], x: np.float32) -> np.float32:
    """The float32 nearest to ``function``'s value in double; infinite where that overflows.

    Correctly rounded but for values within 2**-29 of halfway, which is what the best C libraries do
    (glibc's expf always, its tanhf from 2.41 on); older ones are a unit off now and then.
    """
    try:
        value = function(float(x))
    except OverflowError:
        value = math.inf
    with np.errstate(over="ignore", under="ignore"):
        return np.float32(value)
