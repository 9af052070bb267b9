"""Action counts of a command: how often each thing that costs energy happens, from its nest alone."""

from __future__ import annotations

from typing import NamedTuple

from simulator.coding import LEVEL_BITS
from simulator.dataflows import (
    Grid,
    accesses,
    fused_bits,
    gemm_of,
    grid_of,
    passing_bits,
    read_bits,
)
from simulator.fixedpoint import thresholds
from simulator.fixedpoint.requantize import REQUANTIZERS
from simulator.fixedpoint.width import ceil_div
from simulator.hwconfig import FLOAT_FUNCTIONS, Array, DeviceNumbers, OperatingPoint
from simulator.jit import jit
from simulator.program.activity import RANDOM, Activity
from simulator.program.commands import Command, Host, Matmul, Move
from simulator.program.nest import Nest, ofmap_elements, tile_at, tile_count
from simulator.program.program import Program
from simulator.program.split import shares
from simulator.program.traffic import (
    MATMUL,
    CommandNumbers,
    ifmap_tile_bytes,
    ofmap_tile_bytes,
    program_numbers,
    read_elements,
    weight_bytes,
    weight_key,
    weight_tile_bytes,
)


class Counts(NamedTuple):
    """Actions of one command.

    MACs, and the multiplications and shifts of a Matmul's output stage, are counted by the width of what
    does them: products of a multiplier's operand widths (``*_bits2``), and bits of adders and of shifters.
    ``mac_shifter_bits`` are of PEs that shift; ``table_bits`` are read of tables in front of the array.
    ``register_bits`` are written in PEs as operands and partial sums pass; scratchpad and accumulator
    bits are split into reads and writes; DRAM bytes are packed sizes, whole bursts not counted.
    ``vector_*`` are operations of a lane on 32-bit words, ``float_*`` on float32 numbers.
    """

    macs: int
    mac_multiplier_bits2: int
    mac_adder_bits: int
    mac_shifter_bits: int
    table_bits: int
    outputs: int
    register_bits: int
    scratchpad_read_bits: int
    scratchpad_write_bits: int
    accumulator_read_bits: int
    accumulator_write_bits: int
    vector_multiplies: int
    vector_adds: int
    vector_lookups: int
    float_multiplies: int
    float_adds: int
    stage_multiplier_bits2: int
    stage_adder_bits: int
    stage_shifter_bits: int
    dram_read_bytes: int
    dram_write_bytes: int
    wire_bits: int
    host_operations: int


@jit
def _product_tile(
    nest: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid, index: int
) -> tuple[int, int, int, int, int, int, int]:
    """(MACs, additions to psums, register bits, scratchpad bits read, accumulator bits read and written,
    weights read) of one tile."""
    tile = tile_at(nest, index)
    gemm = gemm_of(nest, tile)
    moved = accesses(numbers.dataflow, gemm, grid, tile.first_k)
    return (
        gemm.m * gemm.k * gemm.n * gemm.groups,
        gemm.m * ceil_div(gemm.k, grid.terms) * gemm.n * gemm.groups,
        moved.pe_cycles * passing_bits(numbers, device.psum_bits, grid),
        read_bits(moved, numbers),
        moved.psum_reads * device.accumulator_bits,
        moved.psum_writes * device.accumulator_bits,
        moved.weight_reads,
    )


@jit
def _count(
    nest: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid
) -> tuple[int, int, int, int, int, int, int, int, int, int, int]:
    """What the tiles of a Matmul or Vector do: (MACs, additions to psums, weights read, outputs, register
    bits, scratchpad bits to and from the array or vector unit, accumulator bits read and written, DRAM
    bytes read and written)."""
    macs = psums = weights_read = outputs = registers = pad_read = pad_write = acc_read = (
        acc_write
    ) = 0
    dram_read = dram_write = 0
    last_weights = last_ifmap = -1
    for index in range(tile_count(nest)):
        tile = tile_at(nest, index)
        weights = weight_key(numbers, tile)
        if numbers.stream_weights and weights != last_weights:
            dram_read += weight_tile_bytes(nest, numbers, tile)
            last_weights = weights
        ifmap = ifmap_tile_bytes(nest, tile, numbers.ifmap_bits)
        second = ifmap_tile_bytes(nest, tile, numbers.second_bits)
        if tile.ifmap_index != last_ifmap:
            dram_read += ifmap * numbers.stream_ifmap + second * numbers.stream_second
            last_ifmap = tile.ifmap_index
        if numbers.kind == MATMUL:
            one = _product_tile(nest, numbers, device, grid, index)
            macs += one[0]
            psums += one[1]
            registers += one[2]
            pad_read += one[3]
            acc_read += one[4]
            acc_write += one[5]
            weights_read += one[6]
        else:
            pad_read += 8 * (ifmap + second)
        if tile.last_k or numbers.kind != MATMUL:
            size = ofmap_tile_bytes(numbers, tile)
            outputs += ofmap_elements(tile)
            pad_write += 8 * size
            if numbers.kind == MATMUL:
                acc_read += ofmap_elements(tile) * device.accumulator_bits
            if numbers.stream_ofmap:
                dram_write += size
    return (
        macs, psums, weights_read, outputs, registers, pad_read, pad_write, acc_read, acc_write,
        dram_read, dram_write,
    )  # fmt: skip


