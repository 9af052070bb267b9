"""Matrix products on values: walks a Matmul's nest tile by tile, accumulates, requantizes.

Arrays: ``x`` (samples, in_h, in_w, groups * k) codes; ``weights`` (groups, kernel_h, kernel_w, k, n)
codes; results (samples, out_h, out_w, groups * n). Samples are the batch of the model times the inputs
run at once: the batch loop is outermost in every nest, so running them together changes nothing.

The sums here are exact, in any order: for accumulators that wrap or provably never overflow. Where the
order matters, ``chains`` keeps to the device's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.datapath.counts import MACS, count_overflow
from simulator.fixedpoint.requantize import requantize
from simulator.fixedpoint.thresholds import THRESHOLDS, reached
from simulator.fixedpoint.width import EXACT_BITS, highest, wrap
from simulator.jit import jit
from simulator.program.nest import Nest, Tile, tile_at, tile_count


class Numerics(NamedTuple):
    """How a Matmul's integers behave; ``array_rows`` is the array height that splits a reduction, and
    ``terms`` of it are summed within a PE.

    Channels from ``tail_from`` on go through ``tail_requantizer``.
    """

    ifmap_offset: int
    weight_offset: int
    pad_code: int
    accumulator_bits: int
    saturating: bool
    dataflow: int
    array_rows: int
    requantizer: int
    tail_requantizer: int
    tail_from: int
    zero_point: int
    clamp_min: int
    clamp_max: int
    psum_bits: int
    terms: int


class Channels(NamedTuple):
    """Per output channel, int64: bias, and the requantizer's multiplier and shift; ``thresholds`` is
    (channels, levels), empty for other requantizers."""

    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    thresholds: np.ndarray


@jit
def _add_dense(nest, tile, numerics, image, weights, sums):
    """Exact sums of one group's window, output channels innermost so that they vectorise."""
    pad = np.int64(numerics.pad_code - numerics.ifmap_offset)  # 17 bits at most
    offset = np.int64(numerics.ifmap_offset)
    w_offset = np.int64(numerics.weight_offset)
    cols = tile.w1 - tile.w0
    for g in range(tile.g0, tile.g1):
        first = (g - tile.g0) * (tile.n1 - tile.n0)
        for oy in range(tile.h0, tile.h1):
            for ox in range(tile.w0, tile.w1):
                row = sums[(oy - tile.h0) * cols + ox - tile.w0, first:]
                for ky in range(nest.kernel_h):
                    iy = oy * nest.stride_h + ky * nest.dilation_h - nest.pad_top
                    for kx in range(nest.kernel_w):
                        ix = ox * nest.stride_w + kx * nest.dilation_w - nest.pad_left
                        inside = 0 <= iy < nest.in_h and 0 <= ix < nest.in_w
                        if not inside and pad == 0:
                            continue
                        for k in range(tile.k0, tile.k1):
                            value = pad
                            if inside:
                                value = np.int64(image[iy, ix, g * nest.k + k]) - offset
                            taps = weights[g, ky, kx, k, tile.n0 : tile.n1]
                            for n in range(taps.size):
                                # |product| < 2**34; the sums' type is chosen to hold their sum.
                                row[n] += value * (np.int64(taps[n]) - w_offset)


@jit
def _add_depthwise(nest, tile, numerics, image, taps, sums):
    """Exact sums where every group has one input and one output channel: groups innermost."""
    pad = np.int64(numerics.pad_code - numerics.ifmap_offset)
    offset = np.int64(numerics.ifmap_offset)
    w_offset = np.int64(numerics.weight_offset)
    cols = tile.w1 - tile.w0
    for oy in range(tile.h0, tile.h1):
        for ox in range(tile.w0, tile.w1):
            row = sums[(oy - tile.h0) * cols + ox - tile.w0]
            for ky in range(nest.kernel_h):
                iy = oy * nest.stride_h + ky * nest.dilation_h - nest.pad_top
                for kx in range(nest.kernel_w):
                    ix = ox * nest.stride_w + kx * nest.dilation_w - nest.pad_left
                    tap = taps[ky, kx, tile.g0 : tile.g1]
                    if 0 <= iy < nest.in_h and 0 <= ix < nest.in_w:
                        pixel = image[iy, ix, tile.g0 : tile.g1]
                        for g in range(tap.size):
                            value = np.int64(pixel[g]) - offset
                            row[g] += value * (np.int64(tap[g]) - w_offset)
                    elif pad != 0:
                        for g in range(tap.size):
                            row[g] += pad * (np.int64(tap[g]) - w_offset)


