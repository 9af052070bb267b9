"""Exact products of 8-bit codes on the processor's dot-product instruction.

The image is copied once, with its padding around it, as unsigned bytes; weights are packed once, as signed
ones. A window then is a few stretches of contiguous bytes at offsets that are the same for every pixel, and
no tap is copied twice. Where every window is a row of the ifmap by itself, as in 1 x 1 convolutions and
fully connected layers, the rows of all samples are one matrix. With ``a`` and ``w`` the bytes, ``A`` and
``W`` what stands for 0 among them, over K terms

    sum (a - A) (w - W)  =  sum a w  -  A sum w  -  W sum a  +  K A W

where all but ``sum a w`` and, if W is not 0, ``sum a`` is constant for a channel and joins its bias. Sums
wrap at 32 bits on the way; the final ones fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.datapath import amx
from simulator.datapath.matmul import Channels, Numerics
from simulator.datapath.units import AMX, PORTABLE, chosen_unit
from simulator.datapath.vnni import (
    LANES,
    PIXELS,
    ROWS,
    STEP,
    copy_bytes,
    finish_bytes,
    multiply_1,
    multiply_2,
    multiply_3,
    multiply_4,
    multiply_depthwise,
)
from simulator.fixedpoint.requantize import DOUBLE_ROUNDING, NONE, requantize
from simulator.fixedpoint.thresholds import THRESHOLDS, reached
from simulator.fixedpoint.width import fits, wrap
from simulator.jit import jit
from simulator.program.commands import Matmul, Requantize
from simulator.program.nest import Nest, untiled
from simulator.tensor import TensorSpec

_FLIP = 128  # from signed to unsigned bytes
_MOST_VECTORS = 4
# Pixels whose sums wait for the output stage together: a multiple of the rows of every block.
_STRIP = 48
_BLOCK_BYTES = 4 * LANES * _MOST_VECTORS  # from one row of sums to the next
_ALIGNMENT = 64
# Behind an image: what the last step of its last row reads beyond it.
_SLACK = 64
# Rows of a matrix at once: their bytes stay in the processor's second cache.
_MATRIX_BYTES = 1 << 18
_MOST_MATRIX_ROWS = 64
# Bytes of a row that tiles take before they go on to the next rows: of 32 columns they stay in the first.
_TILE_BYTES = 1024
# The output stages that have a loop of their own.
_ANY, _DOUBLE, _NONE, _DOUBLE_BYTES = range(4)


class Layout(NamedTuple):
    """Where bytes are: a padded image of ``height`` by ``width`` pixels, ``flip`` added to its codes."""

    height: int
    width: int
    channels: int
    flip: int
    steps: int  # of each stretch of a window
    rows_of_1: int
    rows_of_2: int
    rows_of_3: int
    rows_of_4: int


@dataclass(frozen=True)
class Packed:
    """A product's weights as the instruction takes them.

    ``blocks``: (first channel, columns, registers, offset of its bytes) of each block of output channels,
    (blocks, 4) for each group; ``starts`` (groups, stretches) of each group's window in the image.
    ``spread``: W; ``ones``: offset of weights of 1, to sum ``a``. A ``depthwise`` one has a block of all.
    ``numbers`` (groups, blocks, 8) are what ``finish_bytes`` takes: addresses within ``finish``.
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


class Finish(NamedTuple):
    """The output stage for each channel: ``bias`` (int32) with the constant terms; the rest is of
    :func:`_double_rounding`."""

    bias: np.ndarray
    multiplier: np.ndarray
    left: np.ndarray
    half: np.ndarray
    away: np.ndarray
    right: np.ndarray
    half_and_zero: np.ndarray  # the same with the output's zero point


def aligned(size: int) -> np.ndarray:
    """(size,) int8 zeros, the first at a multiple of 64: bytes across two cache lines are read twice."""
    raw = np.zeros(size + _ALIGNMENT, np.int8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size]


