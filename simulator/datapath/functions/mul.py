"""Product of two tensors of codes, requantized once."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._common import Scaling, broadcast, code_of, pairwise
from simulator.fixedpoint.rescale import rescaled
from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _mul(a, b, zero_points, kind, scaling, code, out):
    """Element-wise; flat. Products of 16-bit codes stay within 2**32."""
    for i in range(a.size):
        product = (np.int64(a[i]) - zero_points[0]) * (np.int64(b[i]) - zero_points[1])
        value = rescaled(kind, product, scaling.multiplier, scaling.shift) + code.zero_point
        out[i] = min(max(value, code.clamp_min), code.clamp_max)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    zero_points = command.parameter("zero_point_1"), command.parameter("zero_point_2")
    scaling = Scaling(0, command.parameter("multiplier"), command.parameter("shift"))
    kind, code = command.parameter("kind"), code_of(command)

    def compute(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        _mul(a, b, zero_points, kind, scaling, code, out)

    a, b = broadcast(inputs[0], out), broadcast(inputs[1], out)
    pairwise(compute, ("mul", command.parameters), a, b, out.reshape(-1))
