"""The least and the largest number of each row; a vector unit's with float32."""

from __future__ import annotations

import numpy as np

from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    samples, rows = out.shape[:2]
    x = inputs[0].reshape(samples, rows, -1)
    out[..., 0], out[..., 1] = x.min(axis=2), x.max(axis=2)
