"""Quantizers of weights: one file each.

A file provides ``SUMMARY``; ``BITS``, the fewest and most bits of a code; and ``quantize(values,
setting)``, the :class:`Quantized` of finite ``values``. ``quantizers.ranges`` has the rules for what is
clipped, one file each as well.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from simulator.errors import UsageError
from simulator.quantizers._form import Quantized, Setting
from simulator.quantizers._scales import RULES as SCALES
from simulator.quantizers.ranges import range_names

__all__ = [
    "SCALES", "Quantized", "Setting", "quantize", "quantizer", "quantizer_names", "range_names"
]  # fmt: skip


class Quantizer(Protocol):
    """What a file of this folder provides."""

    SUMMARY: str
    BITS: tuple[int, int]

    def quantize(self, values: np.ndarray, setting: Setting) -> Quantized: ...


@cache
def quantizer_names() -> tuple[str, ...]:
    """Names of all quantizers, from the files of this folder."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py")))


def quantizer(name: str) -> Quantizer:
    """The quantizer called ``name``."""
    if name not in quantizer_names():
        raise UsageError("quantizer", repr(name), ", ".join(quantizer_names()))
    module: Any = import_module(f"simulator.quantizers.{name}")
    return module


def quantize(name: str, values: np.ndarray, setting: Setting) -> Quantized:
    """``values``, at least one and all finite, by quantizer ``name``."""
    chosen = quantizer(name)
    fewest, most = chosen.BITS
    if not fewest <= setting.bits <= most:
        allowed = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise UsageError(f"quantizer {name}", f"{setting.bits} bits", allowed)
    if setting.scale not in SCALES:
        raise UsageError("scale", repr(setting.scale), ", ".join(SCALES))
    if setting.limits not in range_names():
        raise UsageError("limits", repr(setting.limits), ", ".join(range_names()))
    if setting.axis is not None and not 0 <= setting.axis < values.ndim:
        raise UsageError("axis", f"{setting.axis} of {values.ndim} dimensions", "one of them")
    if values.size == 0 or not np.isfinite(values).all():
        given = "NaN or infinity" if values.size else "no values"
        raise UsageError(f"quantizer {name}", given, "finite values, at least one")
    return chosen.quantize(values, setting)
