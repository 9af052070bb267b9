"""Softmax of rows of 8-bit codes through a table of float32 exponentials."""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint import float32
from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _softmax(x, table, scale, cut, out):
    """(rows, depth), each row on its own; ``scale`` a pair of ``fixedpoint.float32``.

    ``cut``: a code is rounded by adding 1/2 and truncating, else half away from 0.
    """
    low, high = np.int64(cut[1]), np.int64(cut[2])
    for r in range(x.shape[0]):
        largest = np.int64(x[r, 0])
        for c in range(x.shape[1]):
            largest = max(largest, np.int64(x[r, c]))
        m, e = np.int64(0), np.int64(0)
        for c in range(x.shape[1]):
            m2, e2 = float32.pair_of_bits(table[largest - np.int64(x[r, c])])
            m, e = float32.add(m, e, m2, e2)
        m, e = float32.multiply(m, e, scale[0], scale[1])
        m, e = float32.reciprocal(m, e)
        for c in range(x.shape[1]):
            m2, e2 = float32.pair_of_bits(table[largest - np.int64(x[r, c])])
            m2, e2 = float32.multiply(m2, e2, m, e)
            if cut[0] == 1:
                m2, e2 = float32.add(m2, e2, np.int64(1), np.int64(-1))
                code = float32.truncate(m2, e2)
            else:
                code = float32.round_away(m2, e2)
            out[r, c] = min(code + low, high)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    depth = command.nest.n
    scale = (
        np.int64(command.parameter("scale_mantissa")), np.int64(command.parameter("scale_exponent"))
    )  # fmt: skip
    rounding = (
        int(out.dtype == np.uint8),
        command.parameter("minimum"),
        command.parameter("maximum"),
    )
    table = inputs[1][0].astype(np.int64)  # a constant: the same for every sample
    _softmax(inputs[0].reshape(-1, depth), table, scale, rounding, out.reshape(-1, depth))
