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


@jit
def _look_up(x, table, out):
    """``x`` and ``table`` of unsigned bytes; flat."""
    for i in range(x.size):
        out[i] = table[x[i]]


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    scaling = Scaling(
        command.parameter("zero_point_in"), command.parameter("multiplier"),
        command.parameter("shift"),
    )  # fmt: skip
    x, rounding, code = inputs[0].reshape(-1), rounding_of(command), code_of(command)
    if x.itemsize > 1 or rounding.kind != rounding.kind_rest:
        _rescale(x, scaling, rounding, code, out.reshape(-1))
        return
    # Every code once; each element then is looked up.
    every, table = np.arange(256, dtype=np.uint8), np.zeros(256, out.dtype)
    _rescale(every.view(x.dtype), scaling, rounding, code, table)
    _look_up(x.view(np.uint8), table, out.reshape(-1))
