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

import numpy as np

from simulator.datapath import amx
from simulator.datapath.matmul import Channels, Numerics, code_of_sum
from simulator.datapath.packing import MOST_VECTORS, Finish, Packed, aligned
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
from simulator.fixedpoint.requantize import DOUBLE_ROUNDING, NONE
from simulator.fixedpoint.width import fits, wrap
from simulator.jit import jit
from simulator.program.commands import Matmul
from simulator.program.nest import untiled

_ROWS = (0, *ROWS.values())  # of a block, by the registers that hold its columns
# Pixels whose sums wait for the output stage together: a multiple of the rows of every block.
_STRIP = 48
_BLOCK_BYTES = 4 * LANES * MOST_VECTORS  # from one row of sums to the next
# Behind an image: what the last step of its last row reads beyond it.
_SLACK = 64
# Rows of a matrix at once: their bytes stay in the processor's second cache.
_MATRIX_BYTES = 1 << 18
_MOST_MATRIX_ROWS = 64
# Bytes of a row that tiles take before they go on to the next rows: of 32 columns they stay in the first.
_TILE_BYTES = 1024
# The output stages that have a loop of their own.
_ANY, _DOUBLE, _NONE, _DOUBLE_BYTES = range(4)


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
    for r in range(rows):
        sums, codes = block[r], out[r]
        for c in range(columns):
            total = np.int32(sums[c] + finish.bias[c])
            shifted = np.int64(np.int32(total << finish.left[c]))
            product = (shifted * np.int64(finish.multiplier[c]) + (1 << 30)) >> 31
            rounded = product + finish.half[c] + ((product >> 63) & finish.away[c])
            codes[c] = min(max(rounded >> finish.right[c], low), high)


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
            out[r, c] = code_of_sum(total, first + c, numerics, channels)
    return overflows


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
def _finished(block, count, first, columns, stage, channels, numerics, out):
    """The output stage of a block of sums into their columns of ``out``; returns the overflows. ``stage``
    is the whole command's, and the addresses of the block's part of it."""
    codes = out[:, first : first + columns]
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
            stage, codes = (finish, way, numbers[0, 0]), out[sample, pixel : pixel + count]
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
    sums = scratch.view(np.int32).reshape(-1, MOST_VECTORS * LANES)
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
            for v in range(0, vectors, 2):
                right = base + offset + v * amx.BYTES
                if direct:
                    start = finish.bias.ctypes.data + 4 * first + v * amx.BYTES
                    codes = out[chunk, :, first:].ctypes.data
                    target = codes + v * amx.BYTES, out.strides[1], start
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
                overflows += _finished(
                    sums, rows, first, columns, stage, channels, numerics, out[chunk]
                )
    amx.release()
    return overflows


@jit
def run_packed(x, image, weights, blocks, starts, packed, channels, nest, numerics, out):
    """The whole command: ``x`` (samples, in_h, in_w, channels) unsigned bytes, ``out`` (samples, pixels,
    channels); ``image`` is the padded image with its padding in place. Returns the overflows."""
    layout, finish, spread, ones, way, numbers = packed
    rows = np.zeros(_STRIP, np.int64)
    sums = np.zeros((_STRIP, MOST_VECTORS * LANES), np.int32)
    totals = np.zeros((_STRIP if spread != 0 else 0, MOST_VECTORS * LANES), np.int32)
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
                    for r in range(0, count, _ROWS[1]):
                        at, block = addresses + 8 * r, other + r * _BLOCK_BYTES
                        _multiply(1, at, offsets, stretches, layout.steps, base + ones, block)
                for j in range(blocks.shape[1]):
                    first, columns, vectors, offset = blocks[g, j]
                    for r in range(0, count, _ROWS[vectors]):
                        at, block = addresses + 8 * r, target + r * _BLOCK_BYTES
                        _multiply(
                            vectors, at, offsets, stretches, layout.steps, base + offset, block
                        )
                    if spread != 0:
                        _less(sums, count, columns, spread, totals[:, :1])
                    stage, codes = (finish, way, numbers[g, j]), out[sample, pixel : pixel + count]
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
