"""Matrix products on values: walks a Matmul's nest tile by tile, accumulates, requantizes.

Arrays: ``x`` (samples, in_h, in_w, groups * k); ``weights`` (groups, kernel_h, kernel_w, k, n); results
(samples, out_h, out_w, groups * n). Samples are the batch of the model times the inputs run at once: the
batch loop is outermost in every nest, so running them together changes nothing. Whatever the types of
codes, what enters the PEs is int32, so that there is one loop to compile.

The sums here are exact, in any order: for accumulators that wrap or provably never overflow. Where the
order matters, ``chains`` keeps to the device's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.datapath.counts import MACS, count_overflow
from simulator.fixedpoint.requantize import requantize
from simulator.fixedpoint.thresholds import THRESHOLDS, reached
from simulator.fixedpoint.width import EXACT_BITS, highest, wrap
from simulator.jit import jit
from simulator.program.commands import Matmul
from simulator.program.nest import Nest, Tile, tile_at, tile_count

_ENTERING_AT_ONCE = 1 << 18  # numbers of the ifmap as int32, or one sample


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


@dataclass(frozen=True)
class Sums:
    """A product's weights as they enter the PEs, int32: ``weights``, or where every group has one input and
    one output channel ``taps`` (kernel_h, kernel_w, groups); ``kind`` holds every sum."""

    weights: np.ndarray
    taps: np.ndarray
    kind: type


def sums_of(command: Matmul, weights: np.ndarray, kind: type) -> Sums:
    """``weights`` of codes; see :class:`Sums`."""
    entering = np.ascontiguousarray(weights, np.int32) - np.int32(command.weight_offset)
    taps = np.zeros((0, 0, 0), np.int32)
    if command.nest.n == command.nest.k == 1:
        taps = np.ascontiguousarray(entering[..., 0, 0].transpose(1, 2, 0))
    return Sums(entering, taps, kind)


def run(
    sums: Sums, command: Matmul, channels: Channels, numerics: Numerics, x: np.ndarray,
    out: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """Fill ``out`` from codes ``x``; what happens, the MACs of all tiles too, is added to ``counts``."""
    nest = command.nest._replace(batch=1)  # the batch joins the samples
    tile = np.zeros((nest.tile_h * nest.tile_w, nest.tile_g * nest.tile_n), sums.kind)
    for first, part in entering(command, x):
        codes = out[first : first + len(part)].reshape(-1, out.shape[-1])
        exact = np.zeros((len(part), *out.shape[1:]), sums.kind)
        run_sums(
            part, sums.weights, sums.taps, channels.bias, nest, numerics, tile, first, exact, counts
        )
        any_rounding(exact.reshape(codes.shape), channels, numerics, codes)


def entering(command: Matmul, x: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """What enters the PEs of codes ``x``, int32: some samples at once, and which is their first."""
    at_once = max(1, _ENTERING_AT_ONCE // max(1, x[0].size))
    for first in range(0, x.shape[0], at_once):
        yield first, x[first : first + at_once].astype(np.int32) - np.int32(command.ifmap_offset)


@jit
def _add_dense(nest, tile, pad, image, weights, sums):
    """Exact sums of one group's window, output channels innermost so that they vectorise."""
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
                            value = np.int64(image[iy, ix, g * nest.k + k]) if inside else pad
                            taps = weights[g, ky, kx, k, tile.n0 : tile.n1]
                            for n in range(taps.size):
                                # |product| < 2**34; the sums' type is chosen to hold their sum.
                                row[n] += value * np.int64(taps[n])


@jit
def _add_depthwise(nest, tile, pad, image, taps, sums):
    """Exact sums where every group has one input and one output channel: groups innermost."""
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
                            row[g] += np.int64(pixel[g]) * np.int64(tap[g])
                    elif pad != 0:
                        for g in range(tap.size):
                            row[g] += pad * np.int64(tap[g])


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
def any_rounding(sums, channels, numerics, out):
    """Any output stage, of narrowed sums (rows, channels) into ``out``: a loop of its own, so that what
    most products do without is not compiled with them."""
    for r in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            out[r, c] = code_of_sum(np.int64(sums[r, c]), c, numerics, channels)


@jit
def _narrow_tile(nest, tile, numerics, sums, sample, out, counts):
    """One finished tile as the accumulators hold it."""
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
                out[oy, ox, channel] = total


@jit
def _start_tile(nest, tile, bias, sums):
    """The accumulators of a tile start at the bias."""
    width = tile.n1 - tile.n0
    for p in range((tile.h1 - tile.h0) * (tile.w1 - tile.w0)):
        for g in range(tile.g0, tile.g1):
            for n in range(tile.n0, tile.n1):
                c = (g - tile.g0) * width + n - tile.n0
                sums[p, c] = bias[g * nest.n + n]


@jit
def _tile_macs(nest: Nest, tile: Tile) -> int:
    return (
        (tile.h1 - tile.h0) * (tile.w1 - tile.w0) * (tile.g1 - tile.g0) * (tile.n1 - tile.n0)
        * (tile.k1 - tile.k0) * nest.kernel_h * nest.kernel_w
    )  # fmt: skip


@jit
def run_sums(x, weights, taps, bias, nest, numerics, tile_sums, first_sample, out, counts):
    """The whole command: narrowed sums of ``tile_sums``'s type into ``out``; ``nest.batch`` is 1.

    What happens is added to ``counts``, ``first_sample`` being that of ``x``: a kernel that returned a
    record would run Python code to make it, in which a pending Ctrl-C crashes the process.
    """
    pad = np.int64(numerics.pad_code - numerics.ifmap_offset)  # 17 bits at most
    for sample in range(x.shape[0]):
        for index in range(tile_count(nest)):
            tile = tile_at(nest, index)
            if tile.first_k:
                _start_tile(nest, tile, bias, tile_sums)
            if taps.size > 0:
                _add_depthwise(nest, tile, pad, x[sample], taps, tile_sums)
            else:
                _add_dense(nest, tile, pad, x[sample], weights, tile_sums)
            if tile.last_k:
                place = first_sample + sample
                _narrow_tile(nest, tile, numerics, tile_sums, place, out[sample], counts)
            counts[MACS] += _tile_macs(nest, tile)
