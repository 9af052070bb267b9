"""Weights of products as the processor's instructions take them, and what goes with them.

Operands are bytes, unsigned ones of the ifmap and signed ones of weights, or signed words, which hold
what is left of a code when its zero point is taken away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.datapath import amx
from simulator.datapath.llvm import LANES
from simulator.datapath.llvm_products import BYTE_ROWS, STEP, WORD_ROWS
from simulator.datapath.matmul import Channels
from simulator.datapath.output import Finish, finish_of, numbers_of
from simulator.datapath.units import AMX, AVX2, PORTABLE, chosen_unit
from simulator.program.commands import Matmul
from simulator.program.nest import Nest, padded_size, untiled
from simulator.tensor import TensorSpec

MOST_VECTORS = 4  # of the columns of a block
BYTES, WORDS = 1, 2  # the size of an operand
_FLIP = 128  # from signed to unsigned bytes
_ALIGNMENT = 64
_WORD = np.iinfo(np.int16)


class Layout(NamedTuple):
    """Where operands are: a padded image of ``height`` by ``width`` pixels of ``pixel_bytes``.

    Bytes are codes with ``flip`` added, words codes with ``offset`` taken away.
    """

    height: int
    width: int
    pixel_bytes: int
    size: int
    flip: int
    offset: int
    steps: int  # of each stretch of a window


@dataclass(frozen=True)
class Packed:
    """A product's weights as the instruction takes them.

    ``blocks``: (first channel, columns, vectors, offset of its bytes) of each block of output channels,
    (blocks, 4) for each group; ``starts`` (groups, stretches) of each group's window in the image.
    ``spread``: W; ``ones``: offset of weights of 1, to sum ``a``. A ``depthwise`` one has a block of all.
    ``nest``: the command's, of a batch of 1; ``row``: of a matrix, that of one of its rows.
    """

    weights: np.ndarray
    blocks: np.ndarray
    starts: np.ndarray
    layout: Layout
    spread: int
    ones: int
    finish: Finish
    depthwise: bool
    matrix: bool
    tiles: bool
    numbers: np.ndarray
    nest: Nest
    row: Nest


def aligned(size: int) -> np.ndarray:
    """(size,) int8 zeros, the first at a multiple of 64: bytes across two cache lines are read twice."""
    raw = np.zeros(size + _ALIGNMENT, np.int8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size]


def operand_size(command: Matmul, weights: np.ndarray, ifmap: TensorSpec, sums: type) -> int:
    """Of the operands of whose products the processor makes the exact sums of ``command``; 0: of none."""
    unit = chosen_unit()
    if unit == PORTABLE or sums is not np.int32:
        return 0
    if unit != AVX2 and weights.itemsize == 1 and ifmap.container.itemsize == 1:
        return BYTES
    codes = ifmap.minimum, ifmap.maximum, command.pad_code
    values = [code - command.ifmap_offset for code in codes]
    values += [int(w) - command.weight_offset for w in (weights.min(), weights.max())]
    return WORDS if _WORD.min <= min(values) and max(values) <= _WORD.max else 0


def _is_matrix(nest: Nest) -> bool:
    """Whether a window is a row of the ifmap, and each row is read once."""
    if nest.groups > 1 or nest.pad_top or nest.pad_left:
        return False
    kernel, size = (nest.kernel_h, nest.kernel_w), (nest.in_h, nest.in_w)
    out, stride = (nest.out_h, nest.out_w), (nest.stride_h, nest.stride_w)
    pixel = kernel == (1, 1) and stride == (1, 1) and out == size
    whole = kernel == size and out == (1, 1) and (nest.dilation_h, nest.dilation_w) == (1, 1)
    return pixel or whole


def _stretches(nest: Nest, width: int, size: int) -> tuple[np.ndarray, int]:
    """Offsets of a window's stretches in the padded image (of the first group), and their operands."""
    channels = nest.groups * nest.k
    rows, cols = np.indices((nest.kernel_h, nest.kernel_w), np.int64)
    line = nest.dilation_h * width * channels * size
    if nest.groups == 1 and nest.dilation_w == 1:
        if nest.kernel_w == width and nest.dilation_h == 1:
            return np.zeros(1, np.int64), nest.kernel_h * nest.kernel_w * nest.k
        return np.arange(nest.kernel_h, dtype=np.int64) * line, nest.kernel_w * nest.k
    return (rows * line + cols * nest.dilation_w * channels * size).reshape(-1), nest.k


