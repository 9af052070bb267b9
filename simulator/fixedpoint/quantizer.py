"""QONNX's quantizers on float32 numbers: clamp first, then round (QONNX, ``intquant.py``, ``trunc.py``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# ``HALF_UP`` and ``HALF_DOWN`` are away from zero and towards it.
ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": np.trunc,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + np.float32(0.5)),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - np.float32(0.5)),
}
ROUNDING_NAMES = tuple(ROUNDINGS)


class Quantizer(NamedTuple):
    """Numbers are divided by the first of ``divisors``, offset, and (Trunc) rounded half to even and
    divided by each further one; then clamped, if ``clamps``, and rounded. A bipolar one gives -1 or 1."""

    divisors: tuple[float, ...]
    zero_point: int
    minimum: int
    maximum: int
    clamps: bool
    rounding: str
    bipolar: bool

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Codes of float32 numbers, as whole float32 numbers; NaN becomes the zero point."""
        with np.errstate(all="ignore"):
            y = x / np.float32(self.divisors[0])
            if self.bipolar:
                return np.where(y >= 0, np.float32(1), np.float32(-1))
            y = y + np.float32(self.zero_point)
            for divisor in self.divisors[1:]:
                y = np.rint(y) / np.float32(divisor)
            if self.clamps:
                y = np.minimum(np.maximum(y, np.float32(self.minimum)), np.float32(self.maximum))
            return np.nan_to_num(ROUNDINGS[self.rounding](y), nan=float(self.zero_point))
