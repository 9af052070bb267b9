"""Convolution of float32 numbers in ONNX Runtime's order of sums; the host's."""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.fused import fused_multiply_add
from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    nest, weights = command.nest, inputs[1][0]
    x = inputs[0].reshape(-1, nest.in_h, nest.in_w, nest.k)
    bottom = max((nest.out_h - 1) * nest.stride_h + nest.kernel_h - nest.pad_top - nest.in_h, 0)
    right = max((nest.out_w - 1) * nest.stride_w + nest.kernel_w - nest.pad_left - nest.in_w, 0)
    padded = np.pad(x, ((0, 0), (nest.pad_top, bottom), (nest.pad_left, right), (0, 0)))
    for sample in range(x.shape[0]):
        total = np.zeros((nest.out_h, nest.out_w, nest.n), np.float32)
        for c, ky, kx in np.ndindex(nest.k, nest.kernel_h, nest.kernel_w):
            rows = slice(ky, ky + (nest.out_h - 1) * nest.stride_h + 1, nest.stride_h)
            cols = slice(kx, kx + (nest.out_w - 1) * nest.stride_w + 1, nest.stride_w)
            taps = padded[sample, rows, cols, c, np.newaxis]
            total = fused_multiply_add(taps, weights[:, ky, kx, c], total)
        out.reshape(-1, *total.shape)[sample] = total
