"""Softmax of rows, in gemmlowp's fixed point."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._common import OutputCode, Scaling
from simulator.fixedpoint.requantize import doubling_high_mul, rounding_divide_by_pot
from simulator.fixedpoint.softmax import exp_on_negative, leading_zeros, one_over_one_plus
from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _softmax(x, scaling, smallest, exponent, code, out):
    """(rows, depth), each row on its own; a code is ``exponent`` bits below the products."""
    for r in range(x.shape[0]):
        largest = np.int64(x[r, 0])
        for c in range(x.shape[1]):
            largest = max(largest, np.int64(x[r, c]))
        total = np.int64(0)
        for c in range(x.shape[1]):
            difference = np.int64(x[r, c]) - largest
            if difference >= smallest:
                scaled = doubling_high_mul(difference << scaling.shift, scaling.multiplier)
                total += rounding_divide_by_pot(exp_on_negative(scaled), 12)
        headroom = leading_zeros(total)
        reciprocal = one_over_one_plus((total << headroom) - (1 << 31))
        for c in range(x.shape[1]):
            difference = np.int64(x[r, c]) - largest
            value = np.int64(0)
            if difference >= smallest:
                scaled = doubling_high_mul(difference << scaling.shift, scaling.multiplier)
                value = rounding_divide_by_pot(
                    doubling_high_mul(reciprocal, exp_on_negative(scaled)), exponent - headroom
                )
            value += code.zero_point
            out[r, c] = min(max(value, code.clamp_min), code.clamp_max)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    scaling = Scaling(0, command.parameter("multiplier"), command.parameter("shift"))
    low, high = command.parameter("minimum"), command.parameter("maximum")
    depth = command.nest.n
    _softmax(
        inputs[0].reshape(-1, depth), scaling, command.parameter("smallest"),
        43 - 8 * out.itemsize, OutputCode(low, low, high), out.reshape(-1, depth),
    )  # fmt: skip
