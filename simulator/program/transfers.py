"""How long the DMA takes for a tile: which runs of neighbouring bytes it is made of, and what they cost.

Tensors lie in DRAM as NHWC, packed. A tile of them is one run where it has all of the inner axes, else
many short ones a pitch apart; constant weights are laid out tile by tile, so each tile is one run.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.fixedpoint.width import ceil_div
from simulator.hwconfig import MemoryNumbers
from simulator.jit import jit


class Runs(NamedTuple):
    """``size_bytes`` in ``number`` runs of one length; their first bytes are ``pitch_bytes`` apart (0: one
    after the other)."""

    size_bytes: int
    number: int
    pitch_bytes: int


@jit
def one_run(size_bytes: int) -> Runs:
    """Bytes one after the other, from a whole burst's address on."""
    return Runs(size_bytes, 1, 0)


@jit
def image_runs(
    rows: int,
    cols: int,
    groups: int,
    channels: int,
    whole: tuple[int, int, int],
    bits: int,
    row_by_row: int,
) -> Runs:
    """The runs of ``rows`` x ``cols`` pixels, ``channels`` of each of ``groups`` groups, out of an image of
    ``whole`` = (columns, channels of a group, channels) and ``bits`` an element. ``row_by_row``: pixels
    are never one run, though nothing lies between them."""
    size = ceil_div(rows * cols * groups * channels * bits, 8)
    all_cols, group, all_channels = whole
    pixel = ceil_div(all_channels * bits, 8)
    if groups > 1 and channels < group:
        return Runs(size, max(rows * cols * groups, 1), ceil_div(group * bits, 8))
    if groups * channels < all_channels or row_by_row:
        return Runs(size, max(rows * cols, 1), pixel)
    if cols < all_cols:
        return Runs(size, max(rows, 1), all_cols * pixel)
    return Runs(size, 1, 0)


@jit
def _common(a: int, b: int) -> int:
    """Greatest common divisor."""
    while b:
        a, b = b, a % b
    return a


@jit
def request_size(write: bool, memory: MemoryNumbers) -> int:
    """Most bytes of one request."""
    return memory.write_request_bytes if write else memory.request_bytes


@jit
def as_requested(runs: Runs, write: bool, memory: MemoryNumbers) -> Runs:
    """``runs``; of a DMA that goes row by row, their requests, which begin where the one before ends and
    not at a burst's address."""
    if memory.row_by_row == 0 or runs.pitch_bytes == 0:
        return runs
    pieces = ceil_div(ceil_div(runs.size_bytes, runs.number), request_size(write, memory))
    return Runs(runs.size_bytes, runs.number * pieces, runs.pitch_bytes)


@jit
def bursts(runs: Runs, memory: MemoryNumbers) -> int:
    """Bursts that ``runs`` touch.

    A single run begins at a whole burst's address. Where the pitch is no multiple of a burst, runs
    begin at all multiples of their greatest common divisor alike, and touch (r + b - g) / b bursts on
    average: with r = b = 64 bytes and g = 16, 1.75.
    """
    burst = memory.burst_bytes
    run = ceil_div(runs.size_bytes, runs.number)
    if runs.pitch_bytes % burst == 0:
        return runs.number * ceil_div(run, burst)
    common = _common(runs.pitch_bytes, burst)
    run = ceil_div(run, common) * common
    return ceil_div(runs.number * (run + burst - common), burst)


@jit
def row_openings(runs: Runs, memory: MemoryNumbers) -> int:
    """Rows of the DRAM that are opened for ``runs``: neighbouring runs find the row still open."""
    if memory.row_bytes == 0:
        return 0
    run = ceil_div(runs.size_bytes, runs.number)
    each = runs.number * ceil_div(run, memory.row_bytes)
    span = (runs.number - 1) * runs.pitch_bytes + run
    return min(each, ceil_div(span, memory.row_bytes))


@jit
def dram_cycles(runs: Runs, write: bool, memory: MemoryNumbers) -> int:
    """Cycles that the DRAM is busy: whole bursts at its rate, or, if that is longer, the openings of its
    rows, which its banks share. Refresh and turnaround come on top, when the transfer is played."""
    moved = bursts(as_requested(runs, write, memory), memory) * memory.burst_bytes
    rate = ceil_div(moved * memory.clock_khz, memory.kb_per_s)
    opening_ps = row_openings(runs, memory) * memory.row_cycle_ps
    return max(rate, int(ceil_div(opening_ps * memory.clock_khz, memory.banks * 1_000_000_000)))


@jit
def transfer_cycles(runs: Runs, write: bool, memory: MemoryNumbers) -> int:
    """Cycles that a transfer between DRAM and scratchpad holds the DMA; nothing to move takes none.

    The slowest of three: the bursts over the DMA's own bus; the DRAM; and, of reads, where a number of
    requests may be outstanding, as many of them every (latency + request) cycles, by Little's law.
    Writes are posted then: nothing waits for an answer. Without outstanding requests the DMA waits for the
    latency first, either way.
    """
    if runs.size_bytes == 0:
        return 0
    parts = as_requested(runs, write, memory)
    moved = bursts(parts, memory) * memory.burst_bytes
    cycles = max(
        ceil_div(moved, memory.bytes_per_cycle), dram_cycles(runs, write, memory)
    )  # fmt: skip
    if memory.outstanding == 0:
        return memory.latency_cycles + cycles
    part, request = ceil_div(moved, parts.number), request_size(write, memory)
    requests = parts.number * ceil_div(part, request)
    if memory.row_by_row and parts.pitch_bytes > 0:
        requests = parts.number
    if write:
        return max(cycles, requests)
    each = ceil_div(min(part, request), memory.bytes_per_cycle)
    in_time = ceil_div(requests * (memory.latency_cycles + each), memory.outstanding)
    return max(cycles, requests, in_time)


@jit
def trailing_cycles(memory: MemoryNumbers) -> int:
    """Cycles from the end of a read's turn on the DMA to its last byte."""
    return memory.latency_cycles if memory.outstanding > 0 else 0


@jit
def meeting_cycles(size_bytes: int, memory: MemoryNumbers) -> int:
    """Cycles that the array loses to the DMA moving ``size_bytes`` in or out where banks have one port:
    words are spread over the banks, so one access in as many meets the array."""
    if memory.shared_banks == 0:
        return 0
    accesses = ceil_div(size_bytes, memory.bytes_per_cycle)
    return ceil_div(accesses, memory.shared_banks)