def pack(
    command: Matmul, weights: np.ndarray, channels: Channels, size: int, signed: bool
) -> Packed:
    """``weights`` (groups, kernel_h, kernel_w, k, n) of codes as operands of ``size``; ``signed``: the
    ifmap's codes."""
    nest = command.nest
    height, width = padded_size(nest)
    values, bias, zero = weights.astype(np.int64) - command.weight_offset, channels.bias, 0
    flip = _FLIP if signed and size == BYTES else 0
    if size == BYTES:
        if values.min() < -_FLIP or values.max() >= _FLIP:
            zero = command.weight_offset - (0 if weights.dtype.kind == "i" else _FLIP)
            values += zero
        terms = nest.kernel_h * nest.kernel_w * nest.k
        above = command.ifmap_offset + flip
        totals = values.sum(axis=(1, 2, 3)).reshape(-1)
        bias = bias - above * totals + terms * above * zero
    depthwise, matrix = nest.n == nest.k == 1 and nest.groups > 1, _is_matrix(nest)
    tiles = matrix and size == BYTES and chosen_unit() == AMX
    values = values.astype(np.int8 if size == BYTES else np.int16)
    multiple = amx.BYTES // STEP if tiles else 1
    form = _depthwise(nest, values, width) if depthwise else _dense(nest, values, width, multiple)
    joined = np.concatenate([*form.parts, form.ones]).view(np.int8)
    packed = aligned(joined.size)
    packed[:] = joined
    pixel = nest.groups * nest.k * size
    layout = Layout(height, width, pixel, size, flip, command.ifmap_offset, form.steps)
    finish = finish_of(bias, channels)
    return Packed(
        packed, form.blocks, form.starts, layout, zero, joined.size - form.ones.nbytes, finish,
        depthwise, matrix, tiles, numbers_of(finish, form.blocks, command.requantize),
        nest._replace(batch=1), untiled(out=(1, 1), n=nest.n, k=nest.k, ifmap=(1, 1)),
    )  # fmt: skip


class _Form(NamedTuple):
    """Weights in the order in which the instruction takes them; ``ones``: the same of 1 in each place."""

    parts: list[np.ndarray]
    ones: np.ndarray
    blocks: np.ndarray
    starts: np.ndarray
    steps: int


def _dense(nest: Nest, values: np.ndarray, width: int, multiple: int) -> _Form:
    """``multiple``: of the steps of a stretch."""
    size, per_step = values.itemsize, STEP // values.itemsize
    most = max(BYTE_ROWS if size == BYTES else WORD_ROWS)
    starts, length = _stretches(nest, width, size)
    steps, columns = -(-length // (per_step * multiple)) * multiple, most * LANES
    by_step = np.zeros((nest.groups, starts.size, steps * per_step, nest.n), values.dtype)
    by_step[:, :, :length] = values.reshape(nest.groups, starts.size, length, nest.n)
    by_step = by_step.reshape(nest.groups, starts.size * steps, per_step, nest.n)
    blocks, parts, offset = [], [], 0
    for group in range(nest.groups):
        for first in range(0, nest.n, columns):
            part = by_step[group, :, :, first : first + columns].transpose(0, 2, 1)
            vectors = -(-part.shape[1] // LANES)
            whole = np.zeros((part.shape[0], vectors * LANES, per_step), values.dtype)
            whole[:, : part.shape[1]] = part
            blocks.append((group * nest.n + first, part.shape[1], vectors, offset))
            parts.append(whole.reshape(-1))
            offset += whole.nbytes
    there = np.zeros((starts.size, steps * per_step), values.dtype)
    there[:, :length] = 1
    ones = np.zeros((starts.size * steps, LANES, per_step), values.dtype)
    ones[:, 0] = there.reshape(-1, per_step)
    groups = np.arange(nest.groups, dtype=np.int64)[:, None] * nest.k * size
    return _Form(
        parts, ones.reshape(-1), np.array(blocks, np.int64).reshape(nest.groups, -1, 4),
        groups + starts[None, :], steps,
    )  # fmt: skip


def _depthwise(nest: Nest, values: np.ndarray, width: int) -> _Form:
    """Of one input and one output channel in each group; one block holds them all."""
    taps, channels = nest.kernel_h * nest.kernel_w, nest.groups
    per_step = STEP // values.itemsize
    steps, vectors = -(-taps // per_step), -(-channels // LANES)
    rows, cols = np.indices((nest.kernel_h, nest.kernel_w), np.int64)
    places = rows * nest.dilation_h * width + cols * nest.dilation_w
    starts = np.zeros(steps * per_step, np.int64)
    starts[:taps] = places.reshape(-1) * channels * values.itemsize

    def by_step(of_taps: np.ndarray) -> np.ndarray:
        whole = np.zeros((steps * per_step, vectors * LANES), values.dtype)
        whole[:taps, :channels] = of_taps
        return whole.reshape(steps, per_step, vectors, LANES).transpose(2, 0, 3, 1).reshape(-1)

    blocks = np.array([[(0, channels, vectors, 0)]], np.int64)
    ones = by_step(np.ones((taps, channels), values.dtype))
    weights = by_step(values.reshape(channels, taps).T)
    return _Form([weights], ones, blocks, starts[None, :], steps)
