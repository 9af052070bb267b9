"""Requantization: from an accumulator to an output code, in integers only.

One kind per way of rounding that a runtime or a device has. :data:`REQUANTIZERS` says of each what it
takes and what it is made of; :func:`requantize` is the dispatcher that kernels call with a kind's code.
Names and definitions follow the reference kernels of TensorFlow Lite (``quantization_util.cc``,
``common.h``), gemmlowp (``fixedpoint.h``), XNNPACK, HAWQ-V3 (``quant_utils.py``) and Vela
(``scaling.py``); facts restated from the project's semantics notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simulator.fixedpoint import requantize_hardware as parts
from simulator.fixedpoint import thresholds
from simulator.fixedpoint.requantize_float import float32_even, float64_away
from simulator.fixedpoint.requantize_hardware import Hardware
from simulator.fixedpoint.requantize_integer import (
    as_it_is,
    double_rounding,
    double_rounding_up,
    doubling_high_mul,
    dyadic_even,
    natural,
    power_of_two,
    reduced_multiplier,
    rounding_divide_by_pot,
    single_rounding,
    truncate,
)
from simulator.fixedpoint.requantize_scales import (
    dyadic_multiplier,
    float32_mantissa,
    float64_mantissa,
    no_scale,
    ofm_multiplier,
    power_of_two_shift,
    quantize_multiplier,
    reduced_multiplier_of,
)
from simulator.fixedpoint.width import Integer
from simulator.jit import jit

__all__ = [
    "KINDS", "REQUANTIZERS", "Hardware", "Requantizer", "double_rounding", "double_rounding_up",
    "doubling_high_mul", "dyadic_even", "float32_even", "float32_mantissa", "float64_away",
    "float64_mantissa", "natural", "power_of_two", "quantize_multiplier", "reduced_multiplier",
    "requantize", "rounding_divide_by_pot", "single_rounding", "truncate",
]  # fmt: skip

DOUBLE_ROUNDING = 0
FLOAT64_AWAY = 1
DOUBLE_ROUNDING_UP = 2
SINGLE_ROUNDING = 3
FLOAT32_EVEN = 4
REDUCED_MULTIPLIER = 5
DYADIC_EVEN = 6
POWER_OF_TWO = 7
TRUNCATE = 8
NATURAL = 9
NONE = 10


@dataclass(frozen=True)
class Requantizer:
    """One way from an accumulator to a code.

    ``convert`` takes the real scale to (multiplier, shift), which stand for
    ``multiplier * 2**(shift - fraction_bits)``; ``apply`` is the jitted scalar function of
    (accumulator, multiplier, shift). Accumulators of up to ``accumulator_bits`` are taken as they are,
    64 standing for the kernels' exact sums, below 2**62 in magnitude; of wider ones the low
    ``accumulator_bits`` are taken. ``hardware`` takes the width of the device's accumulator.
    """

    name: str
    code: int
    apply: Callable[[Integer, Integer, Integer], Integer]
    convert: Callable[[float], tuple[int, int]]
    fraction_bits: int
    accumulator_bits: int
    hardware: Callable[[int], Hardware]


_ALL = (
    Requantizer(
        "double_rounding", DOUBLE_ROUNDING, double_rounding, quantize_multiplier, 31, 32,
        parts.double_rounding_hardware,
    ),
    Requantizer(
        "float64_away", FLOAT64_AWAY, float64_away, float64_mantissa, 0, 64,
        parts.float64_away_hardware,
    ),
    Requantizer(
        "double_rounding_up", DOUBLE_ROUNDING_UP, double_rounding_up, quantize_multiplier, 31, 32,
        parts.double_rounding_hardware,
    ),
    Requantizer(
        "single_rounding", SINGLE_ROUNDING, single_rounding, quantize_multiplier, 31, 32,
        parts.single_rounding_hardware,
    ),
    Requantizer(
        "float32_even", FLOAT32_EVEN, float32_even, float32_mantissa, 0, 64,
        parts.float32_even_hardware,
    ),
    Requantizer(
        "reduced_multiplier", REDUCED_MULTIPLIER, reduced_multiplier, reduced_multiplier_of, 15, 48,
        parts.reduced_multiplier_hardware,
    ),
    Requantizer(
        "dyadic_even", DYADIC_EVEN, dyadic_even, dyadic_multiplier, 31, 32,
        parts.single_rounding_hardware,
    ),
    Requantizer(
        "power_of_two", POWER_OF_TWO, power_of_two, power_of_two_shift, 0, 64,
        parts.power_of_two_hardware,
    ),
    Requantizer(
        "truncate", TRUNCATE, truncate, ofm_multiplier, 31, 32, parts.single_rounding_hardware
    ),
    Requantizer(
        "natural", NATURAL, natural, ofm_multiplier, 31, 32, parts.single_rounding_hardware
    ),
    Requantizer("none", NONE, as_it_is, no_scale, 0, 64, parts.no_hardware),
)  # fmt: skip
REQUANTIZERS: Mapping[str, Requantizer] = MappingProxyType({r.name: r for r in _ALL})
# What an output stage may be: one of those, or thresholds, which need no scale.
KINDS = {r.name: r.code for r in _ALL} | {thresholds.NAME: thresholds.THRESHOLDS}


@jit
def requantize(kind: int, accumulator: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """One accumulator through the requantizer of code ``kind`` (see :data:`REQUANTIZERS`)."""
    if kind == DOUBLE_ROUNDING:
        return double_rounding(accumulator, multiplier, shift)
    if kind == FLOAT64_AWAY:
        return float64_away(accumulator, multiplier, shift)
    if kind == DOUBLE_ROUNDING_UP:
        return double_rounding_up(accumulator, multiplier, shift)
    if kind == FLOAT32_EVEN:
        return float32_even(accumulator, multiplier, shift)
    if kind == SINGLE_ROUNDING:
        return single_rounding(accumulator, multiplier, shift)
    if kind == REDUCED_MULTIPLIER:
        return reduced_multiplier(accumulator, multiplier, shift)
    if kind == DYADIC_EVEN:
        return dyadic_even(accumulator, multiplier, shift)
    if kind == POWER_OF_TWO:
        return power_of_two(accumulator, multiplier, shift)
    if kind == NONE:
        return as_it_is(accumulator, multiplier, shift)
    if kind == TRUNCATE:
        return truncate(accumulator, multiplier, shift)
    return natural(accumulator, multiplier, shift)