def _multipliers(done: Counts, array: Array, grid: Grid, psums: int, command: Matmul) -> Counts:
    """What the PEs' multipliers and adders do for ``done``'s MACs, added to psums ``psums`` times.

    A PE costs its own widths whatever operands it is given; a fused one, the parts of it that they take,
    and adders that join the terms of a word (multiplexers are left out); a bit-serial one, a row of the
    multiplier for each bit of a weight, with the partial product kept in a register in between; one that
    shifts, a shifter for each term and adders between them. Sums of groups are multiplied by their factors
    once for every fold, or, where they stay in the PEs, once for every group.
    """
    ifmap, weights, registers = array.ifmap_bits, array.weight_bits, 0
    if array.precision_scaling == "fused":
        least = array.fused_from_bits if grid.ifmap_bits == grid.weight_bits == 1 else 2
        ifmap = fused_bits(grid.ifmap_bits, ifmap, least)
        weights = fused_bits(grid.weight_bits, weights, least)
    elif array.precision_scaling == "bit_serial":
        weights = grid.weight_bits
        registers = done.macs * weights * (ifmap + weights)
    if grid.group > 1:  # what is not 0 is multiplied and added one by one
        return done._replace(
            mac_multiplier_bits2=psums * ifmap * weights, mac_adder_bits=psums * array.sum_bits
        )
    joins = (done.macs - psums) * (ifmap + weights + (grid.terms - 1).bit_length())
    if array.multiplier == "shift":
        word = shifted_bits(array)
        return done._replace(
            mac_shifter_bits=done.macs * array.shift_terms * word,
            mac_adder_bits=psums * array.sum_bits + done.macs * (array.shift_terms - 1) * word,
        )
    factors = 0
    if command.group:
        per_factor = grid.rows * grid.terms
        if command.dataflow == "output_stationary":
            per_factor = command.group
        factors = ceil_div(done.macs, per_factor) * array.sum_bits * command.factor_bits
    return done._replace(
        register_bits=done.register_bits + registers,
        mac_multiplier_bits2=done.macs * ifmap * weights + factors,
        mac_adder_bits=psums * array.sum_bits + joins,
    )


def shifted_bits(array: Array) -> int:
    """Width of an ifmap shifted as far as levels of 8 bits go."""
    return array.ifmap_bits + LEVEL_BITS - 1


NOTHING = Counts(*[0] * len(Counts._fields))


def stage_parts(kind: str, accumulator_bits: int) -> tuple[int, int, int]:
    """(multiplier bits squared, adder bits, shifter bits) that one result of requantizer ``kind`` takes."""
    found = REQUANTIZERS[kind].hardware(accumulator_bits)
    multiplier = found.multiplier_bits
    return (
        multiplier[0] * multiplier[1] if multiplier else 0,
        sum(found.adder_bits),
        sum(found.shifter_bits) + sum(found.normalizer_bits),
    )


def _stage(
    program: Program, command: Matmul, outputs: int, accumulator_bits: int
) -> dict[str, int]:
    """What a Matmul's output stage takes for all outputs; its last channels may have their own kind.

    Thresholds are searched by halving: a comparison, as wide as the accumulator, costs as an addition.
    Reading them is not counted, as reading scales is not.
    """
    stage, channels = command.requantize, command.nest.groups * command.nest.n
    tail = outputs // channels * stage.tail_channels
    if stage.kind == thresholds.NAME:
        levels = program.constants[stage.multiplier].shape[1]
        whole = last = (0, accumulator_bits * levels.bit_length(), 0)
    else:
        whole = stage_parts(stage.kind, accumulator_bits)
        last = stage_parts(stage.tail_kind or stage.kind, accumulator_bits)
    sums = [(outputs - tail) * a + tail * b for a, b in zip(whole, last, strict=True)]
    names = ("stage_multiplier_bits2", "stage_adder_bits", "stage_shifter_bits")
    return dict(zip(names, sums, strict=True))


