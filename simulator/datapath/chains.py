"""Sums in the device's own order: additions that saturate, or psums that wrap before they are added up.

Every output of a command sums the same sequence of taps: the reduction cut into tiles of k, those into what
the array holds at once. The image is copied once, with its padding, as what enters a PE; then 16 outputs
of a pixel go through the sequence together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.dataflows import reduction_segment
from simulator.datapath import counts as tally
from simulator.datapath.counts import count_overflow
from simulator.datapath.llvm import LANES
from simulator.datapath.llvm_chains import (
    LEVELS,
    PIXELS,
    chain_saturating,
    chain_saturating_across,
    chain_wrapping,
    chain_wrapping_across,
)
from simulator.datapath.matmul import Channels, Numerics, any_rounding, entering
from simulator.datapath.output import (
    ANY,
    Stage,
    finish_of,
    finished,
    numbers_of,
    way_of,
)
from simulator.datapath.packed import addresses
from simulator.datapath.units import PORTABLE, chosen_unit
from simulator.fixedpoint.width import EXACT_BITS, highest, lowest, saturate, wrap
from simulator.jit import jit
from simulator.program.commands import Matmul
from simulator.program.nest import Nest, padded_size

_STRIP = 16  # pixels whose sums wait for the output stage together
_BYTES = 4  # of an operand, and of a sum in registers
_PSUM_MOST, _PSUM_LEAST, _MOST, _LEAST = range(1, LEVELS)  # of a block, behind the accumulators


class Rules(NamedTuple):
    """How sums narrow, and where their operands are.

    ``across``: the outputs of a block are neighbouring channels of a depthwise product; ``fast``: in
    registers of 32 bits. ``terms`` are summed within a PE before they are added to a psum. The image is
    of ``height`` by ``width`` pixels of ``channels``.
    """

    psum_bits: int
    bits: int
    saturating: bool
    terms: int
    across: bool
    fast: bool
    height: int
    width: int
    channels: int


@dataclass(frozen=True)
class Chains:
    """A product's taps in order: ``offsets`` (taps,) bytes into the image, ``weights`` (groups, blocks,
    taps, 16), ``lengths`` of the folds they are cut into, ``blocks`` (groups, blocks, 4) as
    :class:`~simulator.datapath.packing.Packed`'s."""

    rules: Rules
    offsets: np.ndarray
    lengths: np.ndarray
    weights: np.ndarray
    blocks: np.ndarray


@jit
def _place(image, x, nest, rules):
    """``x`` (in_h, in_w, channels) into the padded image, flat."""
    first = max(0, -nest.pad_left)
    last = min(nest.in_w, rules.width - nest.pad_left)
    for iy in range(max(0, -nest.pad_top), min(nest.in_h, rules.height - nest.pad_top)):
        for ix in range(first, last):
            at = ((iy + nest.pad_top) * rules.width + ix + nest.pad_left) * rules.channels
            for c in range(rules.channels):
                image[at + c] = x[iy, ix, c]


@jit
def _chain(image, start, offsets, lengths, weights, rules, sums, r):
    """One pixel's sums: row ``r`` of ``sums`` (levels, pixels, 16), from its place in the image on."""
    tap = 0
    psum, part = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    step = 1 if rules.across else 0
    for fold in range(lengths.size):
        psum[:] = 0
        end = tap + lengths[fold]
        while tap < end:
            part[:] = 0
            for t in range(tap, min(tap + rules.terms, end)):
                at = start + offsets[t] // _BYTES
                for c in range(LANES):
                    # |product| < 2**34
                    part[c] += np.int64(image[at + c * step]) * np.int64(weights[t, c])
            tap = min(tap + rules.terms, end)
            for c in range(LANES):
                exact = psum[c] + part[c]
                psum[c] = exact
                if rules.saturating:
                    sums[_PSUM_MOST, r, c] = max(sums[_PSUM_MOST, r, c], exact)
                    sums[_PSUM_LEAST, r, c] = min(sums[_PSUM_LEAST, r, c], exact)
                    psum[c] = saturate(exact, rules.psum_bits)
        for c in range(LANES):
            if rules.saturating:
                exact = np.int64(sums[0, r, c]) + psum[c]
                sums[_MOST, r, c] = max(sums[_MOST, r, c], exact)
                sums[_LEAST, r, c] = min(sums[_LEAST, r, c], exact)
                sums[0, r, c] = saturate(exact, rules.bits)
            else:
                sums[_PSUM_MOST, r, c] = max(sums[_PSUM_MOST, r, c], psum[c])
                sums[_PSUM_LEAST, r, c] = min(sums[_PSUM_LEAST, r, c], psum[c])
                sums[0, r, c] += wrap(psum[c], rules.psum_bits)


