"""The choice of tile sizes and loop order: every candidate that fits is costed with the machine's own
laws, and the cheapest one taken.

The cost is the closed form of a pipeline of equal tiles: the first tile passes all stages, the others
follow at the pace of the slowest stage. The timing engines later evaluate the exact recurrence.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.dataflows import Gemm, Grid, packed_groups, work
from simulator.fixedpoint.width import ceil_div
from simulator.hwconfig import DeviceNumbers
from simulator.jit import jit
from simulator.program.nest import Nest, largest_ifmap_elements, retiled
from simulator.program.traffic import CommandNumbers, transfer_cycles, vector_cycles

_INFEASIBLE = 1 << 62


class Room(NamedTuple):
    """Free scratchpad bytes for stream buffers. A unified scratchpad has only ``shared``."""

    shared: int
    ifmap: int
    weights: int
    ofmap: int
    split: bool


class Footprint(NamedTuple):
    """Stream buffers of one choice of tiles, in bytes, all copies included."""

    ifmap: int
    second: int
    weights: int
    ofmap: int


class Choice(NamedTuple):
    """A nest with its tiles; ``cycles`` is ``_INFEASIBLE`` where nothing fits."""

    nest: Nest
    cycles: int
    dram_bytes: int


@jit
def _counts(nest: Nest) -> tuple[int, int, int, int]:
    """Tiles along rows and columns of the ofmap together, groups, n, k."""
    pixels = ceil_div(nest.out_h, nest.tile_h) * ceil_div(nest.out_w, nest.tile_w)
    return (
        pixels,
        ceil_div(nest.groups, nest.tile_g),
        ceil_div(nest.n, nest.tile_n),
        ceil_div(nest.k, nest.tile_k),
    )


@jit
def footprint(nest: Nest, numbers: CommandNumbers, buffers: int) -> Footprint:
    """Stream buffers this nest needs: one copy of a tile that never changes, else ``buffers``."""
    pixels, groups, n, k = _counts(nest)
    pixels *= nest.batch
    ifmap_tile = largest_ifmap_elements(nest)
    ifmap_copies = buffers if pixels * groups * k > 1 else 1
    weight_tile = nest.tile_g * nest.tile_n * nest.tile_k * nest.kernel_h * nest.kernel_w
    weight_bits = weight_tile * numbers.weight_bits
    weight_bits += nest.tile_g * nest.tile_n * numbers.channel_bits
    weight_copies = buffers if groups * n * k > 1 else 1
    ofmap_tile = nest.tile_h * nest.tile_w * nest.tile_g * nest.tile_n
    ofmap_copies = buffers if pixels * groups * n > 1 else 1
    return Footprint(
        numbers.stream_ifmap * ifmap_copies * ceil_div(ifmap_tile * numbers.ifmap_bits, 8),
        numbers.stream_second * ifmap_copies * ceil_div(ifmap_tile * numbers.second_bits, 8),
        numbers.stream_weights * weight_copies * ceil_div(weight_bits, 8),
        numbers.stream_ofmap * ofmap_copies * ceil_div(ofmap_tile * numbers.ofmap_bits, 8),
    )


@jit
def fits(nest: Nest, numbers: CommandNumbers, device: DeviceNumbers, room: Room) -> bool:
    """Whether stream buffers and accumulators of this nest fit."""
    if numbers.kind == 0:
        words = nest.tile_h * nest.tile_w * nest.tile_g * nest.tile_n
        available = device.accumulator_bytes * 8 // device.accumulator_bits
        if words * device.accumulator_buffers > available:
            return False
    need = footprint(nest, numbers, device.buffers)
    if room.split:
        return (
            need.ifmap + need.second <= room.ifmap
            and need.weights <= room.weights
            and need.ofmap <= room.ofmap
        )
    return need.ifmap + need.second + need.weights + need.ofmap <= room.shared


@jit
def estimate(
    nest: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid
) -> tuple[int, int]:
    """(cycles, DRAM bytes) of this nest, every tile taken as a full one."""
    pixels, groups, n, k = _counts(nest)
    rows_outer = nest.order == 0
    weight_loads = groups * n * k
    if groups * n * k > 1:
        if rows_outer or k > 1:
            weight_loads *= pixels
        weight_loads *= nest.batch
    ifmap_loads = pixels * groups * k * nest.batch
    if k > 1 or (not rows_outer and pixels > 1):
        ifmap_loads *= n
    outputs = pixels * groups * n * nest.batch
    tiles = outputs * k
    need = footprint(nest, numbers, 1)
    dram = ifmap_loads * (need.ifmap + need.second) + weight_loads * need.weights
    dram += outputs * need.ofmap
    bus = ifmap_loads * (transfer_cycles(need.ifmap, device) + transfer_cycles(need.second, device))
    bus += weight_loads * transfer_cycles(need.weights, device)
    bus += outputs * transfer_cycles(need.ofmap, device)
    elements = nest.tile_h * nest.tile_w * nest.tile_g * nest.tile_n
    vector = vector_cycles(elements, numbers.lane_cycles, device.lanes)
    array = 0
    edge = 0
    if numbers.kind == 0:
        gemm = Gemm(
            nest.tile_h * nest.tile_w, nest.kernel_h * nest.kernel_w * nest.tile_k, nest.tile_n,
            nest.tile_g,
        )  # fmt: skip
        one = work(numbers.dataflow, device.overlap, gemm, grid)
        # The next tile loads while this one's last fold streams.
        array = one.body + max(one.last, one.load)
        edge = one.load + one.skew
        if device.overlap == 0:
            array += edge
            edge = 0
    fill = ceil_div(bus, tiles) + array + edge + vector
    pace = max(ceil_div(bus, tiles), array, ceil_div(vector, k))
    if device.accumulator_buffers == 1:
        pace = max(pace, array + ceil_div(vector, k))
    return fill + (tiles - 1) * pace, dram


@jit
def _part(size: int, parts: int, multiple: int) -> int:
    """``size`` in ``parts``, rounded up to a multiple of ``multiple`` where that is smaller than it."""
    tile = ceil_div(size, parts)
    if tile > multiple:
        tile = ceil_div(tile, multiple) * multiple
    return min(tile, size)


@jit
def _next_parts(size: int, tile: int) -> int:
    """The smallest number of parts that gives smaller tiles than ``tile``."""
    return ceil_div(size, tile - 1) if tile > 1 else size + 1


@jit
def _search_channels(
    base: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid, room: Room, best: Choice
) -> Choice:
    """The best tiles of groups, n, k and order for the rows and columns of ``base``."""
    kernel = base.kernel_h * base.kernel_w
    divisible = numbers.kind == 0
    packed = 1
    if divisible:
        whole = Gemm(1, kernel * base.k, base.n, base.groups)
        packed = packed_groups(numbers.dataflow, whole, grid)
    g_parts = 1
    while g_parts < 2 * base.groups:
        n_parts = 1
        while n_parts < (2 * base.n if divisible else 2):
            k_parts = 1
            while k_parts < (2 * base.k if divisible else 2):
                for order in range(2):
                    nest = retiled(
                        base,
                        base.tile_h,
                        base.tile_w,
                        _part(base.groups, g_parts, packed),
                        _part(base.n, n_parts, grid.cols) if divisible else base.n,
                        _part(base.k, k_parts, grid.rows) if divisible else base.k,
                        order,
                    )
                    if not fits(nest, numbers, device, room):
                        continue
                    cycles, dram = estimate(nest, numbers, device, grid)
                    if cycles < best.cycles or (cycles == best.cycles and dram < best.dram_bytes):
                        best = Choice(nest, cycles, dram)
                k_parts *= 2
            n_parts *= 2
        g_parts *= 2
    return best


@jit
def choose(
    base: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid, room: Room
) -> Choice:
    """The cheapest tiles that fit; ``cycles`` stays at its bound where none does.

    Rows are halved and split finely first, over whole image rows; a single row is then split along
    its columns.
    """
    best = Choice(base, _INFEASIBLE, 0)
    tile = base.out_h
    while tile >= 1:
        nest = retiled(base, tile, base.out_w, base.groups, base.n, base.k, 0)
        best = _search_channels(nest, numbers, device, grid, room, best)
        parts = _next_parts(base.out_h, tile)
        if parts > base.out_h:
            break
        tile = ceil_div(base.out_h, parts)
    tile = base.out_w
    while tile > 1:
        tile = ceil_div(base.out_w, _next_parts(base.out_w, tile))
        nest = retiled(base, 1, tile, base.groups, base.n, base.k, 0)
        best = _search_channels(nest, numbers, device, grid, room, best)
    return best


def feasible(choice: Choice) -> bool:
    """Whether :func:`choose` found any tiles."""
    return choice.cycles < _INFEASIBLE
