"""Dataflows: one file each, with its cycle law, access counts and reduction order.

The functions here choose by the dataflow's code, its index in ``hwconfig.DATAFLOWS``, so that they can
be called from kernels.
"""

from __future__ import annotations

from simulator.dataflows import input_stationary as _is
from simulator.dataflows import output_stationary as _os
from simulator.dataflows import weight_stationary as _ws
from simulator.dataflows._common import (
    INPUT_STATIONARY,
    OUTPUT_STATIONARY,
    PIPELINED,
    SERIAL,
    WEIGHT_STATIONARY,
    Accesses,
    ArrayWork,
    Folds,
    Gemm,
    Grid,
    array_work,
)
from simulator.fixedpoint.width import ceil_div
from simulator.hwconfig import Device
from simulator.jit import jit
from simulator.program.nest import Nest, Tile
from simulator.program.traffic import CommandNumbers, stored_bits

__all__ = [
    "INPUT_STATIONARY", "OUTPUT_STATIONARY", "PIPELINED", "SERIAL", "WEIGHT_STATIONARY",
    "Accesses", "ArrayWork", "Folds", "Gemm", "Grid",
    "accesses", "fold_rows", "fused_bits", "gemm_of", "grid_of", "packed_groups", "passing_bits",
    "read_bits", "reduction_segment", "work",
]  # fmt: skip

_ws_folds, _os_folds, _is_folds = _ws.folds, _os.folds, _is.folds
_ws_accesses, _os_accesses, _is_accesses = _ws.accesses, _os.accesses, _is.accesses
_ws_packed, _os_packed, _is_packed = _ws.packed_groups, _os.packed_groups, _is.packed_groups
_ws_segment, _os_segment = _ws.reduction_segment, _os.reduction_segment
_is_segment = _is.reduction_segment


def grid_of(
    device: Device, ifmap_bits: int = 0, weight_bits: int = 0, sparse: bool = False, group: int = 0
) -> Grid:
    """The array of ``device`` with its scratchpad port, for operands of these widths (0: the PEs' own).

    A fused PE is made of multipliers of 2 by 2 bits: operands take 2, 4, 8 or 16 of its bits each way, and
    what they leave free multiplies the next terms of the same sum (as in Bit Fusion, Sharma et al., ISCA
    2018). A bit-serial PE takes the ifmap in parallel and a weight bit by bit (as in UNPU, Lee et al.,
    ISSCC 2018). For ``sparse`` weights, N of every M that are not 0, a PE holds one for every M / N
    channels, with its place among the M (as in the sparse tensor cores of NVIDIA's Ampere). ``group``:
    a fold sums no more channels than that, in parts of one size, for they have a factor behind the array.
    """
    a = device.array
    ifmap, weights = ifmap_bits or a.ifmap_bits, weight_bits or a.weight_bits
    terms = step_cycles = 1
    if a.precision_scaling == "fused":
        least = a.fused_from_bits if ifmap == weights == 1 else 2
        terms = (a.ifmap_bits // fused_bits(ifmap, a.ifmap_bits, least)) * (
            a.weight_bits // fused_bits(weights, a.weight_bits, least)
        )
    elif a.precision_scaling == "bit_serial":
        step_cycles = weights
    skipped = 1
    if sparse:
        kept, skipped = a.kept_of
        terms = skipped // kept
        weights = ceil_div(weights + (skipped - 1).bit_length(), terms)
    rows = fold_rows(a.rows, group, terms) if group else a.rows
    port = device.scratchpad.read_bytes_per_cycle
    return Grid(rows, a.cols, ifmap, weights, port, terms, step_cycles, a.stream_block, skipped)


def fold_rows(rows: int, group: int, terms: int) -> int:
    """The most rows of PEs, ``terms`` channels each, that divide a group into folds of one size."""
    words = ceil_div(group, terms)
    return max(r for r in range(1, min(rows, words) + 1) if words % r == 0)


def fused_bits(bits: int, most: int, least: int = 2) -> int:
    """What an operand of ``bits`` takes of ``most`` bits of a fused PE."""
    return min(most, max(least, 1 << (bits - 1).bit_length()))


@jit
def gemm_of(nest: Nest, tile: Tile) -> Gemm:
    """The matrix product that one tile of a Matmul's nest is."""
    return Gemm(
        (tile.h1 - tile.h0) * (tile.w1 - tile.w0),
        nest.kernel_h * nest.kernel_w * (tile.k1 - tile.k0),
        tile.n1 - tile.n0,
        tile.g1 - tile.g0,
    )


@jit
def work(dataflow: int, overlap: int, gemm: Gemm, grid: Grid) -> ArrayWork:
    """Cycles of one tile."""
    if dataflow == WEIGHT_STATIONARY:
        return array_work(_ws_folds(gemm, grid), grid, overlap)
    if dataflow == OUTPUT_STATIONARY:
        return array_work(_os_folds(gemm, grid), grid, overlap)
    return array_work(_is_folds(gemm, grid), grid, overlap)


@jit
def accesses(dataflow: int, gemm: Gemm, grid: Grid, first_k: bool) -> Accesses:
    """Words moved by one tile."""
    if dataflow == WEIGHT_STATIONARY:
        return _ws_accesses(gemm, grid, first_k)
    if dataflow == OUTPUT_STATIONARY:
        return _os_accesses(gemm, grid, first_k)
    return _is_accesses(gemm, grid, first_k)


@jit
def read_bits(moved: Accesses, numbers: CommandNumbers) -> int:
    """Bits of the words that leave the scratchpad, weights as they are stored."""
    return moved.ifmap_reads * numbers.ifmap_bits + stored_bits(
        moved.weight_reads, numbers.stored_millibits
    )


@jit
def passing_bits(numbers: CommandNumbers, psum_bits: int, grid: Grid) -> int:
    """What a PE passes on each cycle: the streamed operand (both, output stationary) and, where it flows
    or is kept, the partial sum."""
    passing = psum_bits
    if numbers.dataflow != INPUT_STATIONARY:
        passing += numbers.ifmap_bits * grid.terms
    if numbers.dataflow != WEIGHT_STATIONARY:
        passing += numbers.weight_bits * grid.terms
    return passing


@jit
def packed_groups(dataflow: int, gemm: Gemm, grid: Grid) -> int:
    """Groups that share a fold."""
    if dataflow == WEIGHT_STATIONARY:
        return _ws_packed(gemm, grid)
    if dataflow == OUTPUT_STATIONARY:
        return _os_packed(gemm, grid)
    return _is_packed(gemm, grid)


@jit
def reduction_segment(dataflow: int, k: int, rows: int) -> int:
    """Products chained in the array before one addition to the accumulator memory."""
    if dataflow == WEIGHT_STATIONARY:
        return _ws_segment(k, rows)
    if dataflow == OUTPUT_STATIONARY:
        return _os_segment(k, rows)
    return _is_segment(k, rows)
