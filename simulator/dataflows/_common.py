"""What every dataflow's law is made of."""

from __future__ import annotations

from typing import NamedTuple

from simulator.fixedpoint.width import ceil_div
from simulator.jit import jit

# Codes as kernels see them: places in ``hwconfig.DATAFLOWS`` and ``hwconfig.OVERLAPS``.
WEIGHT_STATIONARY, OUTPUT_STATIONARY, INPUT_STATIONARY = range(3)
SERIAL, PIPELINED, IDEAL = range(3)


class Gemm(NamedTuple):
    """The matrix product of one tile: ``groups`` independent m x k by k x n products."""

    m: int
    k: int
    n: int
    groups: int


class Grid(NamedTuple):
    """The array and what feeds it, for operands of some widths; ``port_bytes`` per cycle is shared by both.

    ``terms``: neighbouring products of one sum that a PE does at once, as a fused one does of narrow
    operands; a word is what a PE takes then, so a reduction of k is one of ceil(k / terms) words.
    ``step_cycles``: cycles from one step of the array to the next, as many as a weight has bits where
    PEs are bit-serial; all that moves in it moves then. ``block``: a stream is as long as a whole number
    of blocks of so many operands. ``group``: input channels that only go together.
    """

    rows: int
    cols: int
    ifmap_bits: int
    weight_bits: int
    port_bytes: int
    terms: int = 1
    step_cycles: int = 1
    block: int = 1
    group: int = 1


class Folds(NamedTuple):
    """Passes over the array: ``full`` ones of ``full_stream`` cycles, then ``rest`` ones.

    A fold loads its stationary operand in ``load`` cycles (0 where nothing is stationary), then
    streams; ``interval`` is the least number of cycles between the ends of two streams.
    ``port_stream_bits`` and ``port_load_bits`` are what a cycle of either asks of the scratchpad.
    """

    full: int
    full_stream: int
    rest: int
    rest_stream: int
    load: int
    interval: int
    port_stream_bits: int
    port_load_bits: int


class Accesses(NamedTuple):
    """Words moved by one tile: scratchpad reads, accumulator traffic, and PE activity.

    ``pe_cycles`` counts a PE each time a word passes it, a zero off the diagonal of a packed grouped
    product included.
    """

    ifmap_reads: int
    weight_reads: int
    psum_reads: int
    psum_writes: int
    pe_cycles: int


class ArrayWork(NamedTuple):
    """One tile on the array, in cycles.

    The stationary operand loads for ``load`` cycles, then operands stream for ``body + last`` cycles,
    starting at least ``lead`` cycles after the last operand of the tile before (its sums still occupy
    the output buses); after ``body`` of them the last fold begins and the next tile may load; results
    are complete ``skew`` cycles after the last operand went in. ``body + last`` = ``compute``
    (operands entering) + ``wait_load`` + ``wait_drain`` + ``stall`` (scratchpad port too narrow).
    """

    load: int
    lead: int
    body: int
    last: int
    skew: int
    compute: int
    wait_load: int
    wait_drain: int
    stall: int


@jit
def words(gemm: Gemm, grid: Grid) -> int:
    """What the reduction is in words of the array."""
    return ceil_div(gemm.k, grid.terms)


@jit
def pe_cycles(gemm: Gemm, grid: Grid, packed: int) -> int:
    """Passages of words through PEs when ``packed`` groups share a fold on its diagonal."""
    rest = gemm.groups % packed
    each = gemm.m * words(gemm, grid) * gemm.n
    return each * ((gemm.groups // packed) * packed * packed + rest * rest)


@jit
def _stream_cycles(folds: Folds, stream: int, load: int, grid: Grid) -> int:
    """Cycles of one fold's stream, held to the scratchpad port: ``load`` cycles of loading go over the
    port meanwhile."""
    bits = stream * folds.port_stream_bits + load * folds.port_load_bits
    return max(stream * grid.step_cycles, ceil_div(bits, 8 * grid.port_bytes))


@jit
def array_work(folds: Folds, grid: Grid, overlap: int) -> ArrayWork:
    """Play ``folds`` under an overlap mode.

    ``serial``: load, stream and drain of each fold back to back (SCALE-Sim's count). ``pipelined``:
    the next fold loads while this one streams and streams follow each other without a drain between;
    every stream shares the port with one load. ``ideal``: streams alone; loads, and what they ask of the
    port, are free.
    """
    count, step = folds.full + folds.rest, grid.step_cycles
    full_stream = ceil_div(folds.full_stream, grid.block) * grid.block
    rest_stream = ceil_div(folds.rest_stream, grid.block) * grid.block
    streams = (folds.full * full_stream + folds.rest * rest_stream) * step
    shared = folds.load if overlap == PIPELINED else 0
    full = _stream_cycles(folds, full_stream, shared, grid)
    rest = _stream_cycles(folds, rest_stream, shared, grid) if folds.rest > 0 else 0
    stall = folds.full * full + folds.rest * rest - streams
    last = rest if folds.rest > 0 else full
    skew = (grid.rows + grid.cols - 2) * step
    if overlap == IDEAL:
        return ArrayWork(0, 0, streams + stall - last, last, 0, streams, 0, 0, stall)
    load, interval = folds.load * step, folds.interval * step
    if load > 0:
        load = max(load, ceil_div(folds.load * folds.port_load_bits, 8 * grid.port_bytes))
    if overlap == SERIAL:
        wait_load = (count - 1) * load
        wait_drain = (count - 1) * skew
        body = streams + stall - last + wait_load + wait_drain
        return ArrayWork(load, 0, body, last, skew, streams, wait_load, wait_drain, stall)
    # Loads fall between stream starts, so a short stream makes the next fold wait; the output bus
    # needs the ends of streams `interval` apart, so there a short stream waits itself.
    wait_load = (folds.full - 1) * max(load - full, 0)
    wait_drain = (folds.full - 1) * max(interval - full, 0)
    if folds.rest > 0:
        wait_load += max(load - full, 0) + (folds.rest - 1) * max(load - rest, 0)
        wait_drain += folds.rest * max(interval - rest, 0)
    lead = max(interval - full, 0)
    body = streams + stall - last + wait_load + wait_drain
    return ArrayWork(load, lead, body, last, skew, streams, wait_load, wait_drain, stall)
