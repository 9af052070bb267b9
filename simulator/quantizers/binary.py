"""Binary weights (XNOR-Net and BWN; Gholami et al., IV-E): ``a * sign(w)`` with ``a = mean|w|``, which
leaves the least squared error of all ``a`` and signs."""

from __future__ import annotations

import numpy as np

from simulator.coding import table_coding
from simulator.quantizers._form import Quantized, Setting, quantized, rows_of
from simulator.quantizers._scales import ruled

SUMMARY = "-1 and +1"
BITS = (1, 1)


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    rows = rows_of(values, setting.axis)
    scales = ruled(np.abs(rows).mean(axis=1), setting.scale)
    signs = np.where(rows >= 0, 1, -1)
    return quantized(signs, values, setting.axis, scales, table_coding(np.array([[-1], [1]])))
