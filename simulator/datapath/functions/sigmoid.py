"""Logistic function or hyperbolic tangent of 16-bit codes in gemmlowp's fixed point: Q3.12 to Q0.15."""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.gemmlowp import logistic, tanh
from simulator.fixedpoint.width import saturate
from simulator.jit import jit
from simulator.program.commands import Vector

INTEGER_BITS = 3
_BITS = 16


@jit
def _sigmoid(x, is_tanh, left_shift, out):
    """Element-wise; flat."""
    for i in range(x.size):
        value = saturate(np.int64(x[i]) << left_shift, _BITS)
        if is_tanh:
            out[i] = tanh(value, INTEGER_BITS, _BITS)
        else:
            out[i] = logistic(value, INTEGER_BITS, _BITS)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    _sigmoid(
        inputs[0].reshape(-1), command.parameter("tanh") == 1, command.parameter("left_shift"),
        out.reshape(-1),
    )  # fmt: skip
