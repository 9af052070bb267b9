"""Codes held between ``clamp_min`` and ``clamp_max``."""

from __future__ import annotations

import numpy as np

from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _clip(x, low, high, out):
    """Element-wise; flat."""
    for i in range(x.size):
        out[i] = min(max(np.int64(x[i]), low), high)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    low, high = command.parameter("clamp_min"), command.parameter("clamp_max")
    _clip(inputs[0].reshape(-1), low, high, out.reshape(-1))
