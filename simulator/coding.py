"""How the weights of a layer are stored where that takes fewer bits than the numbers that PEs multiply.

A weight is always a *level*, an integer of at most 8 bits that stands for ``scale * level``. What lies in
memory is a *code*: the level itself in fewer bits, the index of a table of levels, or a level that a factor
common to a group of neighbours was taken out of.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.errors import ModelError

LEVEL_BITS = 8
_LARGEST = (1 << (LEVEL_BITS - 1)) - 1


@dataclass(frozen=True)
class Coding:
    """``bits`` of a stored code.

    ``table``: a row of levels for each code; of rows longer than 1, one code stands for so many neighbours
    along the last axis. Without a table a code is a level, and where ``group`` is above 0 so many
    neighbours along the last axis have a common factor of ``factor_bits`` besides.
    """

    bits: int
    table: tuple[tuple[int, ...], ...] = ()
    group: int = 0
    factor_bits: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= LEVEL_BITS:
            raise ModelError("coding", f"codes of {self.bits} bits", f"1 to {LEVEL_BITS}")
        if len(self.table) > 1 << self.bits:
            problem = f"{len(self.table)} rows for codes of {self.bits} bits"
            raise ModelError("coding", problem, f"at most {1 << self.bits}")
        if len({len(row) for row in self.table}) > 1 or any(not row for row in self.table):
            raise ModelError("coding", "rows of different lengths", "one length, at least 1")
        if any(abs(level) > _LARGEST for row in self.table for level in row):
            raise ModelError("coding", "levels beyond 8 bits", f"-{_LARGEST}..{_LARGEST}")
        if self.table and self.group:
            raise ModelError("coding", "a table and groups", "one of them")
        if (self.group > 0) != (self.factor_bits > 0) or self.factor_bits > LEVEL_BITS:
            problem = f"groups of {self.group} with factors of {self.factor_bits} bits"
            raise ModelError("coding", problem, "both above 0, or both 0")

    @property
    def vector(self) -> int:
        """Neighbouring weights that one code stands for."""
        return len(self.table[0]) if self.table else 1

    @cached_property
    def level_bits(self) -> int:
        """Width of what a decoder gives the PEs: a table's levels, else the codes."""
        if not self.table:
            return self.bits
        largest = max(abs(level) for row in self.table for level in row)
        if {abs(level) for row in self.table for level in row} == {1}:
            return 1
        return largest.bit_length() + 1

    @property
    def table_bits(self) -> int:
        """What the table itself takes."""
        return len(self.table) * self.vector * LEVEL_BITS

    def stored_bits(self, shape: tuple[int, ...]) -> int:
        """What weights of ``shape`` take as codes, with factors and table."""
        elements = int(np.prod(shape))
        bits = elements // self.vector * self.bits + self.table_bits
        if self.group:
            groups = -(-shape[-1] // self.group)
            bits += elements // shape[-1] * groups * self.factor_bits
        return bits


def table_coding(rows: np.ndarray) -> Coding:
    """The coding of weights that are ``rows`` (codes, vector) of a table, in as few bits as number them."""
    bits = max(1, (rows.shape[0] - 1).bit_length())
    return Coding(bits, tuple(tuple(int(v) for v in row) for row in rows))


def nibbles(codes: np.ndarray) -> bytes:
    """8-bit integers of 4 bits, two to a byte, the first in its low half: as model files pack them."""
    flat = np.append(codes.reshape(-1), np.zeros(codes.size % 2, codes.dtype)).view(np.uint8)
    return (flat[::2] & 15 | flat[1::2] << 4).tobytes()


def codes_of(levels: np.ndarray, coding: Coding) -> np.ndarray:
    """The stored codes of ``levels``: indices of the table, with the last axis shortened by the vector;
    levels without their group's factor; else the levels."""
    if coding.group:
        return _divided(levels, coding)[0]
    if not coding.table:
        return levels
    rows = np.array(coding.table, np.int64)
    vectors = levels.astype(np.int64).reshape(-1, coding.vector)
    # Levels in base 256: equal vectors are equal numbers as long as a vector fits 64 bits.
    places = 256 ** np.arange(min(coding.vector, 7), dtype=np.int64)
    found = _places(rows, vectors, places)
    if not (rows[found] == vectors).all():
        raise ModelError("coding", "weights that are not in the table", "levels of the table")
    shape = (*levels.shape[:-1], levels.shape[-1] // coding.vector)
    return found.astype(np.uint8).reshape(shape)


def _places(rows: np.ndarray, vectors: np.ndarray, places: np.ndarray) -> np.ndarray:
    if rows.shape[1] <= places.size:
        keys = ((rows + 128) * places).sum(axis=1)
        order = np.argsort(keys, kind="stable")
        at = np.searchsorted(keys[order], ((vectors + 128) * places).sum(axis=1))
        return order[np.minimum(at, rows.shape[0] - 1)]
    return np.array([int((rows == v).all(axis=1).argmax()) for v in vectors])


def factors_of(levels: np.ndarray, coding: Coding) -> np.ndarray:
    """The factor of each group, (..., groups): the least one that leaves codes of ``coding.bits``."""
    return _divided(levels, coding)[1]


def _divided(levels: np.ndarray, coding: Coding) -> tuple[np.ndarray, np.ndarray]:
    most, last = (1 << (coding.bits - 1)) - 1, levels.shape[-1]
    groups = -(-last // coding.group)
    padded = np.zeros((*levels.shape[:-1], groups * coding.group), np.int64)
    padded[..., :last] = levels
    parts = padded.reshape(-1, coding.group)
    factors = np.zeros(parts.shape[0], np.int64)
    for factor in range(1, 1 << coding.factor_bits):
        fits = (parts % factor == 0).all(axis=1) & (np.abs(parts).max(axis=1) <= most * factor)
        factors[(factors == 0) & fits] = factor
    if not factors.all():
        allowed = f"codes of {coding.bits} bits times factors of {coding.factor_bits}"
        raise ModelError("coding", "weights that have no common factor", allowed)
    codes = (parts // factors[:, None]).reshape(padded.shape)[..., :last]
    return codes.astype(np.int8), factors.reshape(*levels.shape[:-1], groups)