def packable(command: Matmul, weights: np.ndarray, ifmap: TensorSpec, sums: type) -> bool:
    """Whether the instruction gives the exact sums of ``command``, and is here."""
    bytes_only = weights.itemsize == 1 and ifmap.container.itemsize == 1
    return chosen_unit() != PORTABLE and bytes_only and sums is np.int32


def _is_matrix(nest: Nest) -> bool:
    """Whether a window is a row of the ifmap, and each row is read once."""
    if nest.groups > 1 or nest.pad_top or nest.pad_left:
        return False
    kernel, size = (nest.kernel_h, nest.kernel_w), (nest.in_h, nest.in_w)
    out, stride = (nest.out_h, nest.out_w), (nest.stride_h, nest.stride_w)
    pixel = kernel == (1, 1) and stride == (1, 1) and out == size
    whole = kernel == size and out == (1, 1) and (nest.dilation_h, nest.dilation_w) == (1, 1)
    return pixel or whole


def _stretches(nest: Nest, width: int) -> tuple[np.ndarray, int]:
    """Offsets of a window's stretches in the padded image (of the first group), and their bytes."""
    channels = nest.groups * nest.k
    rows, cols = np.indices((nest.kernel_h, nest.kernel_w), np.int64)
    line = nest.dilation_h * width * channels
    if nest.groups == 1 and nest.dilation_w == 1:
        if nest.kernel_w == width and nest.dilation_h == 1:
            return np.zeros(1, np.int64), nest.kernel_h * nest.kernel_w * nest.k
        return np.arange(nest.kernel_h, dtype=np.int64) * line, nest.kernel_w * nest.k
    return (rows * line + cols * nest.dilation_w * channels).reshape(-1), nest.k


