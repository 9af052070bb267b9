"""Exact products on the processor's dot-product instruction.

The image is copied once, with its padding around it, as bytes or words; weights are packed once. A window
then is a few stretches of contiguous operands at offsets that are the same for every pixel, and no tap is
copied twice. Where every window is a row of the ifmap by itself, as in 1 x 1 convolutions and fully
connected layers, the rows of all samples are one matrix. Words stand for what is left of a code when its
zero point is taken away, so their products' sum is the sum. With ``a`` and ``w`` unsigned and signed bytes,
``A`` and ``W`` what stands for 0 among them, over K terms

    sum (a - A) (w - W)  =  sum a w  -  A sum w  -  W sum a  +  K A W

where all but ``sum a w`` and, if W is not 0, ``sum a`` is constant for a channel and joins its bias. Sums
wrap at 32 bits on the way; the final ones fit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from simulator.datapath import amx
from simulator.datapath.counts import EXCESS, FIRST, OVERFLOWS, new_counts
from simulator.datapath.llvm import LANES
from simulator.datapath.llvm_bytes import copy_bytes
from simulator.datapath.llvm_products import (
    BYTE_ROWS,
    PIXELS,
    STEP,
    WORD_ROWS,
    bytes_1,
    bytes_2,
    bytes_3,
    bytes_4,
    bytes_depthwise,
    words_1,
    words_2,
    words_3,
    words_4,
    words_depthwise,
)
from simulator.datapath.matmul import Channels, Numerics, any_rounding
from simulator.datapath.output import ANY, UNROUNDED, Stage, finished, way_of
from simulator.datapath.packing import BYTES, MOST_VECTORS, WORDS, Layout, Packed, aligned
from simulator.jit import jit
from simulator.program.commands import Matmul
from simulator.program.nest import macs

# Rows of a block, by the size of operands and the vectors that hold its columns.
_ROWS = tuple(
    tuple(rows.get(vectors, 0) for vectors in range(MOST_VECTORS + 1))
    for rows in ({}, BYTE_ROWS, WORD_ROWS)
)
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
# Multiply-accumulates from which on it pays to start a thread.
_WORK_OF_A_THREAD = 1 << 22


@jit
def _fill(image, x, nest, layout):
    """The pixels of ``x`` (in_h, in_w, channels) into the padded image, flat."""
    row = layout.width * layout.pixel_bytes
    first = max(0, -nest.pad_left)
    columns = max(0, min(nest.in_w, layout.width - nest.pad_left) - first)
    flat = x.reshape(-1)
    for iy in range(max(0, -nest.pad_top), min(nest.in_h, layout.height - nest.pad_top)):
        at = (iy + nest.pad_top) * row + (nest.pad_left + first) * layout.pixel_bytes
        if layout.size == BYTES:
            start = (iy * nest.in_w + first) * layout.pixel_bytes
            count = columns * layout.pixel_bytes
            copy_bytes(
                image.ctypes.data + at, flat.ctypes.data + start, count, layout.flip, 64, 0, 0
            )
            continue
        channels = layout.pixel_bytes // WORDS
        source = flat[(iy * nest.in_w + first) * channels :]
        target = image[at // WORDS :]
        for i in range(columns * channels):
            target[i] = np.int64(source[i]) - layout.offset  # fits a word: packing has seen to it


@jit
def _multiply(size, vectors, rows, starts, stretches, steps, weights, block):
    """A block of sums from the row addresses at ``rows``; all are addresses and counts."""
    if size == BYTES:
        if vectors == 1:
            bytes_1(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)
        elif vectors == 2:
            bytes_2(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)
        elif vectors == 3:
            bytes_3(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)
        else:
            bytes_4(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)
    elif vectors == 1:
        words_1(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)
    elif vectors == 2:
        words_2(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)
    elif vectors == 3:
        words_3(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)
    else:
        words_4(rows, starts, stretches, steps, weights, block, _BLOCK_BYTES)


@jit
def _multiply_depthwise(size, rows, starts, vectors, steps, weights, block, block_bytes):
    """Likewise, of one channel in each group."""
    if size == BYTES:
        bytes_depthwise(rows, starts, vectors, steps, weights, block, block_bytes)
    else:
        words_depthwise(rows, starts, vectors, steps, weights, block, block_bytes)


@jit
def addresses(base, down, across, out_w, pixel, count, rows):
    """Addresses of the windows of ``count`` pixels from ``pixel`` on; what is left over is the last's.

    ``down``, ``across``: from one row, or column, of pixels to the next.
    """
    oy, ox = pixel // out_w, pixel % out_w
    at = base + oy * down + ox * across
    for r in range(count):
        rows[r] = at
        ox += 1
        at += across
        if ox == out_w:
            ox = 0
            at += down - out_w * across
    for r in range(count, rows.size):
        rows[r] = rows[count - 1]


@jit
def _windows(image, nest, layout, pixel, count, rows):
    down = nest.stride_h * layout.width * layout.pixel_bytes
    across = nest.stride_w * layout.pixel_bytes
    addresses(image.ctypes.data, down, across, nest.out_w, pixel, count, rows)


@jit
def _less(sums, rows, columns, spread, totals):
    """Take W sum a from the sums: ``totals`` (rows, 1 or columns)."""
    for r in range(rows):
        for c in range(columns):
            sums[r, c] -= np.int32(spread * totals[r, min(c, totals.shape[1] - 1)])


@jit
def run_depthwise(x, image, weights, blocks, starts, packed, nest, window, out, counts):
    """As :func:`run_packed`, of one input and one output channel in each group."""
    layout, spread, ones, stage = packed
    first, columns, vectors, _ = blocks[0, 0]
    rows = np.zeros(_STRIP, np.int64)
    sums = np.zeros((_STRIP, vectors * LANES), np.int32)
    totals = np.zeros((_STRIP if spread != 0 else 0, vectors * LANES), np.int32)
    pixels, bytes_ = nest.out_h * nest.out_w, 4 * sums.shape[1]
    base, offsets, places = weights.ctypes.data, starts.ctypes.data, rows.ctypes.data
    target, other = sums.ctypes.data, totals.ctypes.data
    begin, end, first_row = window
    for sample in range(x.shape[0]):
        _fill(image, x[sample], nest, layout)
        for pixel in range(begin, end, _STRIP):
            count = min(_STRIP, end - pixel)
            _windows(image, nest, layout, pixel, count, rows)
            for r in range(0, count, PIXELS):
                at = places + 8 * r
                _multiply_depthwise(
                    layout.size, at, offsets, vectors, layout.steps, base, target + r * bytes_,
                    bytes_,
                )  # fmt: skip
                if spread != 0:
                    _multiply_depthwise(
                        layout.size, at, offsets, vectors, layout.steps, base + ones,
                        other + r * bytes_, bytes_,
                    )  # fmt: skip
            if spread != 0:
                _less(sums, count, columns, spread, totals)
            place = (first_row + sample * pixels + pixel) * out.shape[2], out.shape[2]
            codes = out[sample, pixel : pixel + count]
            finished(
                sums, count, first, columns, stage, stage.numbers[0, 0], place,
                codes, counts,
            )  # fmt: skip


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
def run_tiles(x, room, weights, blocks, tiles, packed, first_row, out, counts):
    """A product of matrices: ``x`` (chunks, rows, bytes) unsigned, ``out`` (chunks, rows, channels).

    ``room``: for the rows as whole tiles, [16 rows][step of 64 bytes][row][64 bytes], and for their sums.
    ``first_row``: how many rows of the command come before.
    """
    layout, spread, ones, stage = packed
    image, scratch = room
    rows, depth = x.shape[1], x.shape[2]
    padded = -(-rows // amx.BLOCK) * amx.BLOCK
    sums = scratch.view(np.int32).reshape(-1, MOST_VECTORS * LANES)
    totals = np.zeros((padded if spread != 0 else 0, LANES), np.int32)
    nothing = np.zeros(amx.BLOCK, np.int32)
    base, left = weights.ctypes.data, image.ctypes.data
    steps = layout.steps * STEP // amx.BYTES
    tile_bytes = steps * amx.TILE_BYTES
    unrounded = stage.way == UNROUNDED and stage.wrap_bits == 0
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
            direct = unrounded and spread == 0 and padded == rows and columns == vectors * LANES
            for v in range(0, vectors, 2):
                right = base + offset + v * amx.BYTES
                if direct:
                    start = stage.finish.bias.ctypes.data + 4 * first + v * amx.BYTES
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
                place = (first_row + chunk * rows) * out.shape[2], out.shape[2]
                finished(
                    sums, rows, first, columns, stage, stage.numbers[0, j],
                    place, out[chunk], counts,
                )  # fmt: skip
    amx.release()


@jit
def run_packed(x, image, weights, blocks, starts, packed, nest, window, out, counts):
    """The whole command: ``x`` (samples, in_h, in_w, channels) of codes, as unsigned bytes where operands
    are bytes; ``out`` (samples, pixels, channels); ``image`` is the padded image with its padding in
    place. ``window``: the first pixel of a sample to make, where they end, and how many rows of the
    command come before ``out``."""
    layout, spread, ones, stage = packed
    size = layout.size
    rows = np.zeros(_STRIP, np.int64)
    sums = np.zeros((_STRIP, MOST_VECTORS * LANES), np.int32)
    totals = np.zeros((_STRIP if spread != 0 else 0, MOST_VECTORS * LANES), np.int32)
    pixels, stretches = nest.out_h * nest.out_w, starts.shape[1]
    base, places = weights.ctypes.data, rows.ctypes.data
    target, other = sums.ctypes.data, totals.ctypes.data
    begin, end, first_row = window
    for sample in range(x.shape[0]):
        _fill(image, x[sample], nest, layout)
        for pixel in range(begin, end, _STRIP):
            count = min(_STRIP, end - pixel)
            _windows(image, nest, layout, pixel, count, rows)
            place = (first_row + sample * pixels + pixel) * out.shape[2], out.shape[2]
            for g in range(blocks.shape[0]):
                offsets = starts.ctypes.data + 8 * g * stretches
                if spread != 0:
                    for r in range(0, count, _ROWS[size][1]):
                        at, block = places + 8 * r, other + r * _BLOCK_BYTES
                        _multiply(size, 1, at, offsets, stretches, layout.steps, base + ones, block)
                for j in range(blocks.shape[1]):
                    first, columns, vectors, offset = blocks[g, j]
                    for r in range(0, count, _ROWS[size][vectors]):
                        at, block = places + 8 * r, target + r * _BLOCK_BYTES
                        _multiply(
                            size, vectors, at, offsets, stretches, layout.steps, base + offset,
                            block,
                        )  # fmt: skip
                    if spread != 0:
                        _less(sums, count, columns, spread, totals[:, :1])
                    finished(
                        sums, count, first, columns, stage, stage.numbers[g, j],
                        place, out[sample, pixel : pixel + count], counts,
                    )  # fmt: skip


def run(
    packed: Packed, command: Matmul, channels: Channels, numerics: Numerics, never_overflows: bool,
    x: np.ndarray, out: np.ndarray, counts: np.ndarray, threads: int = 1,
) -> None:  # fmt: skip
    """Fill ``out`` (samples, out_h, out_w, channels) from ``x``; overflows are added to ``counts``.

    ``threads`` share the pixels of large products.
    """
    way = way_of(numerics, out.shape[-1], out.dtype)
    wrap_bits = 0 if never_overflows else numerics.accumulator_bits
    loop = UNROUNDED if way == ANY else way
    stage = Stage(packed.finish, loop, packed.numbers, wrap_bits)
    codes = out.view(np.int8) if out.itemsize == 1 else out  # one loop for both kinds of bytes
    sums = np.zeros(out.shape, np.int32) if way == ANY else codes
    if threads > 1:
        _shared(packed, stage, command, x, sums, counts, threads)
    else:
        _run(packed, stage, command, (0, _rows(packed, x)), x, sums, counts)
    if way == ANY:
        last = out.shape[-1]
        any_rounding(sums.reshape(-1, last), channels, numerics, out.reshape(-1, last))


def _rows(packed: Packed, x: np.ndarray) -> int:
    """Pixels of a sample, or of a matrix the rows of all of them."""
    pixels = packed.nest.out_h * packed.nest.out_w
    return x.shape[0] * pixels if packed.matrix else pixels


def _shared(
    packed: Packed, stage: Stage, command: Matmul, x: np.ndarray, out: np.ndarray,
    counts: np.ndarray, threads: int,
) -> None:  # fmt: skip
    rows = _rows(packed, x)
    strips = -(-rows // _STRIP)
    work = macs(packed.nest) * x.shape[0]
    parts = min(threads, strips, max(1, work // _WORK_OF_A_THREAD))
    borders = [min(strips * i // parts * _STRIP, rows) for i in range(parts + 1)]

    def part(window: tuple[int, int]) -> np.ndarray:
        own = new_counts()
        _run(packed, stage, command, window, x, out, own)
        return own

    with ThreadPoolExecutor(parts) as pool:
        for own in pool.map(part, pairwise(borders)):
            counts[OVERFLOWS] += own[OVERFLOWS]
            counts[FIRST] = min(counts[FIRST], own[FIRST])
            counts[EXCESS] = max(counts[EXCESS], own[EXCESS])


def _run(
    packed: Packed, stage: Stage, command: Matmul, window: tuple[int, int], x: np.ndarray,
    out: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """The pixels of ``window`` of all samples, or of a matrix those rows."""
    layout = packed.layout
    rest = layout, packed.spread, packed.ones, stage
    operands = x.view(np.uint8) if layout.size == BYTES else x
    if packed.matrix:
        _run_matrix(packed, rest, window, operands, out, counts)
        return
    image = _image(layout, layout.height * layout.width * layout.pixel_bytes)
    image.fill((command.pad_code + layout.flip) % 256 if layout.size == BYTES else
               command.pad_code - command.ifmap_offset)  # fmt: skip
    rows = out.reshape(out.shape[0], -1, out.shape[-1])
    kernel = run_depthwise if packed.depthwise else run_packed
    kernel(
        operands, image, packed.weights, packed.blocks, packed.starts, rest, packed.nest,
        (*window, 0), rows, counts,
    )  # fmt: skip


def _image(layout: Layout, size_bytes: int) -> np.ndarray:
    """Room for operands, and what is read behind them."""
    return aligned(size_bytes + _SLACK).view(np.uint8 if layout.size == BYTES else np.int16)


def _run_matrix(
    packed: Packed, rest: tuple, window: tuple[int, int], x: np.ndarray, out: np.ndarray,
    counts: np.ndarray,
) -> None:  # fmt: skip
    """The rows of all samples, as many at once as the caches hold."""
    layout, nest = packed.layout, packed.nest
    depth = nest.kernel_h * nest.kernel_w * nest.k
    row_bytes = depth * layout.size
    rows, codes = x.reshape(-1, depth), out.reshape(-1, out.shape[-1])
    most = min(max(_MATRIX_BYTES // row_bytes, amx.BLOCK), _MOST_MATRIX_ROWS)
    first, last = window
    whole = first + (last - first) // most * most
    for start, end, size in ((first, whole, most), (whole, last, last - whole)):
        if start == end:
            continue
        part = rows[start:end].reshape(-1, size, depth)
        target = codes[start:end].reshape(-1, size, codes.shape[1])
        image = _image(layout, (size + amx.BLOCK) * STEP * layout.steps)
        if packed.tiles:
            room = image, aligned(-(-size // amx.BLOCK) * amx.BLOCK * _BLOCK_BYTES)
            run_tiles(
                part, room, packed.weights, packed.blocks, amx.configuration(), rest, start, target,
                counts,
            )  # fmt: skip
            continue
        row = packed.row._replace(out_w=size, in_w=size)
        flat = layout._replace(height=1, width=size, pixel_bytes=row_bytes)
        run_packed(
            part[:, None], image, packed.weights, packed.blocks, packed.starts, (flat, *rest[1:]),
            row, (0, size, start), target, counts,
        )  # fmt: skip
