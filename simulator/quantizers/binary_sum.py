"""Sums of binaries (LQ-Nets, Zhang et al., arXiv 1807.10029; also ABC-Net and HORQ): ``sum(v_i * b_i)``
with ``b_i`` -1 or +1, by alternating which sum is nearest with least squares of the ``v_i``. Each ``b_i``
is a plane of bits that an array takes on its own."""

from __future__ import annotations

import numpy as np

from simulator.coding import table_coding
from simulator.quantizers._form import Quantized, Setting, nearest, quantized, rows_of
from simulator.quantizers._scales import ruled
from simulator.quantizers._tables import row_sizes

SUMMARY = "sums of as many signed values as bits"
BITS = (1, 4)
_ITERATIONS = 50


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    sizes = row_sizes(values, setting.axis)
    rows = rows_of(values, setting.axis) / sizes[:, None]
    basis = basis_of(rows.reshape(-1), setting.bits)
    unit = float(np.abs(basis).sum()) / 127 or 1.0
    whole = np.floor(np.abs(basis) / unit + 0.5).astype(np.int64)
    while whole.sum() > 127:
        whole[whole.argmax()] -= 1
    levels = np.unique(signs(setting.bits) @ whole)
    scales = ruled(sizes * unit, setting.scale)
    exact = rows_of(values, setting.axis) / scales[:, None].astype(np.float64)
    coding = table_coding(levels[:, None])
    return quantized(levels[nearest(exact, levels)], values, setting.axis, scales, coding)


def signs(bits: int) -> np.ndarray:
    """(2**bits, bits): all ways to choose signs."""
    return 2 * (np.arange(1 << bits)[:, None] >> np.arange(bits) & 1) - 1


def basis_of(values: np.ndarray, bits: int) -> np.ndarray:
    """``v``, (bits,), from a start of a half, a quarter and so on of twice the mean size."""
    every = signs(bits)
    basis = np.abs(values).mean() * 2.0 ** -np.arange(bits)
    best, found = np.inf, basis
    for _ in range(_ITERATIONS):
        sums = every @ basis
        order = np.argsort(sums, kind="stable")
        chosen = order[nearest(values, sums[order])]
        error = float(((sums[chosen] - values) ** 2).sum())
        if error >= best:
            break
        best, found = error, basis
        picked = every[chosen].astype(np.float64)
        basis = np.linalg.lstsq(picked.T @ picked, picked.T @ values, rcond=None)[0]
    return found
