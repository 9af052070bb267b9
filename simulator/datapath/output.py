"""The output stage of a block of sums: narrow, requantize, offset and clamp, as loops without branches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.datapath.counts import count_overflow
from simulator.datapath.llvm import LANES
from simulator.datapath.llvm_bytes import finish_bytes
from simulator.datapath.matmul import Channels, Numerics
from simulator.fixedpoint.requantize import DOUBLE_ROUNDING, NONE
from simulator.jit import jit
from simulator.program.commands import Requantize

# The loops of output stages. ``ANY`` is two: sums as they are, then ``matmul.any_rounding`` of all.
ANY, DOUBLE, UNROUNDED, DOUBLE_BYTES = range(4)


class Finish(NamedTuple):
    """The output stage for each channel, int32: ``bias`` with whatever is constant in a sum, and double
    rounding's multiplier and shifts."""

    bias: np.ndarray
    multiplier: np.ndarray
    left: np.ndarray
    right: np.ndarray


class Stage(NamedTuple):
    """How a command's sums become codes: ``way`` is the loop, ``numbers`` (groups, blocks, 7) are what
    ``finish_bytes`` takes for each block. Sums wrap at ``wrap_bits``, if that is not 0."""

    finish: Finish
    way: int
    numbers: np.ndarray
    wrap_bits: int


def finish_of(bias: np.ndarray, channels: Channels) -> Finish:
    """Behind the last channel is room for a whole vector."""
    shift = channels.shift if channels.multiplier.any() else np.zeros_like(channels.shift)
    found = bias, channels.multiplier, np.clip(shift, 0, 31), np.clip(-shift, 0, 31)
    return Finish(*(np.concatenate([f, np.zeros(LANES, f.dtype)]).astype(np.int32) for f in found))


def numbers_of(finish: Finish, blocks: np.ndarray, stage: Requantize) -> np.ndarray:
    """``blocks`` (groups, blocks, 4): the first channel of each is its first number."""
    found = np.zeros((*blocks.shape[:2], 7), np.int64)
    for place, part in enumerate(finish):
        found[..., place] = part.ctypes.data + part.itemsize * blocks[..., 0]
    zero = stage.zero_point
    found[..., 4:] = zero, stage.clamp_min - zero, stage.clamp_max - zero
    return found


def way_of(numerics: Numerics, channels: int, out: np.dtype) -> int:
    """The loop for codes of type ``out``."""
    if numerics.tail_from < channels:
        return ANY
    if numerics.requantizer == DOUBLE_ROUNDING:
        return DOUBLE_BYTES if out.itemsize == 1 else DOUBLE
    narrow = out == np.int32 and numerics.zero_point == 0
    return UNROUNDED if numerics.requantizer == NONE and narrow else ANY


@jit
def _double_rounding(block, rows, columns, finish, number, out):
    """Double rounding of a block of sums; without a branch, so that it vectorises. The second rounding's
    ties go away from zero. Equal to ``fixedpoint.requantize.double_rounding``."""
    zero = number[4]
    low, high = zero + number[5], zero + number[6]
    for r in range(rows):
        sums, codes = block[r], out[r]
        for c in range(columns):
            total = np.int32(sums[c] + finish.bias[c])
            shifted = np.int64(np.int32(total << finish.left[c]))
            once = (shifted * np.int64(finish.multiplier[c]) + (1 << 30)) >> 31
            mask = (np.int64(1) << finish.right[c]) - 1
            more = np.int64((once & mask) > (mask >> 1) + (once < 0))
            codes[c] = min(max((once >> finish.right[c]) + more + zero, low), high)


@jit
def _unrounded(block, rows, columns, bias, out):
    """The sums themselves."""
    for r in range(rows):
        sums, codes = block[r], out[r]
        for c in range(columns):
            codes[c] = np.int32(sums[c] + bias[c])


@jit
def _wrap(block, rows, columns, bias, bits, place, counts):
    """Wrap the sums, each with its bias. ``place``: of the block's first output in the ofmap, and how
    many from row to row."""
    up = np.int32(32 - bits)
    high = (np.int64(1) << (bits - 1)) - 1
    for r in range(rows):
        sums, lost = block[r], np.int32(0)
        for c in range(columns):
            total = np.int32(sums[c] + bias[c])
            lost |= np.int32(np.int32(total << up) >> up) ^ total
        if lost == 0:
            continue
        for c in range(columns):
            total = np.int32(sums[c] + bias[c])
            kept = np.int32(np.int32(total << up) >> up)
            if kept != total:
                excess = max(total - high, -high - 1 - total)
                count_overflow(counts, place[0] + r * place[1] + c, excess)
            sums[c] = np.int32(kept - bias[c])


@jit
def finished(block, count, first, columns, stage, number, place, out, counts):
    """The output stage, not any one, of ``count`` rows of int32 sums into their columns of ``out``.

    ``number``: the block's row of the stage's numbers; ``place`` as in :func:`_wrap`.
    """
    codes = out[:, first : first + columns]
    finish = stage.finish
    bias = finish.bias[first : first + columns]
    if stage.wrap_bits > 0:
        _wrap(block, count, columns, bias, stage.wrap_bits, (place[0] + first, place[1]), counts)
    if stage.way == DOUBLE_BYTES:
        finish_bytes(
            block.ctypes.data, block.strides[0], count, columns, number.ctypes.data,
            codes.ctypes.data, codes.strides[0],
        )  # fmt: skip
    elif stage.way == DOUBLE:
        own = Finish(
            bias, finish.multiplier[first : first + columns], finish.left[first : first + columns],
            finish.right[first : first + columns],
        )  # fmt: skip
        _double_rounding(block, count, columns, own, number, codes)
    else:
        _unrounded(block, count, columns, bias, codes)
