"""int32 sums less a zero point times sums of weights: inputs (sums, sums of weights, zero point).

Sums of weights repeat along the leading dimensions where they have fewer elements. Wraps in 32 bits.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.width import wrap
from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _less(sums, weights, zero_points, out):
    """(samples, elements), (elements of weights,), (samples,)."""
    for s in range(sums.shape[0]):
        zero = np.int64(zero_points[s])
        for i in range(sums.shape[1]):
            value = np.int64(sums[s, i]) - zero * np.int64(weights[i % weights.size])
            out[s, i] = wrap(value, 32)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    samples = out.shape[0]
    _less(
        inputs[0].reshape(samples, -1), inputs[1][0].reshape(-1), inputs[2].reshape(-1),
        out.reshape(samples, -1),
    )  # fmt: skip
