"""Durations of every tile of every command: what both timing engines play."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.dataflows import Grid, gemm_of, grid_of, work
from simulator.fixedpoint.width import ceil_div
from simulator.hwconfig import Device, DeviceNumbers, OperatingPoint
from simulator.jit import jit
from simulator.program.nest import Nest, ofmap_elements, tile_at, tile_count
from simulator.program.program import Program
from simulator.program.traffic import (
    HOST,
    MATMUL,
    MOVE,
    CommandNumbers,
    ifmap_tile_bytes,
    ofmap_tile_bytes,
    program_numbers,
    transfer_cycles,
    vector_cycles,
    weight_key,
    weight_tile_bytes,
)
from simulator.program.traffic import VECTOR as VECTOR_COMMAND

# Columns of a plan: cycles of each stage of a tile, then the parts of its streaming time, then flags.
OPERANDS, LOAD, BODY, LAST, SKEW, VECTOR, RESULT = range(7)
COMPUTE, WAIT_LOAD, WAIT_DRAIN, STALL, FIRST_K, LAST_K, LEAD = range(7, 14)
COLUMNS = 14


class CommandPlan(NamedTuple):
    """One command: ``tiles`` is int64 of shape (tiles, COLUMNS).

    ``prefetch_cycles`` is the transfer of its first weight tile, made while the command before runs (0:
    not prefetched). ``alone_cycles`` is the length of a Host command or an on-chip copy.
    """

    kind: int
    tiles: np.ndarray
    prefetch_cycles: int
    alone_cycles: int


class Pace(NamedTuple):
    """What the engines need of the device besides durations."""

    buffers: int
    accumulator_buffers: int
    serial: bool


@jit
def _fill(
    nest: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid, plan: np.ndarray
) -> int:
    """Fill ``plan``; returns the prefetch's cycles."""
    prefetch = 0
    last_weights = last_ifmap = -1
    for index in range(plan.shape[0]):
        tile = tile_at(nest, index)
        row = plan[index]
        weights = weight_key(numbers, tile)
        if numbers.stream_weights and weights != last_weights:
            cycles = transfer_cycles(weight_tile_bytes(nest, numbers, tile), device)
            if numbers.prefetched and index == 0:
                prefetch = cycles
            else:
                row[OPERANDS] += cycles
            last_weights = weights
        if tile.ifmap_index != last_ifmap:
            if numbers.stream_ifmap:
                size = ifmap_tile_bytes(nest, tile, numbers.ifmap_bits)
                row[OPERANDS] += transfer_cycles(size, device)
            if numbers.stream_second:
                size = ifmap_tile_bytes(nest, tile, numbers.second_bits)
                row[OPERANDS] += transfer_cycles(size, device)
            last_ifmap = tile.ifmap_index
        if numbers.kind == MOVE and not numbers.stream_ofmap:
            # The DMA writes every run, and what it fills in, which did not come over the bus.
            row[OPERANDS] = max(row[OPERANDS], numbers.copy_cycles)
        if numbers.kind == MATMUL:
            gemm = gemm_of(nest, tile)
            one = work(numbers.dataflow, device.overlap, gemm, grid)
            row[LOAD], row[BODY], row[LAST], row[SKEW] = one.load, one.body, one.last, one.skew
            row[LEAD] = one.lead
            row[COMPUTE], row[WAIT_LOAD], row[WAIT_DRAIN], row[STALL] = (
                one.compute,
                one.wait_load,
                one.wait_drain,
                one.stall,
            )
        row[FIRST_K] = 1 if tile.first_k or numbers.kind != MATMUL else 0
        row[LAST_K] = 1 if tile.last_k or numbers.kind != MATMUL else 0
        if row[LAST_K]:
            if numbers.lane_cycles:
                row[VECTOR] = vector_cycles(ofmap_elements(tile), numbers.lane_cycles, device.lanes)
            if numbers.kind == VECTOR_COMMAND:
                read = ifmap_tile_bytes(nest, tile, numbers.ifmap_bits)
                read += ifmap_tile_bytes(nest, tile, numbers.second_bits)
                row[STALL] = max(ceil_div(read, device.read_bytes_per_cycle) - row[VECTOR], 0)
                row[VECTOR] += row[STALL]
            if numbers.stream_ofmap:
                row[RESULT] = transfer_cycles(ofmap_tile_bytes(numbers, tile), device)
                row[RESULT] = max(row[RESULT], numbers.copy_cycles)
    return prefetch


def pace_of(device: Device) -> Pace:
    """Buffer counts and overlap mode of ``device``."""
    return Pace(
        device.scratchpad.buffers, device.accumulator.buffers, device.array.overlap == "serial"
    )


def plan_program(program: Program, point: OperatingPoint) -> list[CommandPlan]:
    """Plans of all commands at ``point``'s clock."""
    device = program.device.numbers(point)
    plans = []
    for nest, numbers in program_numbers(program, device.clock_khz):
        if numbers.kind == HOST or (numbers.kind == MOVE and numbers.fixed_cycles):
            plans.append(
                CommandPlan(numbers.kind, np.zeros((0, COLUMNS), np.int64), 0, numbers.fixed_cycles)
            )
            continue
        tiles = np.zeros((tile_count(nest), COLUMNS), np.int64)
        grid = grid_of(program.device, numbers.ifmap_bits, numbers.weight_bits)
        prefetch = _fill(nest, numbers, device, grid, tiles)
        plans.append(CommandPlan(numbers.kind, tiles, prefetch, 0))
    return plans


def is_product(plan: CommandPlan) -> bool:
    """Whether the command runs on the array."""
    return plan.kind == MATMUL
