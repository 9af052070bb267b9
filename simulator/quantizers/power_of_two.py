"""Logarithmic levels: 0 and signed powers of two (Gholami et al., III-F), a sign and an exponent each, so
that a PE shifts where it would multiply."""

from __future__ import annotations

import numpy as np

from simulator.coding import table_coding
from simulator.quantizers._form import Quantized, Setting
from simulator.quantizers._tables import to_levels

SUMMARY = "0 and signed powers of two"
# With 5 bits the least of 15 powers would be a 2**14th of the largest, beyond levels of 8 bits.
BITS = (2, 4)


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    sizes = 1 << np.arange((1 << (setting.bits - 1)) - 1)
    levels = np.concatenate([-sizes[::-1], [0], sizes])
    return to_levels(values, setting, levels, table_coding(levels[:, None]))
