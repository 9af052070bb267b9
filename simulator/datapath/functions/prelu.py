"""One scale at and above zero, another below, there times a second operand if there is one."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._common import Scaling, broadcast, code_of
from simulator.fixedpoint.rescale import rescaled
from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _prelu(x, alpha, zero_points, kind, scalings, code, out):
    """Element-wise; flat; ``alpha`` may be a single element."""
    positive, negative = scalings
    step = 1 if alpha.size > 1 else 0
    for i in range(x.size):
        value = np.int64(x[i]) - zero_points[0]
        if value >= 0:
            value = rescaled(kind, value, positive.multiplier, positive.shift)
        else:
            slope = np.int64(alpha[i * step]) - zero_points[1]
            value = rescaled(kind, value * slope, negative.multiplier, negative.shift)
        out[i] = min(max(value + code.zero_point, code.clamp_min), code.clamp_max)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    one = command.parameter("zero_point_alpha") + np.ones(1, inputs[0].dtype)
    alpha = broadcast(inputs[1], out) if len(inputs) > 1 else one
    zero_points = command.parameter("zero_point_in"), command.parameter("zero_point_alpha")
    positive, negative = (
        Scaling(0, command.parameter(f"multiplier_{side}"), command.parameter(f"shift_{side}"))
        for side in ("positive", "negative")
    )
    _prelu(
        inputs[0].reshape(-1), alpha, zero_points, command.parameter("kind"), (positive, negative),
        code_of(command), out.reshape(-1),
    )  # fmt: skip