@jit
def _fast_chain(rows, offsets, weights, lengths, numbers, sums, level_bytes, rules):
    """The same of ``PIXELS`` pixels in registers; all but ``rules`` are addresses and counts."""
    if rules.saturating and rules.across:
        chain_saturating_across(rows, offsets, weights, lengths, numbers, sums, level_bytes)
    elif rules.saturating:
        chain_saturating(rows, offsets, weights, lengths, numbers, sums, level_bytes)
    elif rules.across:
        chain_wrapping_across(rows, offsets, weights, lengths, numbers, sums, level_bytes)
    else:
        chain_wrapping(rows, offsets, weights, lengths, numbers, sums, level_bytes)


@jit
def _start(sums, count, first, columns, bias, rules):
    """Accumulators start at the bias, which narrows as it is loaded."""
    for r in range(count):
        for c in range(LANES):
            value = np.int64(0)
            if c < columns:
                value = bias[first + c]
            sums[_PSUM_MOST, r, c] = sums[_PSUM_LEAST, r, c] = 0
            sums[_MOST, r, c] = sums[_LEAST, r, c] = value
            sums[0, r, c] = saturate(value, rules.bits) if rules.saturating else value


@jit
def _tally(sums, count, columns, rules, place, counts):
    """Count what overflowed, and narrow sums that wrap; ``place`` as in ``output``."""
    psum_most = highest(min(rules.psum_bits, EXACT_BITS))
    most = highest(min(rules.bits, EXACT_BITS))
    for r in range(count):
        for c in range(columns):
            above, below = np.int64(sums[_PSUM_MOST, r, c]), np.int64(sums[_PSUM_LEAST, r, c])
            total = np.int64(sums[0, r, c])
            high = low = total
            if rules.saturating:
                high, low = np.int64(sums[_MOST, r, c]), np.int64(sums[_LEAST, r, c])
            else:
                sums[0, r, c] = wrap(total, rules.bits)
            excess = max(above - psum_most, -psum_most - 1 - below)
            excess = max(excess, high - most, -most - 1 - low)
            if excess > 0:
                count_overflow(counts, place[0] + r * place[1] + c, excess)
            counts[tally.PSUM_LOW] = min(counts[tally.PSUM_LOW], below)
            counts[tally.PSUM_HIGH] = max(counts[tally.PSUM_HIGH], above)
            counts[tally.SUM_LOW] = min(counts[tally.SUM_LOW], low)
            counts[tally.SUM_HIGH] = max(counts[tally.SUM_HIGH], high)


