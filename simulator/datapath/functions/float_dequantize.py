"""Codes to float32 numbers as DequantizeLinear makes them; the host's.

The second input is (2, scales): scales as float32 words, and zero points; one each, or several along an
axis with ``inner`` elements below.
"""

from __future__ import annotations

import numpy as np

from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    words, zero_points = inputs[1][0]
    scales = np.ascontiguousarray(words).view(np.float32)[:, np.newaxis]
    codes = inputs[0].astype(np.int64).reshape(-1, scales.size, command.parameter("inner"))
    numbers = (codes - zero_points[:, np.newaxis]).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        out[...] = (numbers * scales).reshape(out.shape)
