"""Weight stationary: PE (i, j) keeps weight (k = i, n = j); ifmap rows stream in from the left, one
output row per cycle, and partial sums flow down and leave at the bottom.

A fold holds ``rows`` reduction steps by ``cols`` output channels and streams all ``m`` output rows.
Loading shifts a row of weights down per cycle: ``rows`` cycles. The result of output row r in column
j leaves ``rows + j`` cycles after r went in, so the last one comes ``rows + cols - 2`` cycles after the
last operand row: per fold m + 2 * rows + cols - 2 in ``serial`` mode.

Reduction order: within a fold the partial sum passes the rows in turn; fold sums are added to the
accumulator memory in the order of k.
"""

from __future__ import annotations

from simulator.dataflows._common import Accesses, Folds, Gemm, Grid, pe_cycles, words
from simulator.fixedpoint.width import ceil_div
from simulator.jit import jit


@jit
def packed_groups(gemm: Gemm, grid: Grid) -> int:
    """Groups of a grouped product that share a fold, block-diagonally."""
    return max(1, min(gemm.groups, grid.rows // words(gemm, grid), grid.cols // gemm.n))


@jit
def reduction_segment(k: int, rows: int) -> int:
    """Products summed in the array before the sum is added to the accumulator memory."""
    return min(k, rows)


@jit
def folds(gemm: Gemm, grid: Grid) -> Folds:
    """The folds of one tile."""
    packed = packed_groups(gemm, grid)
    rest, k = gemm.groups % packed, words(gemm, grid)
    full_count = (gemm.groups // packed) * (
        ceil_div(packed * k, grid.rows) * ceil_div(packed * gemm.n, grid.cols)
    )
    rest_count = ceil_div(rest * k, grid.rows) * ceil_div(rest * gemm.n, grid.cols)
    return Folds(
        full_count, gemm.m, rest_count, gemm.m, grid.rows, 1,
        min(grid.rows * grid.terms, packed * gemm.k) * grid.ifmap_bits,
        # A row of weights belongs to one group; off the diagonal are zeros, which nobody reads.
        min(grid.cols, gemm.n) * min(grid.terms, gemm.k) * grid.weight_bits,
    )  # fmt: skip


@jit
def accesses(gemm: Gemm, grid: Grid, first_k: bool) -> Accesses:
    """Words moved by one tile; ``first_k``: no earlier partial sums to add to."""
    outputs = gemm.m * gemm.n * gemm.groups
    k_folds = ceil_div(words(gemm, grid), grid.rows)
    return Accesses(
        gemm.m * gemm.k * gemm.groups * ceil_div(gemm.n, grid.cols),
        gemm.k * gemm.n * gemm.groups,
        outputs * (k_folds - 1 if first_k else k_folds),
        outputs * k_folds,
        pe_cycles(gemm, grid, packed_groups(gemm, grid)),
    )
