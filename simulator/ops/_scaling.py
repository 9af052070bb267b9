"""From a scale ratio to a requantizer's integers, and requantizers by definition.

Element-wise operators bring codes to another scale by :class:`Scaling`. The orders in which runtimes form
the real ratio differ in the last bit and so, now and then, in a code; each operator says which it takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from simulator.fixedpoint.requantize import REQUANTIZERS
from simulator.fixedpoint.requantize_scales import nearest_power_of_two
from simulator.fixedpoint.rescale import RESCALE_KINDS
from simulator.program.commands import Parameters


class Scaling(NamedTuple):
    """A requantizer of ``rescale.RESCALE_KINDS`` and its integers."""

    kind: str
    multiplier: int
    shift: int


UNCHANGED = Scaling("power_of_two", 1, 0)
_SHIFTED_OUT = -63  # no bit of any value is left


class Blocks(NamedTuple):
    """Vectorised kernels take whole blocks of neighbours one way and what is left of a row another.

    ``kind``: the requantizer in whole blocks of ``size``, counted from the start of each row of ``row``
    elements.
    """

    kind: str
    row: int
    size: int

    def holds(self, index: int) -> bool:
        """Whether the element at flat ``index`` lies in a whole block."""
        return index % self.row < self.row - self.row % self.size


def blocks_parameters(by: Scaling, blocks: Blocks | None) -> Parameters:
    """``kind`` of whole blocks, ``kind_rest`` of what is left, ``row`` and ``block``."""
    taken = blocks or Blocks(by.kind, 1, 1)
    return (
        ("kind", RESCALE_KINDS[taken.kind]), ("kind_rest", RESCALE_KINDS[by.kind]),
        ("row", taken.row), ("block", taken.size),
    )  # fmt: skip


def scaling(kind: str, real: float) -> Scaling:
    """``real`` as integers of requantizer ``kind``."""
    return Scaling(kind, *REQUANTIZERS[kind].convert(real))


def eighths(real: float) -> Scaling:
    """XNNPACK's 8 fraction bits (``vcvt``, ``vlrelu``): rint(256 * real), the product rounded ties up."""
    return Scaling("single_rounding", round(256 * real), 31 - 8)


def float32_ratio(numerators: Sequence[float], s_out: float) -> float:
    """Product of ``numerators`` by ``s_out``, each step in float32."""
    product = np.float32(numerators[0])
    for factor in numerators[1:]:
        product = product * np.float32(factor)
    return float(product / np.float32(s_out))


def double_ratio(numerators: Sequence[float], s_out: float) -> float:
    return math.prod(numerators) / s_out


def log2_of(scale: float) -> int | None:
    """The exponent of a scale that the reference takes for a power of two (``CheckedLog2``), else None."""
    exact = float(np.log(np.float32(scale)) * np.float32(1 / math.log(2)))
    nearest = math.floor(exact + 0.5)
    return nearest if abs(np.float32(exact - nearest)) < 1e-3 else None


def hardware_scaling(profile: str, numerators: Sequence[float], s_out: float) -> Scaling | None:
    """The two profiles that no runtime defines: a shift, or HAWQ-V3's dyadic number."""
    if profile == "power_of_two":
        if math.prod(numerators) == 0:
            return Scaling("power_of_two", 1, _SHIFTED_OUT)
        return scaling("power_of_two", nearest_power_of_two(double_ratio(numerators, s_out)))
    if profile == "dyadic":  # the product of the inputs' scales is a float32 there
        return scaling("dyadic_even", float(np.float32(math.prod(numerators))) / s_out)
    return None


def _away(value: Fraction) -> int:
    magnitude = math.floor(abs(value) + Fraction(1, 2))
    return magnitude if value > 0 else -magnitude


def _up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def naive_scaled(by: Scaling, value: int) -> int:
    """``value`` through ``by`` as its definition says, in exact arithmetic."""
    kind, multiplier, shift = by
    if kind.startswith("double_rounding"):
        left, right = max(shift, 0), max(-shift, 0)
        wrapped = (value * 2**left + 2**31) % 2**32 - 2**31
        high = Fraction(_up(Fraction(wrapped * multiplier, 2**31)), 2**right)
        if kind == "double_rounding_up":
            return _up(high)
        return math.floor(high) if kind == "double_rounding_down" else _away(high)
    if kind == "float32_even":
        scale = np.float32(math.ldexp(multiplier, shift))
        return int(np.rint(np.float32(value) * scale))
    exact = value * multiplier * Fraction(2) ** (shift - REQUANTIZERS[kind].fraction_bits)
    return round(exact) if kind == "dyadic_even" else _up(exact)
