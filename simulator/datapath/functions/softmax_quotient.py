"""Softmax of rows of 8-bit codes through a table of float32 exponentials, each quotient divided out.

Table entry 255 - d belongs to a difference of d to the row's maximum. All in integers
(``fixedpoint.float32``).
"""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._common import OutputCode, code_of
from simulator.fixedpoint import float32, float32_wide
from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _softmax(x, table, factor, code, out):
    """(rows, depth), each row on its own."""
    for r in range(x.shape[0]):
        largest = np.int64(x[r, 0])
        for c in range(x.shape[1]):
            largest = max(largest, np.int64(x[r, c]))
        m, e = np.int64(0), np.int64(0)
        for c in range(x.shape[1]):
            m2, e2 = float32.pair_of_bits(table[255 + np.int64(x[r, c]) - largest])
            m, e = float32.add(m, e, m2, e2)
        for c in range(x.shape[1]):
            m2, e2 = float32.pair_of_bits(table[255 + np.int64(x[r, c]) - largest])
            m2, e2 = float32.multiply(m2, e2, factor[0], factor[1])
            m2, e2 = float32_wide.divide(m2, e2, m, e)
            value = float32.round_even(m2, e2) + code.zero_point
            out[r, c] = min(max(value, code.clamp_min), code.clamp_max)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    depth = command.nest.n
    factor = tuple(np.int64(command.parameter(f"factor_{p}")) for p in ("mantissa", "exponent"))
    code = OutputCode(*(np.int64(v) for v in code_of(command)))  # type: ignore[arg-type]
    table = inputs[1][0].astype(np.int64)  # a constant: the same for every sample
    _softmax(inputs[0].reshape(-1, depth), table, factor, code, out.reshape(-1, depth))
