"""Where along an axis the largest element is, or the smallest; of equal ones the first."""

from __future__ import annotations

import numpy as np

from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _arg_max(x, sign, out):
    """(outer, axis, inner) -> (outer, inner)."""
    for o in range(x.shape[0]):
        for i in range(x.shape[2]):
            place = 0
            for r in range(1, x.shape[1]):
                if np.int64(x[o, r, i]) * sign > np.int64(x[o, place, i]) * sign:
                    place = r
            out[o, i] = place


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    nest = command.nest
    x = inputs[0].reshape(-1, nest.kernel_w * nest.k, nest.groups)
    sign = -1 if command.parameter("smallest") else 1
    _arg_max(x, sign, out.reshape(-1, nest.groups))
