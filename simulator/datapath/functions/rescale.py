"""Codes to another scale and zero point."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._common import Scaling, code_of, kind_at, rounding_of
from simulator.fixedpoint.rescale import rescaled
from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _rescale(x, scaling, rounding, code, out):
    """Element-wise; flat."""
    for i in range(x.size):
        value = rescaled(
            kind_at(rounding, i), np.int64(x[i]) - scaling.zero_point, scaling.multiplier,
            scaling.shift,
        )  # fmt: skip
        out[i] = min(max(value + code.zero_point, code.clamp_min), code.clamp_max)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    scaling = Scaling(
        command.parameter("zero_point_in"), command.parameter("multiplier"),
        command.parameter("shift"),
    )  # fmt: skip
    _rescale(
        inputs[0].reshape(-1), scaling, rounding_of(command), code_of(command), out.reshape(-1)
    )
