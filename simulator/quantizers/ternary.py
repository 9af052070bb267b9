"""Ternary weights (TWN, Li et al., arXiv 1605.04711): 0 where ``|w| <= 0.7 mean|w|``, else ``a`` of its
sign with ``a`` the mean of those."""

from __future__ import annotations

import numpy as np

from simulator.coding import Coding
from simulator.quantizers._form import Quantized, Setting, quantized, rows_of
from simulator.quantizers._scales import ruled

SUMMARY = "-1, 0 and +1"
BITS = (2, 2)
_PART = 0.7


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    rows = rows_of(values, setting.axis)
    sizes = np.abs(rows)
    kept = sizes > _PART * sizes.mean(axis=1, keepdims=True)
    scales = ruled((sizes * kept).sum(axis=1) / np.maximum(kept.sum(axis=1), 1), setting.scale)
    return quantized(np.sign(rows) * kept, values, setting.axis, scales, Coding(2))
