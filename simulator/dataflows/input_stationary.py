"""Input stationary: PE (i, j) keeps ifmap value (k = i, m = j); weights stream in from the left, one
output channel per cycle, and partial sums flow down and leave at the bottom.

A fold holds ``rows`` reduction steps by ``cols`` output rows and streams all ``n`` output channels:
weight stationary with the roles of m and n exchanged, n + 2 * rows + cols - 2 cycles in ``serial`` mode.

Reduction order: as weight stationary.
"""

from __future__ import annotations

from simulator.dataflows._common import Accesses, Folds, Gemm, Grid, pe_cycles, words
from simulator.fixedpoint.width import ceil_div
from simulator.jit import jit


@jit
def packed_groups(gemm: Gemm, grid: Grid) -> int:
    """Groups of a grouped product that share a fold: their reductions stacked over the rows."""
    return max(1, min(gemm.groups, grid.rows // words(gemm, grid)))


@jit
def reduction_segment(k: int, rows: int) -> int:
    """Products summed in the array before the sum is added to the accumulator memory."""
    return min(k, rows)


@jit
def folds(gemm: Gemm, grid: Grid) -> Folds:
    """The folds of one tile."""
    packed = packed_groups(gemm, grid)
    rest, k = gemm.groups % packed, words(gemm, grid)
    col_folds = ceil_div(gemm.m, grid.cols)
    full_count = (gemm.groups // packed) * ceil_div(packed * k, grid.rows) * col_folds
    rest_count = ceil_div(rest * k, grid.rows) * col_folds
    return Folds(
        full_count, packed * gemm.n, rest_count, rest * gemm.n, grid.rows, 1,
        # Each step feeds the rows of one group; the others get zeros, which nobody reads.
        min(grid.rows * grid.terms, gemm.k) * grid.weight_bits,
        min(grid.cols, gemm.m) * min(grid.terms, gemm.k) * grid.ifmap_bits,
    )  # fmt: skip


@jit
def accesses(gemm: Gemm, grid: Grid, first_k: bool) -> Accesses:
    """Words moved by one tile; ``first_k``: no earlier partial sums to add to."""
    outputs = gemm.m * gemm.n * gemm.groups
    k_folds = ceil_div(words(gemm, grid), grid.rows)
    return Accesses(
        gemm.m * gemm.k * gemm.groups,
        gemm.k * gemm.n * gemm.groups * ceil_div(gemm.m, grid.cols),
        outputs * (k_folds - 1 if first_k else k_folds),
        outputs * k_folds,
        pe_cycles(gemm, grid, packed_groups(gemm, grid)),
    )
