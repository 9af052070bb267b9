"""The choice of tile sizes and loop order: every candidate that fits is costed with the machine's own
laws, and the cheapest one taken, in cycles, in picojoules, or in the product of both.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.compiler.estimate import Goal, cost_of
from simulator.dataflows import (
    INPUT_STATIONARY,
    OUTPUT_STATIONARY,
    Gemm,
    Grid,
    packed_groups,
)
from simulator.fixedpoint.width import ceil_div
from simulator.hwconfig import DeviceNumbers
from simulator.jit import jit
from simulator.program.nest import Nest, retiled
from simulator.program.traffic import (
    MATMUL,
    CommandNumbers,
    footprint,
)

_INFEASIBLE = 1e300


class Room(NamedTuple):
    """Free scratchpad bytes for stream buffers. A unified scratchpad has only ``shared``."""

    shared: int
    ifmap: int
    weights: int
    ofmap: int
    split: bool


class Tiles(NamedTuple):
    """Tile sizes and loop order (``program.nest.ORDERS``) that somebody else chose for a command."""

    h: int
    w: int
    g: int
    n: int
    k: int
    order: int


class Choice(NamedTuple):
    """A nest with its tiles; ``cost`` is ``_INFEASIBLE`` where nothing fits.

    It is cycles and a price for traffic, or picojoules, or the product of picojoules and cycles.
    """

    nest: Nest
    cycles: int
    dram_bytes: int
    cost: float


@jit
def fits(nest: Nest, numbers: CommandNumbers, device: DeviceNumbers, room: Room) -> bool:
    """Whether stream buffers and accumulators of this nest fit."""
    if numbers.kind == MATMUL:
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
def _part(size: int, parts: int, multiple: int) -> int:
    """``size`` in ``parts``, rounded up to a multiple of ``multiple`` where that is smaller than it."""
    tile = ceil_div(size, parts)
    if tile > multiple:
        tile = ceil_div(tile, multiple) * multiple
    return min(tile, size)


@jit
def _grouped(size: int, parts: int, multiple: int, grid: Grid) -> int:
    """A part of the reduction, in whole groups of channels."""
    return min(ceil_div(_part(size, parts, multiple), grid.group) * grid.group, size)


@jit
def _next_parts(size: int, tile: int) -> int:
    """The smallest number of parts that gives smaller tiles than ``tile``."""
    return ceil_div(size, tile - 1) if tile > 1 else size + 1


@jit
def _search_channels(
    base: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid, room: Room, goal: Goal,
    best: Choice,
) -> Choice:  # fmt: skip
    """The best tiles of groups, n, k and order for the rows and columns of ``base``."""
    kernel = base.kernel_h * base.kernel_w
    divisible = numbers.kind == MATMUL
    packed = across_n = across_k = 1
    if divisible:
        whole = Gemm(1, kernel * base.k, base.n, base.groups)
        packed = packed_groups(numbers.dataflow, whole, grid)
        # Whole folds: input stationary streams n, output stationary streams k.
        across_n = 1 if numbers.dataflow == INPUT_STATIONARY else grid.cols
        across_k = grid.terms if numbers.dataflow == OUTPUT_STATIONARY else grid.rows * grid.terms
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
                        _part(base.n, n_parts, across_n) if divisible else base.n,
                        _grouped(base.k, k_parts, across_k, grid) if divisible else base.k,
                        order,
                    )
                    if not fits(nest, numbers, device, room):
                        continue
                    cost, cycles, dram = cost_of(nest, numbers, device, grid, goal)
                    if cost < best.cost or (cost == best.cost and dram < best.dram_bytes):
                        best = Choice(nest, cycles, dram, cost)
                k_parts *= 2
            n_parts *= 2
        g_parts *= 2
    return best


@jit
def choose(
    base: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid, room: Room, goal: Goal
) -> Choice:
    """The cheapest tiles that fit; ``cost`` stays at its bound where none does.

    Rows are halved and split finely first, over whole image rows; a single row is then split along
    its columns.
    """
    best = Choice(base, 0, 0, _INFEASIBLE)
    tile = base.out_h
    while tile >= 1:
        nest = retiled(base, tile, base.out_w, base.groups, base.n, base.k, 0)
        best = _search_channels(nest, numbers, device, grid, room, goal, best)
        parts = _next_parts(base.out_h, tile)
        if parts > base.out_h:
            break
        tile = ceil_div(base.out_h, parts)
    tile = base.out_w
    while tile > 1:
        tile = ceil_div(base.out_w, _next_parts(base.out_w, tile))
        nest = retiled(base, 1, tile, base.groups, base.n, base.k, 0)
        best = _search_channels(nest, numbers, device, grid, room, goal, best)
    return best


def given(
    base: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid, room: Room, goal: Goal,
    tiles: Tiles,
) -> Choice:  # fmt: skip
    """``tiles`` as a choice; ``cost`` is at its bound where they do not fit."""
    nest = retiled(
        base, min(tiles.h, base.out_h), min(tiles.w, base.out_w), min(tiles.g, base.groups),
        min(tiles.n, base.n), min(tiles.k, base.k), tiles.order,
    )  # fmt: skip
    if not fits(nest, numbers, device, room):
        return Choice(nest, 0, 0, _INFEASIBLE)
    cost, cycles, dram = cost_of(nest, numbers, device, grid, goal)
    return Choice(nest, int(cycles), int(dram), float(cost))


def feasible(choice: Choice) -> bool:
    """Whether :func:`choose` found any tiles."""
    return choice.cost < _INFEASIBLE
