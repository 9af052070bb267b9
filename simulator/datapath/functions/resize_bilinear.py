"""Images of another size, interpolated: a table says between which rows and columns, and the weights."""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint import float32, interpolation
from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _blend(form, top, bottom, y, x):
    """Four integer products and one rounding; ``top`` and ``bottom`` are (left, right) codes."""
    # At most 4 * 2**15 * 2**22 in magnitude.
    total = (top[0] * x[2] + top[1] * x[3]) * y[2] + (bottom[0] * x[2] + bottom[1] * x[3]) * y[3]
    if form == interpolation.Q11:
        return (total + (1 << 21)) >> 22
    size = (abs(total) + (1 << 19)) >> 20
    return size if total > 0 else -size


@jit
def _product(code, first, second):
    m, e = float32.multiply(code, np.int64(0), first[0], first[1])
    return float32.multiply(m, e, second[0], second[1])


@jit
def _blend_float32(form, top, bottom, y, x):
    """The same in float32: weights are the table's words, the order is the runtime's."""
    y0, y1 = float32.pair_of_bits(y[2]), float32.pair_of_bits(y[3])
    x0, x1 = float32.pair_of_bits(x[2]), float32.pair_of_bits(x[3])
    one = (np.int64(1), np.int64(0))
    if form == interpolation.FLOAT32_PRODUCTS:
        first = _product(top[0], float32.multiply(y0[0], y0[1], x0[0], x0[1]), one)
        second = _product(top[1], float32.multiply(y0[0], y0[1], x1[0], x1[1]), one)
        third = _product(bottom[0], float32.multiply(y1[0], y1[1], x0[0], x0[1]), one)
        fourth = _product(bottom[1], float32.multiply(y1[0], y1[1], x1[0], x1[1]), one)
    else:
        first = _product(top[0], y0, x0)
        second = _product(bottom[0], y1, x0)
        third = _product(top[1], y0, x1)
        fourth = _product(bottom[1], y1, x1)
    m, e = float32.add(first[0], first[1], second[0], second[1])
    m, e = float32.add(m, e, third[0], third[1])
    m, e = float32.add(m, e, fourth[0], fourth[1])
    m, e = float32.add(m, e, np.int64(1), np.int64(-1))
    return float32.truncate(m, e)


@jit
def _resize(x, form, table, out):
    """(samples, in_h, in_w, channels) -> (samples, out_h, out_w, channels).

    A row of ``table``: lower and upper neighbour, and their weights.
    """
    for s in range(x.shape[0]):
        for oy in range(out.shape[1]):
            row = table[oy]
            for ox in range(out.shape[2]):
                col = table[out.shape[1] + ox]
                for c in range(x.shape[3]):
                    top = (np.int64(x[s, row[0], col[0], c]), np.int64(x[s, row[0], col[1], c]))
                    bottom = (np.int64(x[s, row[1], col[0], c]), np.int64(x[s, row[1], col[1], c]))
                    if form == interpolation.Q10 or form == interpolation.Q11:
                        out[s, oy, ox, c] = _blend(form, top, bottom, row, col)
                    else:
                        out[s, oy, ox, c] = _blend_float32(form, top, bottom, row, col)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    table = inputs[1][0].astype(np.int64)  # a constant: the same for every sample
    x = inputs[0].reshape(-1, *inputs[0].shape[-3:])
    _resize(x, command.parameter("form"), table, out.reshape(-1, *out.shape[-3:]))
