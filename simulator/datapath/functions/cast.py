"""Numbers to another type; the host's.

From float32: towards zero, saturated, NaN to the largest. From integers: the lower bits.
"""

from __future__ import annotations

import numpy as np

from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    (x,) = inputs
    if x.dtype.kind != "f" or out.dtype.kind == "f":
        out[...] = x.astype(out.dtype)
        return
    limits = np.iinfo(out.dtype)
    # In float64 both ends of every type but int64's upper are exact, and that one is 2**63 there: at or
    # above an end the answer is the end, and everything between converts.
    wide = x.astype(np.float64)
    high = ~(wide < float(limits.max))  # NaN too
    low = wide <= float(limits.min)
    out[...] = np.where(high | low, 0.0, wide).astype(out.dtype)
    out[high] = limits.max
    out[low] = limits.min
