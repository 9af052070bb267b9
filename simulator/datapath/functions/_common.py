"""Parameters that several functions share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

import numpy as np

from simulator.jit import jit
from simulator.program.commands import Vector


class Scaling(NamedTuple):
    """One operand's way to another scale: (code - zero_point) * multiplier * 2**(shift - 31)."""

    zero_point: int
    multiplier: int
    shift: int


class OutputCode(NamedTuple):
    """From a scaled value to a code."""

    zero_point: int
    clamp_min: int
    clamp_max: int


class Rounding(NamedTuple):
    """Requantizers (``rescale.RESCALE_KINDS``): ``kind`` in whole blocks of ``block`` elements from the
    start of each row of ``row`` on, ``kind_rest`` in what is left of a row."""

    kind: int
    kind_rest: int
    row: int
    block: int


def scaling_of(command: Vector, suffix: str) -> Scaling:
    """Parameters ``zero_point``, ``multiplier`` and ``shift`` with ``suffix`` (``_out``: no zero point)."""
    zero = f"zero_point{suffix}" if suffix != "_out" else ""
    return Scaling(
        command.parameter(zero) if zero else 0,
        command.parameter(f"multiplier{suffix}"), command.parameter(f"shift{suffix}"),
    )  # fmt: skip


def code_of(command: Vector) -> OutputCode:
    """Parameters ``zero_point_out``, ``clamp_min`` and ``clamp_max``."""
    return OutputCode(
        command.parameter("zero_point_out"), command.parameter("clamp_min"),
        command.parameter("clamp_max"),
    )  # fmt: skip


def rounding_of(command: Vector) -> Rounding:
    """Parameters ``kind``, ``kind_rest``, ``row`` and ``block``."""
    return Rounding(*(command.parameter(name) for name in Rounding._fields))


@jit
def kind_at(rounding: Rounding, index: int) -> int:
    """The requantizer of the element at flat ``index``."""
    inside = index % rounding.row < rounding.row - rounding.row % rounding.block
    return rounding.kind if inside else rounding.kind_rest


def broadcast(values: np.ndarray, out: np.ndarray) -> np.ndarray:
    """``values`` (samples, *shape) read again along dimensions of size 1, flat, as long as ``out``."""
    ones = (1,) * (out.ndim - values.ndim)
    shape = (values.shape[0], *ones, *values.shape[1:])
    return np.broadcast_to(values.reshape(shape), out.shape).reshape(-1)


# Elements from which on it pays to know the result of every pair of bytes, and how many tables are kept.
_MANY, _KEPT = 1 << 17, 64
_tables: dict[Hashable, np.ndarray] = {}


@jit
def _look_up_pairs(a, b, table, out):
    """``a`` and ``b`` of unsigned bytes, ``table`` of 2**16; flat."""
    for i in range(a.size):
        out[i] = table[(np.int64(a[i]) << 8) | np.int64(b[i])]


def pairwise(
    compute: Callable[[np.ndarray, np.ndarray, np.ndarray], None], key: Hashable,
    a: np.ndarray, b: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """``compute(a, b, out)``, all flat, where an element of ``out`` depends on the two at its place alone.

    Many bytes are looked up in a table that is made once; ``key`` says what of.
    """
    if a.size < _MANY or {a.itemsize, b.itemsize, out.itemsize} != {1}:
        compute(a, b, out)
        return
    key = key, a.dtype, b.dtype, out.dtype
    table = _tables.get(key)
    if table is None:
        every = np.arange(256, dtype=np.uint8)
        table = np.zeros(1 << 16, out.dtype)
        pairs = np.repeat(every, 256).view(a.dtype), np.tile(every, 256).view(b.dtype)
        compute(*pairs, table)
        if len(_tables) >= _KEPT:
            _tables.clear()
        _tables[key] = table
    _look_up_pairs(a.view(np.uint8), b.view(np.uint8), table, out)
