"""Softmax of rows of 16-bit codes through two tables of 513 entries, interpolated."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._common import Scaling
from simulator.fixedpoint.requantize import double_rounding
from simulator.fixedpoint.softmax import leading_zeros
from simulator.jit import jit
from simulator.program.commands import Vector

_ENTRIES = 513


@jit
def _interpolate(table, code):
    """A 16-bit code's value: 9 bits choose the entry, 7 lie between it and the next."""
    place = 256 + (code >> 7)
    slope = table[place + 1] - table[place]
    return table[place] + ((slope * (code & 127) + 64) >> 7)


@jit
def _exponential(difference, scaling, table):
    scaled = double_rounding(difference, scaling.multiplier, scaling.shift) + 32767
    return _interpolate(table, min(max(scaled, -32768), 32767))


@jit
def _softmax(x, scaling, exps, reciprocals, out):
    """(rows, depth), each row on its own."""
    for r in range(x.shape[0]):
        largest = np.int64(x[r, 0])
        for c in range(x.shape[1]):
            largest = max(largest, np.int64(x[r, c]))
        total = np.int64(0)  # Q16.15
        for c in range(x.shape[1]):
            total += _exponential(np.int64(x[r, c]) - largest, scaling, exps)
        headroom = leading_zeros(total)
        # The sum as 1 + x with x in [0, 1), then x as a 16-bit code.
        code = (((total << (headroom - 1)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16)
        reciprocal = _interpolate(reciprocals, min(max(code, -32768), 32767))
        right = 31 - headroom
        for c in range(x.shape[1]):
            share = _exponential(np.int64(x[r, c]) - largest, scaling, exps) * reciprocal
            out[r, c] = min(max((share + (1 << (right - 1))) >> right, 0), 32767)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    depth = command.nest.n
    scaling = Scaling(0, command.parameter("multiplier"), command.parameter("shift"))
    table = inputs[1][0].astype(np.int64)  # a constant: the same for every sample
    _softmax(
        inputs[0].reshape(-1, depth), scaling, table[:_ENTRIES], table[_ENTRIES:],
        out.reshape(-1, depth),
    )  # fmt: skip
