"""What a command counts while it runs, as numbers for kernels.

A sum overflows where an addition leaves the accumulator's range; its excess is how far outside. Of sums
that wrap, only the last one counts: what was lost on the way comes back. An output counts as overflowed
once, however often its sums did.
"""

from __future__ import annotations

import numpy as np

from simulator.jit import jit

# Places: MACs done; outputs overflowed, the first of them (its place in the whole ofmap, samples
# outermost), the largest excess; the smallest and largest sum within the array, and in the accumulator.
MACS, OVERFLOWS, FIRST, EXCESS, PSUM_LOW, PSUM_HIGH, SUM_LOW, SUM_HIGH = range(8)
NEVER = 1 << 62  # in place of a first overflow


def new_counts() -> np.ndarray:
    """(8,) int64 of nothing counted."""
    counts = np.zeros(8, np.int64)
    counts[FIRST] = NEVER
    return counts


@jit
def count_overflow(counts, element, excess):
    """One output's overflow."""
    counts[OVERFLOWS] += 1
    counts[FIRST] = min(counts[FIRST], element)
    counts[EXCESS] = max(counts[EXCESS], excess)


def width_of(low: int, high: int) -> int:
    """Bits of the narrowest signed integer that holds all from ``low`` to ``high``."""
    return max(int(high).bit_length(), (-int(low) - 1).bit_length() if low < 0 else 0) + 1
