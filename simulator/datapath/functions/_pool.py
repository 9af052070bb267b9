"""What average and max pooling share."""

from __future__ import annotations

import numpy as np

from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _pool(x, nest, average, clamp_min, clamp_max, out):
    """(samples, in_h, in_w, channels) -> (samples, out_h, out_w, channels)."""
    for s in range(x.shape[0]):
        for oy in range(nest.out_h):
            y0 = max(oy * nest.stride_h - nest.pad_top, 0)
            y1 = min(oy * nest.stride_h - nest.pad_top + nest.kernel_h, nest.in_h)
            for ox in range(nest.out_w):
                x0 = max(ox * nest.stride_w - nest.pad_left, 0)
                x1 = min(ox * nest.stride_w - nest.pad_left + nest.kernel_w, nest.in_w)
                count = (y1 - y0) * (x1 - x0)
                for c in range(x.shape[3]):
                    total = np.int64(0)
                    largest = np.int64(clamp_min)
                    for y in range(y0, y1):
                        for xx in range(x0, x1):
                            total += np.int64(x[s, y, xx, c])
                            largest = max(largest, np.int64(x[s, y, xx, c]))
                    value = largest
                    if average:
                        # Ties away from zero; the reference's division truncates.
                        value = (abs(total) + count // 2) // count
                        if total < 0:
                            value = -value
                    out[s, oy, ox, c] = min(max(value, clamp_min), clamp_max)


def run_pool(command: Vector, inputs: list[np.ndarray], out: np.ndarray, average: bool) -> None:
    """Mean or maximum of each window."""
    nest = command.nest
    x = inputs[0].reshape(-1, nest.in_h, nest.in_w, nest.groups)
    low, high = command.parameter("clamp_min"), command.parameter("clamp_max")
    _pool(x, nest, average, low, high, out.reshape(-1, nest.out_h, nest.out_w, nest.groups))
