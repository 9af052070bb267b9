"""Linear interpolation of float32 images (samples, batch, height, width, channels); the host's.

The second input has a row for each output row, then for each output column: the lower neighbour, the upper
one, and their weights as float32 words.
"""

from __future__ import annotations

import numpy as np

from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    image, table = inputs[0], inputs[1][0]
    rows, cols = table[: out.shape[2]], table[out.shape[2] :]
    weights_y = np.ascontiguousarray(rows[:, 2:]).view(np.float32)
    weights_x = np.ascontiguousarray(cols[:, 2:]).view(np.float32)
    total = None
    with np.errstate(
        invalid="ignore", over="ignore"
    ):  # an infinite neighbour of weight 0 makes a NaN
        for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            corner = image[:, :, rows[:, y]][:, :, :, cols[:, x]]
            weight = weights_x[np.newaxis, :, x] * weights_y[:, np.newaxis, y]
            part = weight[:, :, np.newaxis] * corner
            total = part if total is None else total + part
    out[...] = total
