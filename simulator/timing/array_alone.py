"""Products on the array alone, fold after fold with memories that never keep it waiting: SCALE-Sim's count.

The numbers are those of SCALE-Sim 3.0.0's reports for layers, made by this project's own laws in mode
``serial``. It counts cycles from 0, one less than there are; and of output stationary folds it counts as
written what the cells hold while they empty.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.dataflows import (
    INPUT_STATIONARY,
    OUTPUT_STATIONARY,
    SERIAL,
    Gemm,
    Grid,
    accesses,
    work,
)
from simulator.fixedpoint.width import ceil_div
from simulator.jit import jit
from simulator.program.nest import Nest, tile_at

_BITS = 8
_PORT_BYTES = 1 << 40  # never in the way


class ArrayReport(NamedTuple):
    """One layer: utilizations are 0 to 1, accesses are words.

    ``overall_utilization`` of all cycles; ``mapping_efficiency``: PEs that the folds use; and
    ``compute_utilization`` of the cycles in which a fold's array works, those of loading counted twice as
    SCALE-Sim does.
    """

    cycles: int
    overall_utilization: float
    mapping_efficiency: float
    compute_utilization: float
    ifmap_reads: int
    weight_reads: int
    ofmap_writes: int


@jit
def array_report(nest: Nest, dataflow: int, rows: int, cols: int) -> ArrayReport:
    """The layer ``nest`` of one tile and one group on ``rows`` by ``cols`` PEs."""
    tile = tile_at(nest, 0)
    m = (tile.h1 - tile.h0) * (tile.w1 - tile.w0) * nest.batch
    gemm = Gemm(m, nest.kernel_h * nest.kernel_w * nest.k, nest.n, 1)
    grid = Grid(rows, cols, _BITS, _BITS, _PORT_BYTES, 1, 1, 1, 1)
    one = work(dataflow, SERIAL, gemm, grid)
    moved = accesses(dataflow, gemm, grid, True)
    cycles = one.load + one.body + one.last + one.skew - 1
    # Of a fold's rows and columns, and steps in time.
    if dataflow == OUTPUT_STATIONARY:
        down, across, steps = gemm.m, gemm.n, gemm.k
    elif dataflow == INPUT_STATIONARY:
        down, across, steps = gemm.k, gemm.m, gemm.n
    else:
        down, across, steps = gemm.k, gemm.n, gemm.m
    folds = ceil_div(down, rows) * ceil_div(across, cols)
    if dataflow == OUTPUT_STATIONARY:
        writes, every = moved.psum_writes + folds * (rows + cols), steps + rows + cols - 2
    else:
        writes, every = moved.psum_writes, steps + 2 * rows + 2 * cols - 3
    mapping = down * across / (folds * rows * cols)
    return ArrayReport(
        cycles, gemm.m * gemm.n * gemm.k / (cycles * rows * cols), mapping, mapping * steps / every,
        moved.ifmap_reads, moved.weight_reads, writes,
    )  # fmt: skip