@jit
def code_of_sum(total, channel, numerics, channels):
    """The output stage: requantize, offset and clamp an accumulator of an output channel."""
    kind = numerics.requantizer
    if channel >= numerics.tail_from:
        kind = numerics.tail_requantizer
    code = np.int64(numerics.zero_point)
    if kind == THRESHOLDS:
        code += reached(channels.thresholds[channel], channels.shift[channel] * total)
    else:
        code += requantize(kind, total, channels.multiplier[channel], channels.shift[channel])
    return min(max(code, numerics.clamp_min), numerics.clamp_max)


@jit
def _finish_tile(nest, tile, numerics, channels, sums, sample, out, counts):
    """Narrow, requantize, offset and clamp one finished tile."""
    cols = tile.w1 - tile.w0
    width = tile.n1 - tile.n0
    most = highest(min(numerics.accumulator_bits, EXACT_BITS))
    for p in range((tile.h1 - tile.h0) * cols):
        oy = tile.h0 + p // cols
        ox = tile.w0 + p % cols
        for g in range(tile.g0, tile.g1):
            for n in range(tile.n0, tile.n1):
                c = (g - tile.g0) * width + n - tile.n0
                total = np.int64(sums[p, c])
                channel = g * nest.n + n
                excess = max(total - most, -most - 1 - total)
                if excess > 0:
                    place = (sample * nest.out_h + oy) * nest.out_w + ox
                    count_overflow(counts, place * nest.groups * nest.n + channel, excess)
                    total = wrap(total, numerics.accumulator_bits)
                out[oy, ox, channel] = code_of_sum(total, channel, numerics, channels)


@jit
def _start_tile(nest, tile, channels, sums):
    """The accumulators of a tile start at the bias."""
    width = tile.n1 - tile.n0
    for p in range((tile.h1 - tile.h0) * (tile.w1 - tile.w0)):
        for g in range(tile.g0, tile.g1):
            for n in range(tile.n0, tile.n1):
                c = (g - tile.g0) * width + n - tile.n0
                sums[p, c] = channels.bias[g * nest.n + n]


@jit
def _tile_macs(nest: Nest, tile: Tile) -> int:
    return (
        (tile.h1 - tile.h0) * (tile.w1 - tile.w0) * (tile.g1 - tile.g0) * (tile.n1 - tile.n0)
        * (tile.k1 - tile.k0) * nest.kernel_h * nest.kernel_w
    )  # fmt: skip


@jit
def run_sums(x, weights, taps, channels, nest, numerics, sums, out, counts):
    """The whole command with exact sums of ``sums``'s type; ``nest.batch`` is 1.

    ``taps`` is (kernel_h, kernel_w, groups) where every group has one input and one output channel,
    and empty otherwise. What happens is added to ``counts``: a kernel that returned a record would run
    Python code to make it, in which a pending Ctrl-C crashes the process.
    """
    for sample in range(x.shape[0]):
        for index in range(tile_count(nest)):
            tile = tile_at(nest, index)
            if tile.first_k:
                _start_tile(nest, tile, channels, sums)
            if taps.size > 0:
                _add_depthwise(nest, tile, numerics, x[sample], taps, sums)
            else:
                _add_dense(nest, tile, numerics, x[sample], weights, sums)
            if tile.last_k:
                _finish_tile(nest, tile, numerics, channels, sums, sample, out[sample], counts)
            counts[MACS] += _tile_macs(nest, tile)
