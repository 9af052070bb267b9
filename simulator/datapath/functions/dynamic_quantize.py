"""What DynamicQuantizeLinear makes of numbers; the host's, or a vector unit's with float32.

Inputs: the numbers or their extremes, for their scale; with the scale, for their zero point; the numbers
with both, for their codes.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint import mlas
from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    samples = out.shape[0]
    x, known = inputs[0].reshape(samples, -1), [v.reshape(samples) for v in inputs[1:]]
    made = out.reshape(samples, -1)
    low = np.minimum(x.min(axis=1), np.float32(0))
    high = np.maximum(x.max(axis=1), np.float32(0))
    for s in range(samples):
        if not known:
            made[s] = (high[s] - low[s]) / np.float32(255) if high[s] != low[s] else np.float32(1)
        elif len(known) == 1:
            made[s] = np.clip(np.rint(np.float32(0) - low[s] / known[0][s]), 0, 255)
        else:
            made[s] = mlas.quantized(x[s], float(known[0][s]), int(known[1][s]), 0, 255)
