"""Output stationary: PE (i, j) keeps the partial sum of output (m = i, n = j); ifmap values stream in
from the left, weights from the top, one reduction step per cycle.

A fold holds ``rows`` output rows by ``cols`` output channels and streams all ``k`` steps. PE (i, j) is
done i + j cycles after PE (0, 0) and puts its sum on its column's output bus; along the wavefront at
most one PE of a column is done per cycle, so a fold takes k + rows + cols - 2 cycles with no drain of
its own. For the same reason two streams end at least ``rows`` cycles apart, across tiles too.

Reduction order: one chain over all products of the tile, then one addition to the accumulator memory.
"""

from __future__ import annotations

from simulator.dataflows._common import Accesses, Folds, Gemm, Grid, pe_cycles, words
from simulator.fixedpoint.width import ceil_div
from simulator.jit import jit


@jit
def packed_groups(gemm: Gemm, grid: Grid) -> int:
    """Groups of a grouped product that share a fold, block-diagonally."""
    return max(1, min(gemm.groups, grid.cols // gemm.n))


@jit
def reduction_segment(k: int, rows: int) -> int:
    """Products summed in the array before the sum is added to the accumulator memory."""
    return k


@jit
def folds(gemm: Gemm, grid: Grid) -> Folds:
    """The folds of one tile."""
    packed = packed_groups(gemm, grid)
    rest, k = gemm.groups % packed, words(gemm, grid)
    row_folds = ceil_div(gemm.m, grid.rows)
    full_count = (gemm.groups // packed) * row_folds * ceil_div(packed * gemm.n, grid.cols)
    rest_count = row_folds * ceil_div(rest * gemm.n, grid.cols)
    return Folds(
        full_count, packed * k, rest_count, rest * k, 0, grid.rows,
        # Each step feeds the columns of one group; the others get zeros, which nobody reads.
        min(grid.terms, gemm.k)
        * (min(grid.rows, gemm.m) * grid.ifmap_bits + min(grid.cols, gemm.n) * grid.weight_bits),
        0,
    )  # fmt: skip


@jit
def accesses(gemm: Gemm, grid: Grid, first_k: bool) -> Accesses:
    """Words moved by one tile; ``first_k``: no earlier partial sums to add to."""
    outputs = gemm.m * gemm.n * gemm.groups
    return Accesses(
        gemm.m * gemm.k * gemm.groups * ceil_div(gemm.n, grid.cols),
        gemm.k * gemm.n * gemm.groups * ceil_div(gemm.m, grid.rows),
        0 if first_k else outputs,
        outputs,
        pe_cycles(gemm, grid, packed_groups(gemm, grid)),
    )
