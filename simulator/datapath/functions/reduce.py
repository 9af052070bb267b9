"""Reduction along one axis, the others before and after it: extremes, sums and means."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from simulator.fixedpoint import float32, reduction
from simulator.fixedpoint.requantize import requantize
from simulator.jit import jit
from simulator.program.commands import Vector


class _Scaling(NamedTuple):
    """A requantizer for channels below ``tail_from``, one for the others, and their number."""

    requantizer: int
    tail_requantizer: int
    tail_from: int
    multiplier: int
    shift: int


class _Quotient(NamedTuple):
    """Sum << ``left``, divided by ``divisor``; ``rounding`` as in ``fixedpoint.reduction``."""

    left: int
    divisor: int
    rounding: int


class _Line(NamedTuple):
    """``scale * sum + bias`` in float32, each a pair of ``fixedpoint.float32``; then rounded."""

    scale_mantissa: int
    scale_exponent: int
    bias_mantissa: int
    bias_exponent: int
    ties: int


@jit
def _extremes(x, sign, found):
    """(outer, reduced, inner) -> (outer, inner): the largest element, or with sign -1 the smallest."""
    for o in range(x.shape[0]):
        for i in range(x.shape[2]):
            best = np.int64(x[o, 0, i])
            for r in range(x.shape[1]):
                value = np.int64(x[o, r, i])
                if value * sign > best * sign:
                    best = value
            found[o, i] = best


@jit
def _sums(x, offset, found):
    """(outer, reduced, inner) -> (outer, inner), less ``offset``."""
    for o in range(x.shape[0]):
        for i in range(x.shape[2]):
            total = np.int64(0)  # at most 2**16 elements of 16 bits
            for r in range(x.shape[1]):
                total += np.int64(x[o, r, i])
            found[o, i] = total - offset


@jit
def _requantized(found, scaling):
    for o in range(found.shape[0]):
        for i in range(found.shape[1]):
            kind = scaling.requantizer if i < scaling.tail_from else scaling.tail_requantizer
            found[o, i] = requantize(kind, found[o, i], scaling.multiplier, scaling.shift)


@jit
def _quotients(found, quotient):
    for o in range(found.shape[0]):
        for i in range(found.shape[1]):
            size = abs(found[o, i]) << quotient.left
            if quotient.rounding == reduction.AWAY_FROM_ZERO:
                size += quotient.divisor // 2
            size //= quotient.divisor
            found[o, i] = -size if found[o, i] < 0 else size


@jit
def _lines(found, line):
    for o in range(found.shape[0]):
        for i in range(found.shape[1]):
            m, e = float32.nearest(found[o, i], np.int64(0))
            m, e = float32.multiply(m, e, line.scale_mantissa, line.scale_exponent)
            m, e = float32.add(m, e, line.bias_mantissa, line.bias_exponent)
            if line.ties == reduction.TO_EVEN:
                found[o, i] = float32.round_even(m, e)
            else:
                found[o, i] = float32.round_away(m, e)


def _taken(command: Vector, kind: Any) -> Any:
    """A ``kind`` of the parameters called like its fields."""
    return kind(*(np.int64(command.parameter(field)) for field in kind._fields))


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    nest, form = command.nest, command.parameter("form")
    inner = nest.groups
    x = inputs[0].reshape(-1, nest.kernel_w * nest.k, inner)
    found = np.zeros((x.shape[0], inner), np.int64)
    if form in (reduction.MAXIMUM, reduction.MINIMUM):
        _extremes(x, 1 if form == reduction.MAXIMUM else -1, found)
        out[...] = found.reshape(out.shape)
        return
    _sums(x, np.int64(command.parameter("offset")), found)
    if form == reduction.REQUANTIZED:
        _requantized(found, _taken(command, _Scaling))
    elif form == reduction.QUOTIENT:
        _quotients(found, _taken(command, _Quotient))
    else:
        _lines(found, _taken(command, _Line))
    found += command.parameter("zero_point_out")
    low, high = command.parameter("clamp_min"), command.parameter("clamp_max")
    out[...] = found.clip(low, high).reshape(out.shape)
