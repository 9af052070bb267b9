"""Mean over a window through float32 operations, each carried out in integers (``fixedpoint.float32``)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.datapath.functions._common import OutputCode, code_of
from simulator.fixedpoint import float32, float32_wide
from simulator.jit import jit
from simulator.program.commands import Vector


class _Numbers(NamedTuple):
    """The input's zero point, its scale and the output's, whether padding counts, and what is added to the
    output's codes and zero point for the time of the computation."""

    zero_point_in: int
    scale_mantissa: int
    scale_exponent: int
    divisor_mantissa: int
    divisor_exponent: int
    all_taps: int
    offset: int


@jit
def _pool(x, nest, by, code, out):
    """(samples, in_h, in_w, channels) -> (samples, out_h, out_w, channels)."""
    zero = np.int64(0)
    for s in range(x.shape[0]):
        for oy in range(nest.out_h):
            y0 = oy * nest.stride_h - nest.pad_top
            for ox in range(nest.out_w):
                x0 = ox * nest.stride_w - nest.pad_left
                for c in range(x.shape[3]):
                    m, e, taps = zero, zero, zero
                    for y in range(max(y0, 0), min(y0 + nest.kernel_h, nest.in_h)):
                        for xx in range(max(x0, 0), min(x0 + nest.kernel_w, nest.in_w)):
                            value = np.int64(x[s, y, xx, c]) - by.zero_point_in
                            m2, e2 = float32.multiply(
                                value, zero, by.scale_mantissa, by.scale_exponent
                            )
                            m, e = float32.add(m, e, m2, e2)
                            taps += 1
                    if by.all_taps == 1:
                        taps = np.int64(nest.kernel_h * nest.kernel_w)
                    m, e = float32_wide.divide(m, e, taps, zero)
                    m, e = float32_wide.divide(m, e, by.divisor_mantissa, by.divisor_exponent)
                    m, e = float32.add(m, e, code.zero_point + by.offset, zero)
                    value = float32.round_even(m, e) - by.offset
                    out[s, oy, ox, c] = min(max(value, code.clamp_min), code.clamp_max)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    nest = command.nest
    x = inputs[0].reshape(-1, nest.in_h, nest.in_w, nest.groups)
    by = _Numbers(*(np.int64(command.parameter(n)) for n in _Numbers._fields))  # type: ignore[arg-type]
    code = OutputCode(*(np.int64(v) for v in code_of(command)))  # type: ignore[arg-type]
    _pool(x, nest, by, code, out.reshape(-1, nest.out_h, nest.out_w, nest.groups))