def pack(command: Matmul, weights: np.ndarray, channels: Channels, signed: bool) -> Packed:
    """``weights`` (groups, kernel_h, kernel_w, k, n) of codes in bytes; ``signed``: the ifmap's codes."""
    nest = command.nest
    height = (nest.out_h - 1) * nest.stride_h + (nest.kernel_h - 1) * nest.dilation_h + 1
    width = (nest.out_w - 1) * nest.stride_w + (nest.kernel_w - 1) * nest.dilation_w + 1
    flip = _FLIP if signed else 0
    values, zero = weights.astype(np.int64) - command.weight_offset, 0
    if values.min() < -_FLIP or values.max() >= _FLIP:
        zero = command.weight_offset - (0 if weights.dtype.kind == "i" else _FLIP)
        values += zero
    terms = nest.kernel_h * nest.kernel_w * nest.k
    above = command.ifmap_offset + flip
    totals = values.sum(axis=(1, 2, 3)).reshape(-1)
    bias = channels.bias - above * totals + terms * above * zero
    depthwise, matrix = nest.n == nest.k == 1 and nest.groups > 1, _is_matrix(nest)
    tiles = matrix and chosen_unit() == AMX
    multiple = amx.BYTES // STEP if tiles else 1
    form = _depthwise(nest, values, width) if depthwise else _dense(nest, values, width, multiple)
    joined = np.concatenate([*form.parts, form.ones])
    packed = aligned(joined.size)
    packed[:] = joined
    layout = Layout(
        height, width, nest.groups * nest.k, flip, form.steps, *(ROWS[v] for v in (1, 2, 3, 4))
    )
    finish = _finish_of(bias, channels, command.requantize.zero_point)
    return Packed(
        packed, form.blocks, form.starts, layout, zero, joined.size - form.ones.size, finish,
        depthwise, matrix, tiles, _numbers(finish, form.blocks, command.requantize),
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
    starts, length = _stretches(nest, width)
    steps, columns = -(-length // (STEP * multiple)) * multiple, _MOST_VECTORS * LANES
    by_step = np.zeros((nest.groups, starts.size, steps * STEP, nest.n), np.int8)
    by_step[:, :, :length] = values.reshape(nest.groups, starts.size, length, nest.n)
    by_step = by_step.reshape(nest.groups, starts.size * steps, STEP, nest.n)
    blocks, parts, offset = [], [], 0
    for group in range(nest.groups):
        for first in range(0, nest.n, columns):
            part = by_step[group, :, :, first : first + columns].transpose(0, 2, 1)
            vectors = -(-part.shape[1] // LANES)
            whole = np.zeros((part.shape[0], vectors * LANES, STEP), np.int8)
            whole[:, : part.shape[1]] = part
            blocks.append((group * nest.n + first, part.shape[1], vectors, offset))
            parts.append(whole.reshape(-1))
            offset += whole.size
    there = np.zeros((starts.size, steps * STEP), np.int8)
    there[:, :length] = 1
    ones = np.zeros((starts.size * steps, LANES, STEP), np.int8)
    ones[:, 0] = there.reshape(-1, STEP)
    groups = np.arange(nest.groups, dtype=np.int64)[:, None] * nest.k
    return _Form(
        parts, ones.reshape(-1), np.array(blocks, np.int64).reshape(nest.groups, -1, 4),
        groups + starts[None, :], steps,
    )  # fmt: skip


def _depthwise(nest: Nest, values: np.ndarray, width: int) -> _Form:
    """Of one input and one output channel in each group; one block holds them all."""
    taps, channels = nest.kernel_h * nest.kernel_w, nest.groups
    steps, vectors = -(-taps // STEP), -(-channels // LANES)
    rows, cols = np.indices((nest.kernel_h, nest.kernel_w), np.int64)
    places = rows * nest.dilation_h * width + cols * nest.dilation_w
    starts = np.zeros(steps * STEP, np.int64)
    starts[:taps] = places.reshape(-1) * channels

    def by_step(of_taps: np.ndarray) -> np.ndarray:
        whole = np.zeros((steps * STEP, vectors * LANES), np.int8)
        whole[:taps, :channels] = of_taps
        return whole.reshape(steps, STEP, vectors, LANES).transpose(2, 0, 3, 1).reshape(-1)

    blocks = np.array([[(0, channels, vectors, 0)]], np.int64)
    ones = by_step(np.ones((taps, channels), np.int8))
    weights = by_step(values.reshape(channels, taps).T.astype(np.int8))
    return _Form([weights], ones, blocks, starts[None, :], steps)


def _finish_of(bias: np.ndarray, channels: Channels, zero: int) -> Finish:
    """Behind the last channel is room for a whole register."""
    shift = channels.shift if channels.multiplier.any() else np.zeros_like(channels.shift)
    left, right = np.maximum(shift, 0), np.clip(-shift, 0, 62)
    half = np.where(right > 0, 1 << np.maximum(right - 1, 0), 0)
    found = (
        bias.astype(np.int32), channels.multiplier.astype(np.int32), left.astype(np.int32), half,
        np.where(right > 0, -1, 0), right, half + (zero << np.minimum(right, 31)),
    )  # fmt: skip
    return Finish(*(np.concatenate([part, np.zeros(LANES, part.dtype)]) for part in found))


def _numbers(finish: Finish, blocks: np.ndarray, stage: Requantize) -> np.ndarray:
    parts = (
        finish.bias, finish.multiplier, finish.left, finish.half_and_zero, finish.away, finish.right
    )  # fmt: skip
    found = np.zeros((*blocks.shape[:2], 8), np.int64)
    for place, part in enumerate(parts):
        found[..., place] = part.ctypes.data + part.itemsize * blocks[..., 0]
    found[..., 6:] = stage.clamp_min, stage.clamp_max
    return found


# --- kernels -------------------------------------------------------------------------------------


@jit
def _fill(image, x, nest, layout):
    """The pixels of ``x`` (in_h, in_w, channels) of unsigned bytes into the padded image, flat."""
    row = layout.width * layout.channels
    first = max(0, -nest.pad_left)
    count = max(0, min(nest.in_w, layout.width - nest.pad_left) - first) * layout.channels
    for iy in range(max(0, -nest.pad_top), min(nest.in_h, layout.height - nest.pad_top)):
        at = (iy + nest.pad_top) * row + (nest.pad_left + first) * layout.channels
        start = (iy * nest.in_w + first) * layout.channels
        copy_bytes(image.ctypes.data + at, x.ctypes.data + start, count, layout.flip, 64, 0, 0)


@jit
def _double_rounding(block, rows, columns, finish, numerics, out):
    """Double rounding of a block of sums; without a branch, so that it vectorises.

    ``away`` is -1 where there is a right shift: the second rounding's ties go away from zero. Equal to
    ``fixedpoint.requantize.double_rounding``.
    """
    low, high = np.int64(numerics.clamp_min), np.int64(numerics.clamp_max)
    zero = np.int64(numerics.zero_point)
    for r in range(rows):
        sums, codes = block[r], out[r]
        for c in range(columns):
            total = np.int32(sums[c] + finish.bias[c])
            shifted = np.int64(np.int32(total << finish.left[c]))
            product = (shifted * np.int64(finish.multiplier[c]) + (1 << 30)) >> 31
            rounded = product + finish.half[c] + ((product >> 63) & finish.away[c])
            code = zero + (rounded >> finish.right[c])
            codes[c] = min(max(code, low), high)


@jit
def _unrounded(block, rows, columns, bias, out):
    """The sums themselves."""
    for r in range(rows):
        sums, codes = block[r], out[r]
        for c in range(columns):
            codes[c] = np.int32(sums[c] + bias[c])


@jit
def _any_rounding(block, rows, columns, first, bias, channels, numerics, out):
    """Any output stage; returns the overflows."""
    overflows = 0
    for r in range(rows):
        for c in range(columns):
            total = np.int64(np.int32(block[r, c] + bias[c]))
            if not fits(total, numerics.accumulator_bits):
                overflows += 1
            total = wrap(total, numerics.accumulator_bits)
            channel = first + c
            kind = numerics.requantizer
            if channel >= numerics.tail_from:
                kind = numerics.tail_requantizer
            code = np.int64(numerics.zero_point)
            if kind == THRESHOLDS:
                code += reached(channels.thresholds[channel], channels.shift[channel] * total)
            else:
                code += requantize(
                    kind, total, channels.multiplier[channel], channels.shift[channel]
                )
            out[r, c] = min(max(code, numerics.clamp_min), numerics.clamp_max)
    return overflows


@jit
def _rows_of(layout, vectors):
    """Rows of a block whose columns take ``vectors`` registers."""
    if vectors == 1:
        return layout.rows_of_1
    if vectors == 2:
        return layout.rows_of_2
    return layout.rows_of_3 if vectors == 3 else layout.rows_of_4


@jit
def _multiply(vectors, rows, starts, stretches, steps, weights, block):
    """A block of sums from the row addresses at ``rows``; all are addresses and counts."""
    if vectors == 1:
        multiply_1(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)
    elif vectors == 2:
        multiply_2(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)
    elif vectors == 3:
        multiply_3(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)
    else:
        multiply_4(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)


@jit
def _addresses(image, nest, layout, pixel, count, rows):
    """Addresses of the windows of ``count`` pixels from ``pixel`` on; what is left over is the last's."""
    oy, ox = pixel // nest.out_w, pixel % nest.out_w
    down = nest.stride_h * layout.width * layout.channels
    across = nest.stride_w * layout.channels
    at = image.ctypes.data + oy * down + ox * across
    for r in range(count):
        rows[r] = at
        ox += 1
        at += across
        if ox == nest.out_w:
            ox = 0
            at += down - nest.out_w * across
    for r in range(count, rows.size):
        rows[r] = rows[count - 1]


@jit
def _less(sums, rows, columns, spread, totals):
    """Take W sum a from the sums: ``totals`` (rows, 1 or columns)."""
    for r in range(rows):
        for c in range(columns):
            sums[r, c] -= np.int32(spread * totals[r, min(c, totals.shape[1] - 1)])


@jit
def _finished(block, count, first, columns, stage, channels, numerics, codes):
    """The output stage of a block of sums; returns the overflows. ``stage`` is the whole command's, and
    the addresses of the block's part of it."""
    finish, way, numbers = stage
    if way == _DOUBLE_BYTES:
        finish_bytes(
            block.ctypes.data, block.strides[0], count, columns, numbers.ctypes.data,
            codes.ctypes.data, codes.strides[0],
        )  # fmt: skip
        return 0
    if way == _DOUBLE:
        own = Finish(
            finish.bias[first : first + columns], finish.multiplier[first : first + columns],
            finish.left[first : first + columns], finish.half[first : first + columns],
            finish.away[first : first + columns], finish.right[first : first + columns],
            finish.half_and_zero,
        )  # fmt: skip
        _double_rounding(block, count, columns, own, numerics, codes)
        return 0
    bias = finish.bias[first : first + columns]
    if way == _NONE:
        _unrounded(block, count, columns, bias, codes)
        return 0
    return _any_rounding(block, count, columns, first, bias, channels, numerics, codes)


@jit
def run_depthwise(x, image, weights, blocks, starts, packed, channels, nest, numerics, out):
    """As :func:`run_packed`, of one input and one output channel in each group."""
    layout, finish, spread, ones, way, numbers = packed
    first, columns, vectors, _ = blocks[0, 0]
    rows = np.zeros(_STRIP, np.int64)
    sums = np.zeros((_STRIP, vectors * LANES), np.int32)
    totals = np.zeros((_STRIP if spread != 0 else 0, vectors * LANES), np.int32)
    pixels, bytes_ = nest.out_h * nest.out_w, 4 * sums.shape[1]
    base, offsets, addresses = weights.ctypes.data, starts.ctypes.data, rows.ctypes.data
    target, other = sums.ctypes.data, totals.ctypes.data
    overflows = 0
    for sample in range(x.shape[0]):
        _fill(image, x[sample], nest, layout)
        for pixel in range(0, pixels, _STRIP):
            count = min(_STRIP, pixels - pixel)
            _addresses(image, nest, layout, pixel, count, rows)
            for r in range(0, count, PIXELS):
                at = addresses + 8 * r
                multiply_depthwise(
                    at, offsets, vectors, layout.steps, base, target + r * bytes_, bytes_
                )
                if spread != 0:
                    multiply_depthwise(
                        at, offsets, vectors, layout.steps, base + ones, other + r * bytes_, bytes_
                    )
            if spread != 0:
                _less(sums, count, columns, spread, totals)
            stage = finish, way, numbers[0, 0]
            codes = out[sample, pixel : pixel + count, first : first + columns]
            overflows += _finished(sums, count, first, columns, stage, channels, numerics, codes)
    return overflows


@jit
def _multiply_tiles(left, right, right_bytes, steps, sums, padded, columns):
    """All rows of a chunk by up to two vectors of columns; addresses, and bytes from row to row.

    ``sums``: address of the result, bytes to its next row, address of what each row starts with.
    """
    target, sum_bytes, first = sums
    at_once, down = _TILE_BYTES // amx.BYTES, steps * amx.TILE_BYTES
    for step in range(0, steps, at_once):
        count = min(at_once, steps - step)
        weights = right + step * amx.ROWS * right_bytes
        for r in range(0, padded, amx.BLOCK):
            row = left + r // amx.ROWS * down + step * amx.TILE_BYTES
            block = target + r * sum_bytes
            if step == 0 and columns == 2:
                amx.start_32(row, down, weights, right_bytes, count, block, sum_bytes, first)
            elif step == 0:
                amx.start_16(row, down, weights, right_bytes, count, block, sum_bytes, first)
            elif columns == 2:
                amx.add_32(row, down, weights, right_bytes, count, block, sum_bytes, first)
            else:
                amx.add_16(row, down, weights, right_bytes, count, block, sum_bytes, first)


@jit
def run_tiles(x, room, weights, blocks, tiles, packed, channels, numerics, out):
    """A product of matrices: ``x`` (chunks, rows, bytes) unsigned, ``out`` (chunks, rows, channels).

    ``room``: for the rows as whole tiles, [16 rows][step of 64 bytes][row][64 bytes], and for their sums.
    Returns the overflows.
    """
    layout, finish, spread, ones, way, numbers = packed
    image, scratch = room
    rows, depth = x.shape[1], x.shape[2]
    padded = -(-rows // amx.BLOCK) * amx.BLOCK
    sums = scratch.view(np.int32).reshape(-1, _MOST_VECTORS * LANES)
    totals = np.zeros((padded if spread != 0 else 0, LANES), np.int32)
    nothing = np.zeros(amx.BLOCK, np.int32)
    base, left = weights.ctypes.data, image.ctypes.data
    steps, overflows = layout.steps * STEP // amx.BYTES, 0
    tile_bytes = steps * amx.TILE_BYTES
    amx.configure(tiles.ctypes.data)
    for chunk in range(x.shape[0]):
        source = x[chunk].ctypes.data
        for r in range(rows):
            at = left + r // amx.ROWS * tile_bytes + r % amx.ROWS * amx.BYTES
            copy_bytes(at, source + r * depth, depth, layout.flip, amx.TILE_BYTES, 0, 0)
        if spread != 0:
            target = totals.ctypes.data, amx.BYTES, nothing.ctypes.data
            _multiply_tiles(left, base + ones, amx.BYTES, steps, target, padded, 1)
        for j in range(blocks.shape[1]):
            first, columns, vectors, offset = blocks[0, j]
            # Whole tiles of sums that are the result go where they belong at once.
            direct = way == _NONE and spread == 0 and padded == rows and columns == vectors * LANES
            codes = out[chunk, :, first : first + columns]
            for v in range(0, vectors, 2):
                right = base + offset + v * amx.BYTES
                if direct:
                    start = finish.bias.ctypes.data + 4 * first + v * amx.BYTES
                    target = codes.ctypes.data + v * amx.BYTES, out.strides[1], start
                else:
                    target = sums.ctypes.data + v * amx.BYTES, _BLOCK_BYTES, nothing.ctypes.data
                _multiply_tiles(
                    left, right, vectors * amx.BYTES, steps, target, padded,
                    min(2, vectors - v),
                )  # fmt: skip
            if spread != 0:
                _less(sums, rows, columns, spread, totals[:, :1])
            if not direct:
                stage = finish, way, numbers[0, j]
                overflows += _finished(sums, rows, first, columns, stage, channels, numerics, codes)
    amx.release()
    return overflows


@jit
def run_packed(x, image, weights, blocks, starts, packed, channels, nest, numerics, out):
    """The whole command: ``x`` (samples, in_h, in_w, channels) unsigned bytes, ``out`` (samples, pixels,
    channels); ``image`` is the padded image with its padding in place. Returns the overflows."""
    layout, finish, spread, ones, way, numbers = packed
    rows = np.zeros(_STRIP, np.int64)
    sums = np.zeros((_STRIP, _MOST_VECTORS * LANES), np.int32)
    totals = np.zeros((_STRIP if spread != 0 else 0, _MOST_VECTORS * LANES), np.int32)
    pixels, stretches = nest.out_h * nest.out_w, starts.shape[1]
    base, addresses = weights.ctypes.data, rows.ctypes.data
    target, other = sums.ctypes.data, totals.ctypes.data
    overflows = 0
    for sample in range(x.shape[0]):
        _fill(image, x[sample], nest, layout)
        for pixel in range(0, pixels, _STRIP):
            count = min(_STRIP, pixels - pixel)
            _addresses(image, nest, layout, pixel, count, rows)
            for g in range(blocks.shape[0]):
                offsets = starts.ctypes.data + 8 * g * stretches
                if spread != 0:
                    for r in range(0, count, _rows_of(layout, 1)):
                        at, block = addresses + 8 * r, other + r * _BLOCK_BYTES
                        _multiply(1, at, offsets, stretches, layout.steps, base + ones, block)
                for j in range(blocks.shape[1]):
                    first, columns, vectors, offset = blocks[g, j]
                    for r in range(0, count, _rows_of(layout, vectors)):
                        at, block = addresses + 8 * r, target + r * _BLOCK_BYTES
                        _multiply(
                            vectors, at, offsets, stretches, layout.steps, base + offset, block
                        )
                    if spread != 0:
                        _less(sums, count, columns, spread, totals[:, :1])
                    stage = finish, way, numbers[g, j]
                    codes = out[sample, pixel : pixel + count, first : first + columns]
                    overflows += _finished(
                        sums, count, first, columns, stage, channels, numerics, codes
                    )
    return overflows


def run(
    packed: Packed, command: Matmul, channels: Channels, numerics: Numerics, never_overflows: bool,
    x: np.ndarray, out: np.ndarray,
) -> int:  # fmt: skip
    """Fill ``out`` (samples, out_h, out_w, channels) from ``x``; returns overflowed outputs."""
    nest, way = command.nest._replace(batch=1), _ANY
    if never_overflows and numerics.tail_from >= nest.groups * nest.n:
        narrow = out.dtype == np.int32 and numerics.zero_point == 0
        double = _DOUBLE_BYTES if out.itemsize == 1 else _DOUBLE
        ways = {DOUBLE_ROUNDING: double, **({NONE: _NONE} if narrow else {})}
        way = ways.get(numerics.requantizer, _ANY)
    rest = packed.layout, packed.finish, packed.spread, packed.ones, way, packed.numbers
    bytes_ = x.view(np.uint8)
    if packed.matrix:
        return _run_matrix(packed, rest, command, channels, numerics, bytes_, out)
    layout = packed.layout
    size = layout.height * layout.width * layout.channels
    pad = (command.pad_code + layout.flip) % 256
    image = aligned(size + _SLACK).view(np.uint8)
    image.fill(pad)
    kernel = run_depthwise if packed.depthwise else run_packed
    return kernel(
        bytes_, image, packed.weights, packed.blocks, packed.starts, rest, channels, nest, numerics,
        out.reshape(out.shape[0], -1, out.shape[-1]),
    )  # fmt: skip


def _run_matrix(
    packed: Packed, rest: tuple, command: Matmul, channels: Channels, numerics: Numerics,
    x: np.ndarray, out: np.ndarray,
) -> int:  # fmt: skip
    """The rows of all samples, as many at once as the caches hold."""
    depth = command.nest.kernel_h * command.nest.kernel_w * command.nest.k
    rows, codes = x.reshape(-1, depth), out.reshape(-1, out.shape[-1])
    most = min(max(_MATRIX_BYTES // depth, amx.BLOCK), _MOST_MATRIX_ROWS)
    whole = rows.shape[0] // most * most
    overflows = 0
    for start, end, size in ((0, whole, most), (whole, rows.shape[0], rows.shape[0] - whole)):
        if start == end:
            continue
        part = rows[start:end].reshape(-1, size, depth)
        target = codes[start:end].reshape(-1, size, codes.shape[1])
        image = aligned((size + amx.BLOCK) * 4 * packed.layout.steps + _SLACK).view(np.uint8)
        if packed.tiles:
            room = image, aligned(-(-size // amx.BLOCK) * amx.BLOCK * _BLOCK_BYTES)
            overflows += run_tiles(
                part, room, packed.weights, packed.blocks, amx.configuration(), rest, channels,
                numerics, target,
            )  # fmt: skip
            continue
        nest = untiled(out=(1, size), n=command.nest.n, k=depth, ifmap=(1, size))
        layout = rest[0]._replace(height=1, width=size, channels=depth)
        overflows += run_packed(
            part[:, None], image, packed.weights, packed.blocks, packed.starts,
            (layout, *rest[1:]), channels, nest, numerics, target,
        )  # fmt: skip
    return overflows
