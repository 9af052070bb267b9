"""Sum of two tensors, each operand brought to a common scale first; SUB takes it with the other sign."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._common import (
    broadcast,
    code_of,
    kind_at,
    rounding_of,
    scaling_of,
)
from simulator.fixedpoint.rescale import rescaled
from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _sum(a, b, operands, left_shift, rounding, output, code, out):
    """Element-wise; ``a``, ``b``, ``out`` are flat; ``output`` is (sign of b, kind, scaling)."""
    first, second = operands
    sign, kind_out, scaling = output
    for i in range(a.size):
        kind = kind_at(rounding, i)
        x = rescaled(
            kind, (np.int64(a[i]) - first.zero_point) << left_shift, first.multiplier, first.shift
        )
        y = rescaled(
            kind,
            (np.int64(b[i]) - second.zero_point) << left_shift,
            second.multiplier,
            second.shift,
        )
        value = rescaled(kind_out, x + sign * y, scaling.multiplier, scaling.shift)
        out[i] = min(max(value + code.zero_point, code.clamp_min), code.clamp_max)


def run_sum(command: Vector, inputs: list[np.ndarray], out: np.ndarray, sign: int) -> None:
    """The first operand plus ``sign`` times the second."""
    _sum(
        broadcast(inputs[0], out), broadcast(inputs[1], out),
        (scaling_of(command, "_1"), scaling_of(command, "_2")), command.parameter("left_shift"),
        rounding_of(command), (sign, command.parameter("kind_out"), scaling_of(command, "_out")),
        code_of(command), out.reshape(-1),
    )  # fmt: skip


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    run_sum(command, inputs, out, 1)
