"""A function symmetric about a point, from a table for one side, by linear interpolation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.jit import jit
from simulator.program.commands import Vector


class _Interpolation(NamedTuple):
    """The scaled input's ``fraction_bits`` interpolate between entries; at the last entry and beyond the
    function is ``saturated``. The side decides which offset comes before the shift out."""

    multiplier: int
    shift: int
    fraction_bits: int
    saturated: int
    offset_positive: int
    offset_negative: int
    shift_out: int


@jit
def _interpolate(x, table, by, out):
    """Element-wise; flat."""
    half = (1 << by.shift) >> 1
    for i in range(x.size):
        scaled = (np.int64(x[i]) * by.multiplier + half) >> by.shift  # < 2**32
        magnitude = abs(scaled)
        index = magnitude >> by.fraction_bits
        value = np.int64(by.saturated)
        if index < table.size - 1:
            low = np.int64(table[index])
            fraction = magnitude & ((1 << by.fraction_bits) - 1)
            value = (low << by.fraction_bits) + fraction * (np.int64(table[index + 1]) - low)
        value = by.offset_positive + value if scaled >= 0 else by.offset_negative - value
        out[i] = value >> by.shift_out


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    by = _Interpolation(*(command.parameter(name) for name in _Interpolation._fields))
    _interpolate(inputs[0].reshape(-1), inputs[1][0], by, out.reshape(-1))
