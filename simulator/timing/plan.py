"""Durations of every tile of every command: what both timing engines play."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.dataflows import Grid, gemm_of, grid_of, work
from simulator.fixedpoint.width import ceil_div
from simulator.hwconfig import Device, DeviceNumbers, MemoryNumbers, OperatingPoint
from simulator.jit import jit
from simulator.program.nest import Nest, ofmap_elements, tile_at, tile_count
from simulator.program.program import Program
from simulator.program.split import shares
from simulator.program.traffic import (
    HOST,
    MATMUL,
    MOVE,
    CommandNumbers,
    ifmap_runs,
    ifmap_tile_bytes,
    ofmap_runs,
    program_numbers,
    vector_cycles,
    weight_key,
    weight_runs,
)
from simulator.program.traffic import VECTOR as VECTOR_COMMAND
from simulator.program.transfers import (
    Runs,
    dram_cycles,
    meeting_cycles,
    trailing_cycles,
    transfer_cycles,
)

# Columns of a plan: cycles of each stage of a tile, then the parts of its streaming time, then flags, and
# how long the DRAM is busy for what the DMA brings (IN) and takes away (OUT).
OPERANDS, LOAD, BODY, LAST, SKEW, VECTOR, RESULT = range(7)
COMPUTE, WAIT_LOAD, WAIT_DRAIN, STALL, FIRST_K, LAST_K, LEAD, DRAM_IN, DRAM_OUT = range(7, 16)
COLUMNS = 16


class CommandPlan(NamedTuple):
    """One command on one core: ``tiles`` is int64 of shape (tiles, COLUMNS), none where the core has no
    part in it.

    ``prefetch_cycles`` is the transfer of its first weight tile, made while the command before runs (0:
    not prefetched), ``prefetch_dram`` what of it the DRAM is busy. ``alone_cycles`` is the length of a
    Host command or an on-chip copy.
    """

    kind: int
    tiles: np.ndarray
    prefetch_cycles: int
    alone_cycles: int
    prefetch_dram: int = 0


class Pace(NamedTuple):
    """What the engines need of the device besides durations, in cycles.

    ``trailing``: from the end of a read's turn on the bus to its last byte. ``turnaround``: between a
    read and a write. Nothing moves in the last ``refresh`` cycles of every ``interval``. ``command``: to
    fetch and decode a command, when the one before is done.
    """

    buffers: int
    accumulator_buffers: int
    serial: bool
    trailing: int = 0
    turnaround: int = 0
    interval: int = 0
    refresh: int = 0
    command: int = 0


@jit
def _read(row: np.ndarray, runs: Runs, memory: MemoryNumbers) -> int:
    """Note in ``row`` that a tile's operands have these ``runs``; returns their bytes."""
    row[OPERANDS] += transfer_cycles(runs, False, memory)
    row[DRAM_IN] += dram_cycles(runs, False, memory)
    return runs.size_bytes


@jit
def _fill(
    nest: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid, plan: np.ndarray
) -> tuple[int, int]:
    """Fill ``plan``; returns the prefetch's cycles, and those of the DRAM."""
    memory = device.memory
    prefetch = prefetch_dram = 0
    last_weights = last_ifmap = -1
    for index in range(plan.shape[0]):
        tile = tile_at(nest, index)
        row = plan[index]
        moved = 0
        weights = weight_key(numbers, tile)
        if numbers.stream_weights and weights != last_weights:
            runs = weight_runs(nest, numbers, tile, memory.row_by_row)
            if numbers.prefetched and index == 0:
                prefetch = transfer_cycles(runs, False, memory)
                prefetch_dram = dram_cycles(runs, False, memory)
                moved += runs.size_bytes
            else:
                moved += _read(row, runs, memory)
            last_weights = weights
        if tile.ifmap_index != last_ifmap:
            if numbers.stream_ifmap:
                runs = ifmap_runs(nest, numbers, tile, numbers.ifmap_bits, memory.row_by_row)
                moved += _read(row, runs, memory)
            if numbers.stream_second:
                runs = ifmap_runs(nest, numbers, tile, numbers.second_bits, memory.row_by_row)
                moved += _read(row, runs, memory)
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
                runs = ofmap_runs(nest, numbers, tile, memory.row_by_row)
                moved += runs.size_bytes
                row[RESULT] = max(transfer_cycles(runs, True, memory), numbers.copy_cycles)
                row[DRAM_OUT] = dram_cycles(runs, True, memory)
                if device.streams_out:
                    row[RESULT] = max(row[RESULT], row[VECTOR])
                    row[VECTOR] = 0
        # What the DMA moves for this tile meets the array or the vector unit some time; it is counted here.
        met = meeting_cycles(moved, memory)
        if numbers.kind == MATMUL:
            row[BODY] += met
            row[STALL] += met
        elif numbers.kind == VECTOR_COMMAND:
            row[VECTOR] += met
            row[STALL] += met
    return prefetch, prefetch_dram


def pace_of(device: Device, point: OperatingPoint | None = None) -> Pace:
    """Buffer counts, overlap mode and memory of ``device``, at ``point``'s clock."""
    memory = device.numbers(point or device.operating_point()).memory
    return Pace(
        device.scratchpad.buffers, device.accumulator.buffers, device.array.overlap == "serial",
        trailing_cycles(memory), memory.turnaround_cycles, memory.refresh_interval_cycles,
        memory.refresh_cycles, device.command_cycles,
    )  # fmt: skip


def plan_program(program: Program, point: OperatingPoint, core: int = 0) -> list[CommandPlan]:
    """Plans of all commands at ``point``'s clock, as far as ``core`` has a part in them: none of a command
    that is not divided but for core 0."""
    device = program.device.numbers(point)
    plans = []
    numbered = program_numbers(program, device.clock_khz)
    for command, (nest, numbers) in zip(program.commands, numbered, strict=True):
        split = getattr(command, "split", "")
        parts = shares(nest, split, program.device.cores)
        alone = numbers.kind == HOST or (numbers.kind == MOVE and numbers.fixed_cycles > 0)
        if alone or core >= len(parts):
            cycles = numbers.fixed_cycles if core == 0 else 0
            plans.append(CommandPlan(numbers.kind, np.zeros((0, COLUMNS), np.int64), 0, cycles))
            continue
        tiles = np.zeros((tile_count(parts[core]), COLUMNS), np.int64)
        bits = numbers.ifmap_bits, numbers.weight_bits
        grid = grid_of(program.device, *bits, numbers.sparse > 0, numbers.group)
        prefetch, dram = _fill(parts[core], numbers, device, grid, tiles)
        plans.append(CommandPlan(numbers.kind, tiles, int(prefetch), 0, int(dram)))
    return plans


def is_product(plan: CommandPlan) -> bool:
    """Whether the command runs on the array."""
    return plan.kind == MATMUL
