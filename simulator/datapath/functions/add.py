"""Sum of two tensors, each operand brought to a common scale first; SUB takes it with the other sign."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._common import (
    broadcast,
    code_of,
    kind_at,
    pairwise,
    rounding_of,
    scaling_of,
)
from simulator.fixedpoint.requantize import DOUBLE_ROUNDING, double_rounding
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


@jit
def _sum_double_rounding(a, b, operands, left_shift, sign, scaling, code, out):
    """The same where all three round twice: a loop of one kind alone, which vectorises."""
    first, second = operands
    for i in range(a.size):
        x = double_rounding(
            (np.int64(a[i]) - first.zero_point) << left_shift, first.multiplier, first.shift
        )
        y = double_rounding(
            (np.int64(b[i]) - second.zero_point) << left_shift, second.multiplier, second.shift
        )
        value = double_rounding(x + sign * y, scaling.multiplier, scaling.shift)
        out[i] = min(max(value + code.zero_point, code.clamp_min), code.clamp_max)


def run_sum(command: Vector, inputs: list[np.ndarray], out: np.ndarray, sign: int) -> None:
    """The first operand plus ``sign`` times the second."""
    a, b = broadcast(inputs[0], out), broadcast(inputs[1], out)
    operands = scaling_of(command, "_1"), scaling_of(command, "_2")
    left, kind_out = command.parameter("left_shift"), command.parameter("kind_out")
    rounding, scaling, code = rounding_of(command), scaling_of(command, "_out"), code_of(command)

    def compute(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        if {rounding.kind, rounding.kind_rest, kind_out} == {DOUBLE_ROUNDING}:
            _sum_double_rounding(a, b, operands, left, sign, scaling, code, out)
        else:
            output = sign, kind_out, scaling
            _sum(a, b, operands, left, rounding, output, code, out)

    if rounding.kind == rounding.kind_rest:
        pairwise(compute, ("sum", sign, command.parameters), a, b, out.reshape(-1))
    else:
        compute(a, b, out.reshape(-1))


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    run_sum(command, inputs, out, 1)
