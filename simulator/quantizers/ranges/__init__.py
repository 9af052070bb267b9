"""Rules for the range that is quantized, one file each: what lies beyond it is clipped.

A file provides ``SUMMARY`` and ``limits(values, bits, symmetric)``: (low, high) for one-dimensional finite
``values``; where ``symmetric``, low is -high.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import UsageError


@cache
def range_names() -> tuple[str, ...]:
    """Names of all rules, from the files of this folder."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py")))


def range_summary(name: str) -> str:
    """What a rule does, in a line."""
    rule: Any = import_module(f"simulator.quantizers.ranges.{name}")
    return rule.SUMMARY


def largest_of(name: str, rows: np.ndarray, bits: int) -> np.ndarray:
    """The symmetric limit of each row by rule ``name``."""
    return np.array([limits(name, row, bits, True)[1] for row in rows])


def limits(name: str, values: np.ndarray, bits: int, symmetric: bool) -> tuple[float, float]:
    """(low, high) of ``values`` by rule ``name``; within their least and largest (or its negative)."""
    if name not in range_names():
        raise UsageError("limits", repr(name), ", ".join(range_names()))
    rule: Any = import_module(f"simulator.quantizers.ranges.{name}")
    low, high = rule.limits(values.reshape(-1).astype(np.float64), bits, symmetric)
    return float(low), float(high)
