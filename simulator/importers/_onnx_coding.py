"""Weights of an ONNX file that are made of narrower codes by constant operators: a table and indices, or
codes times factors of groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from simulator.coding import LEVEL_BITS, Coding, codes_of, factors_of, table_coding
from simulator.errors import ModelError
from simulator.graph import Graph
from simulator.importers._onnx_file import Constant, OnnxFile, Op
from simulator.importers._onnx_shapes import Values

# What moves or widens numbers, or adds the zero point of uint8 weights.
_TRANSPARENT = ("Transpose", "Reshape", "Cast", "Identity", "Slice", "Add")
_MOST_STEPS = 8
_CODED_BYTES = 64  # that looking up the code of a weight takes


def with_codings(graph: Graph, file: OnnxFile, values: Values) -> Graph:
    """``graph`` with what is known of how its int8 weights are stored."""
    makers = {name: op for op in file.ops for name in op.outputs}
    tensors = dict(graph.tensors)
    for name, levels in graph.constants.items():
        key = tensors[name].key
        q = tensors[name].quantization
        zero = set(q.zero_points) if q else {0}
        moved = 128 if levels.dtype == np.uint8 and zero == {128} else 0
        if (levels.dtype == np.int8 or moved) and levels.ndim >= 2 and key in makers:
            file.allowance.take(_CODED_BYTES * levels.size, f"{file.name}: {name}")
            levels = (levels.astype(np.int16) - moved).astype(np.int8)
            coding = _coding(makers, values.constants, str(key), levels, moved)
            tensors[name] = replace(tensors[name], coding=coding)
    return replace(graph, tensors=tensors)


def _coding(
    makers: Mapping[str, Op],
    constants: Mapping[str, Constant],
    name: str,
    levels: np.ndarray,
    moved: int,
) -> Coding | None:
    """How ``levels``, in our order of axes, are coded in the file as ``name``, which holds them plus
    ``moved``; None for plain numbers."""
    op = _maker(makers, name)
    found = None
    if op is not None and op.kind == "Gather" and op.integer("axis", 0) == 0:
        found = _of_table(constants.get(op.input(0)), moved)
    elif op is not None and op.kind == "Mul":
        found = _of_groups(*(constants.get(op.input(i)) for i in range(2)))
    if found is None or levels.shape[-1] % found.vector:
        return None
    try:
        codes_of(levels, found)
        if found.group:
            factors_of(levels, found)
    except ModelError:
        return None
    return found


def _maker(makers: Mapping[str, Op], name: str) -> Op | None:
    """The operator that makes the numbers of ``name``, behind what only moves them."""
    for _ in range(_MOST_STEPS):
        op = makers.get(name)
        if op is None or op.kind not in _TRANSPARENT:
            return op
        name = op.input(0)
    return None


def _of_table(table: Constant | None, moved: int) -> Coding | None:
    dtype = "u8" if moved else "i8"
    if table is None or table.dtype != dtype or table.values.ndim not in (1, 2):
        return None
    rows = table.values.reshape(table.values.shape[0], -1).astype(np.int64) - moved
    if not 1 <= rows.shape[0] <= 1 << LEVEL_BITS or rows.shape[1] < 1:
        return None
    bits = max(1, (rows.shape[0] - 1).bit_length())
    even = rows.shape[1] == 1 and (np.diff(rows[:, 0]) == 1).all()
    if even and rows[0, 0] >= -(1 << (bits - 1)) and rows[-1, 0] < 1 << (bits - 1) and bits > 1:
        return Coding(bits)
    if np.abs(rows).max() >= 1 << (LEVEL_BITS - 1):
        return None
    return table_coding(rows)


def _of_groups(codes: Constant | None, factors: Constant | None) -> Coding | None:
    """Codes (..., groups, group) times factors (..., groups, 1)."""
    if codes is None or factors is None or min(codes.values.ndim, factors.values.ndim) < 2:
        return None
    c, f = codes.values, factors.values
    if c.dtype.kind not in "iu" or f.dtype.kind not in "iu" or f.shape != (*c.shape[:-1], 1):
        return None
    if c.size == 0 or f.min() < 1 or f.max() >= 1 << LEVEL_BITS:
        return None
    bits = int(np.abs(c.astype(np.int64)).max()).bit_length() + 1
    if not 2 <= bits <= LEVEL_BITS:
        return None
    return Coding(bits, group=c.shape[-1], factor_bits=int(f.max()).bit_length())