def _move_counts(command: Move, program: Program) -> Counts:
    """A copy by the DMA: each end is in DRAM or in the scratchpad, and no wire leads to the array."""
    spec = program.placements[command.ofmap].spec
    made = spec.size_bytes
    fetched = ceil_div(read_elements(command, True) * spec.bits, 8)
    read_bits = read_elements(command, False) * spec.bits
    to_dram = command.streams.ofmap
    return NOTHING._replace(
        outputs=spec.elements, scratchpad_read_bits=read_bits,
        scratchpad_write_bits=0 if to_dram else 8 * made, dram_read_bytes=fetched,
        dram_write_bytes=made if to_dram else 0,
    )  # fmt: skip


def _host_counts(command: Host, program: Program) -> Counts:
    """The host reads its operands and weights from DRAM and writes its result there.

    Of its first operand it reads no more elements than its nest does: a gather leaves the rest alone.
    """
    first, nest = program.placements[command.inputs[0]].spec, command.command.nest
    touched = min(first.elements, nest.batch * nest.in_h * nest.in_w * nest.groups * nest.k)
    read = ceil_div(touched * first.bits, 8)
    read += sum(program.placements[n].spec.size_bytes for n in command.inputs[1:])
    if isinstance(command.command, Matmul):
        read += weight_bytes(command.command)
    write = program.placements[command.ofmap].spec.size_bytes
    outputs = program.placements[command.ofmap].spec.elements
    return NOTHING._replace(
        outputs=outputs, dram_read_bytes=read, dram_write_bytes=write,
        host_operations=command.operations,
    )  # fmt: skip


def count_command(
    program: Program, command: Command, nest: Nest, numbers: CommandNumbers,
    device: DeviceNumbers, grid: Grid,
) -> Counts:  # fmt: skip
    """Counts of one command of ``program``."""
    if isinstance(command, Host):
        return _host_counts(command, program)
    if isinstance(command, Move):
        return _move_counts(command, program)
    # Cores that divide a command do what they do alone, and what several of them need comes several times.
    parts = shares(nest, command.split, program.device.cores)
    counted = [
        int(sum(c)) for c in zip(*(_count(n, numbers, device, grid) for n in parts), strict=True)
    ]
    macs, psums, weights_read, outputs, registers, *moved = counted
    pad_read, pad_write, acc_read, acc_write, *dram = moved
    dram_read, dram_write = dram
    lane = command.lane
    # What the DMA brings is written to the scratchpad first, and read from it on the way out; the wires
    # counted lead from the scratchpad to the array or vector unit and back.
    done = NOTHING._replace(
        macs=macs, outputs=outputs, register_bits=registers,
        scratchpad_read_bits=pad_read + 8 * dram_write,
        scratchpad_write_bits=pad_write + 8 * dram_read, accumulator_read_bits=acc_read,
        accumulator_write_bits=acc_write, vector_adds=outputs * lane.adds,
        vector_lookups=outputs * lane.lookups, dram_read_bytes=dram_read,
        dram_write_bytes=dram_write, wire_bits=pad_read + pad_write,
    )  # fmt: skip
    if isinstance(command, Matmul):
        done = done._replace(**_stage(program, command, outputs, device.accumulator_bits))
        if command.table_entries:
            done = done._replace(table_bits=weights_read * command.weight_bits)
        return _multipliers(done, program.device.array, grid, psums, command)
    if command.function in FLOAT_FUNCTIONS:
        adds, multiplies = outputs * lane.adds, outputs * lane.multiplies
        return done._replace(vector_adds=0, float_adds=adds, float_multiplies=multiplies)
    return done._replace(vector_multiplies=outputs * lane.multiplies)


def with_activity(counts: Counts, done: Activity, array: Array) -> Counts:
    """``counts`` as the values of a command really make them, in place of random ones.

    A multiplier switches as the bits of its streaming operand do (held to gates in
    ``tests/energy/test_gates.py``). With ``array.zero_gating`` MACs with an operand that is 0 do not
    happen; of the others operands are taken to change as random ones do.
    """
    multiplied = done.toggle_rate / RANDOM
    added = 1.0
    if array.zero_gating:
        multiplied = added = 1 - done.zero_share
    return counts._replace(
        mac_multiplier_bits2=round(counts.mac_multiplier_bits2 * multiplied),
        mac_adder_bits=round(counts.mac_adder_bits * added),
        mac_shifter_bits=round(counts.mac_shifter_bits * multiplied),
    )


def _grid(program: Program, numbers: CommandNumbers) -> Grid:
    bits = numbers.ifmap_bits, numbers.weight_bits
    return grid_of(program.device, *bits, numbers.sparse > 0, numbers.group)


def count_program(program: Program, point: OperatingPoint) -> list[Counts]:
    """Counts of every command (they do not depend on the clock)."""
    device = program.device.numbers(point)
    numbered = program_numbers(program, device.clock_khz)
    return [
        count_command(
            program, command, nest, numbers, device,
            _grid(program, numbers),
        )
        for command, (nest, numbers) in zip(program.commands, numbered, strict=True)
    ]  # fmt: skip