@jit
def run_chains(x, image, taps, rules, bias, nest, first_sample, block, sums, counts):
    """The sums of a whole command: ``x`` (samples, in_h, in_w, channels) as it enters the PEs, from
    ``first_sample`` on; ``taps``: weights, offsets, lengths, blocks and limits; ``block`` (levels, _STRIP,
    16). ``sums`` (samples, pixels, channels) are narrowed, and of no pixels where only what is counted is
    asked for."""
    weights, offsets, lengths, blocks, limits = taps
    rows = np.zeros(_STRIP, np.int64)
    pixels, channels = nest.out_h * nest.out_w, nest.groups * nest.n
    base, row_places = image.ctypes.data, rows.ctypes.data
    level_bytes, row_bytes = block.strides[0], block.strides[1]
    down, across = nest.stride_h * rules.width * rules.channels, nest.stride_w * rules.channels
    size = _BYTES if rules.fast else 1  # of a step in the image
    for sample in range(x.shape[0]):
        _place(image, x[sample], nest, rules)
        for pixel in range(0, pixels, _STRIP):
            count = min(_STRIP, pixels - pixel)
            for g in range(blocks.shape[0]):
                for j in range(blocks.shape[1]):
                    first, columns, begin = blocks[g, j, 0], blocks[g, j, 1], blocks[g, j, 2]
                    _start(block, _STRIP, first, columns, bias, rules)
                    at = begin + (base // _BYTES if rules.fast else 0)
                    addresses(size * at, size * down, size * across, nest.out_w, pixel, count, rows)
                    if rules.fast:
                        for r in range(0, count, PIXELS):
                            _fast_chain(
                                row_places + 8 * r, offsets.ctypes.data, weights[g, j].ctypes.data,
                                lengths.ctypes.data, limits.ctypes.data,
                                block.ctypes.data + r * row_bytes, level_bytes, rules,
                            )  # fmt: skip
                    else:
                        for r in range(count):
                            _chain(image, rows[r], offsets, lengths, weights[g, j], rules, block, r)
                    place = (first_sample + sample) * pixels + pixel
                    element = place * channels + first
                    _tally(block, count, columns, rules, (element, channels), counts)
                    if sums.shape[1] > 0:
                        for r in range(count):
                            for c in range(columns):
                                sums[sample, pixel + r, first + c] = block[0, r, c]


def _sequence(nest: Nest, folds: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Every tap's place in (kernel_h, kernel_w, k), in the order of the tiles of k; and the lengths of
    the folds: ``folds`` gives how many taps a fold takes at most, for each tile."""
    taps, lengths = [], []
    all_taps = np.arange(nest.kernel_h * nest.kernel_w * nest.k).reshape(-1, nest.k)
    for tile, k0 in enumerate(range(0, nest.k, nest.tile_k)):
        own = all_taps[:, k0 : k0 + nest.tile_k].reshape(-1)
        taps.append(own)
        lengths += [min(folds[tile], own.size - at) for at in range(0, own.size, folds[tile])]
    return np.concatenate(taps), np.array(lengths, np.int64)


def tile_lengths(nest: Nest) -> list[int]:
    """Taps of each tile of k."""
    kernel = nest.kernel_h * nest.kernel_w
    return [kernel * min(nest.tile_k, nest.k - k0) for k0 in range(0, nest.k, nest.tile_k)]


def fold_lengths(nest: Nest, numerics: Numerics) -> list[int]:
    """The most taps that the array sums before the sum leaves it, for each tile of k."""
    rows = numerics.array_rows * numerics.terms
    return [int(reduction_segment(numerics.dataflow, n, rows)) for n in tile_lengths(nest)]


def psum_bound(nest: Nest, numerics: Numerics, sizes: np.ndarray, reach: int) -> int:
    """The largest magnitude of a sum within the array: ``sizes`` (groups, kernel_h, kernel_w, k, n) of
    the weights, ``reach`` of the ifmap."""
    taps, lengths = _sequence(nest, fold_lengths(nest, numerics))
    ordered = sizes.reshape(nest.groups, -1, nest.n)[:, taps]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return int(np.add.reduceat(ordered, starts, axis=1).max()) * reach


def chains_of(
    command: Matmul, weights: np.ndarray, numerics: Numerics, narrow: bool, largest: int
) -> Chains:
    """The taps of ``command`` in order; ``largest``: no sum of at most so many bits goes beyond it.

    ``narrow``: as the device narrows them; otherwise as wide as they come, to be looked at.
    """
    nest = command.nest
    height, width = padded_size(nest)
    channels, across = nest.groups * nest.k, nest.n == nest.k == 1 and nest.groups > 1
    in_order = numerics.saturating or numerics.psum_bits < numerics.accumulator_bits
    # Sums that wrap at one width only are one sum, whatever the folds.
    all_taps = [sum(tile_lengths(nest))]
    untiled = nest if in_order else nest._replace(tile_k=nest.k)
    taps, lengths = _sequence(untiled, fold_lengths(nest, numerics) if in_order else all_taps)
    ky, kx, k = np.unravel_index(taps, (nest.kernel_h, nest.kernel_w, nest.k))
    offsets = (ky * nest.dilation_h * width + kx * nest.dilation_w) * channels + k
    values = weights.reshape(nest.groups, -1, nest.n)[:, taps].astype(np.int64)
    values -= command.weight_offset
    if across:
        values = values[..., 0].T[np.newaxis]
    outputs = values.shape[2]
    whole = np.zeros((values.shape[0], len(taps), -(-outputs // LANES) * LANES), np.int32)
    whole[..., :outputs] = values
    in_blocks = whole.reshape(*whole.shape[:2], -1, LANES).transpose(0, 2, 1, 3)
    blocks = np.zeros((*in_blocks.shape[:2], 4), np.int64)
    for g, j in np.ndindex(*blocks.shape[:2]):
        first = g * nest.n + j * LANES
        begin = j * LANES if across else g * nest.k
        blocks[g, j] = first, min(LANES, outputs - j * LANES), begin, 0
    fast = chosen_unit() != PORTABLE and numerics.terms == 1 and largest < 1 << 31
    widest = 32 if fast else EXACT_BITS
    psum_bits, bits = (
        (numerics.psum_bits, numerics.accumulator_bits) if narrow else (widest, widest)
    )
    rules = Rules(
        psum_bits, bits, numerics.saturating, numerics.terms, across, fast, height, width, channels
    )
    return Chains(
        rules, offsets.astype(np.int64) * _BYTES, lengths, np.ascontiguousarray(in_blocks), blocks
    )


def _limits(rules: Rules, folds: int) -> np.ndarray:
    """What the loops in registers take: see ``llvm_chains``."""
    psum_bits, bits = min(rules.psum_bits, 32), min(rules.bits, 32)
    found = [32 - psum_bits, 0, 0, 0]
    if rules.saturating:
        found = [f(b) for b in (psum_bits, bits) for f in (lowest, highest)]
    return np.array([folds, *found], np.int64)


def run(
    chains: Chains, command: Matmul, channels: Channels, numerics: Numerics, x: np.ndarray,
    out: np.ndarray | None, counts: np.ndarray,
) -> None:  # fmt: skip
    """Fill ``out`` (samples, out_h, out_w, channels), if any, from ``x``; counts as ``counts`` says."""
    nest, rules = command.nest._replace(batch=1), chains.rules
    image = np.full(
        rules.height * rules.width * rules.channels + LANES,
        command.pad_code - command.ifmap_offset, np.int32,
    )  # fmt: skip
    block = np.zeros((LEVELS, _STRIP, LANES), np.int32 if rules.fast else np.int64)
    outputs = nest.groups * nest.n
    taps = (
        chains.weights, chains.offsets, chains.lengths, chains.blocks,
        _limits(rules, chains.lengths.size),
    )  # fmt: skip
    way = ANY if out is None or not rules.fast else way_of(numerics, outputs, out.dtype)
    finish = finish_of(np.zeros_like(channels.bias), channels)
    numbers = numbers_of(finish, np.zeros((1, 1, 4), np.int64), command.requantize)
    stage = Stage(finish, way, numbers, 0)
    for first, part in entering(command, x):
        pixels = 0 if out is None else nest.out_h * nest.out_w
        rows = len(part) * pixels
        # Behind the last sums is room for what the output stage reads beyond them.
        flat = np.zeros(rows * outputs + LANES, block.dtype)[: rows * outputs]
        sums = flat.reshape(len(part), pixels, outputs)
        run_chains(part, image, taps, rules, channels.bias, nest, first, block, sums, counts)
        if out is None:
            continue
        codes = out[first : first + len(part)].reshape(rows, outputs)
        if way == ANY:
            any_rounding(flat.reshape(codes.shape), channels, numerics, codes)
            continue
        place = 0, outputs
        finished(
            flat.reshape(codes.shape), rows, 0, outputs, stage, numbers[0, 0], place, codes, counts
        )
