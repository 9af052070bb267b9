"""What a command's tiles move, and how long the DMA takes for it: plain integers for kernels.

The compiler (to choose tiles), the cycle model and the energy counts all call these functions, so
there is one account of traffic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from simulator.fixedpoint.width import ceil_div
from simulator.hwconfig import DATAFLOWS, Device
from simulator.jit import jit
from simulator.program.commands import Command, Host, Matmul, Move, Piece, Vector
from simulator.program.nest import (
    Nest,
    Tile,
    ifmap_elements,
    ifmap_extent,
    largest_ifmap_elements,
    ofmap_elements,
    tile_counts,
    untiled,
    weight_elements,
)
from simulator.program.program import Program
from simulator.program.transfers import Runs, image_runs, one_run
from simulator.tensor import TensorSpec

MATMUL, VECTOR, MOVE, HOST = 0, 1, 2, 3


class CommandNumbers(NamedTuple):
    """One command as plain integers.

    ``dataflow`` indexes ``hwconfig.DATAFLOWS``. The ``stream_*`` flags are 1 where the operand comes
    from or goes to DRAM. ``weight_rows``: 1 where weights lie in DRAM as the program made them, not
    tile by tile. ``ifmap_channels``, ``ofmap_channels``: of the whole tensors, of which a core may do a
    part. ``whole_bytes``: what a Vector loads from DRAM before its first tile and keeps.
    ``stored_millibits``: what a weight takes in memory, in thousandths of a bit; ``sparse``: 1 where the
    array skips weights that are 0. ``group``: the most channels that a fold may sum (0: any number).
    ``copy_cycles``: what the DMA needs to write a Move's ofmap, run by run. ``fixed_cycles`` is the
    whole cost of a Host command, and of a Move that stays on chip.
    """

    kind: int
    dataflow: int
    ifmap_bits: int
    second_bits: int
    weight_bits: int
    ofmap_bits: int
    channel_bits: int
    lane_cycles: int
    stream_weights: int
    stream_ifmap: int
    stream_second: int
    stream_ofmap: int
    prefetched: int
    weight_rows: int
    ifmap_channels: int
    ofmap_channels: int
    whole_bytes: int
    copy_cycles: int
    fixed_cycles: int
    stored_millibits: int
    sparse: int
    group: int = 0


IFMAP, SECOND_IFMAP, WHOLE, SEEN = "ifmap", "second_ifmap", "whole", "seen"
# What it is about, the unit has noted as that was written: nothing is read.
_OF_WHAT_WAS_WRITTEN = "seen_extremes"


def operand_roles(command: Command, specs: Mapping[str, TensorSpec]) -> tuple[str, ...]:
    """How each input is taken: tile by tile (``ifmap``, ``second_ifmap``), ``whole`` or as ``weights``; or
    not at all, since it was ``seen`` as it was written."""
    if isinstance(command, Host | Move):
        return (IFMAP,) * len(command.inputs)
    if isinstance(command, Matmul):
        return (IFMAP, "weights")[: len(command.inputs)]
    if command.function == _OF_WHAT_WAS_WRITTEN:
        return (SEEN,) * len(command.inputs)
    nest = command.nest
    read = nest.batch * nest.in_h * nest.in_w * nest.groups * nest.k
    roles: list[str] = []
    for name in command.inputs:
        free = [r for r in (IFMAP, SECOND_IFMAP) if r not in roles]
        roles.append(free[0] if free and specs[name].elements == read else WHOLE)
    return tuple(roles)


def copied_elements(piece: Piece) -> int:
    """Elements one piece copies."""
    return math.prod(piece.sizes)


def _run_elements(piece: Piece) -> int:
    """Elements that lie side by side in both places, so that the DMA moves them as one run."""
    run = 1
    loops = zip(piece.sizes, piece.source_strides, piece.ofmap_strides, strict=True)
    for size, source, ofmap in reversed(list(loops)):
        if size > 1 and (source, ofmap) != (run, run):
            break
        run *= size
    return run


def copy_cycles(command: Move, specs: Mapping[str, TensorSpec], device: Device) -> int:
    """DMA cycles to write a Move's ofmap: every run of neighbours takes whole beats, so does the fill."""
    spec, beat_bits = specs[command.ofmap], 8 * device.dma.bytes_per_cycle
    cycles, filled = 0, spec.elements
    for piece in command.pieces:
        copied, run = copied_elements(piece), _run_elements(piece)
        cycles += copied // run * ceil_div(run * spec.bits, beat_bits)
        filled -= copied
    return cycles + ceil_div(max(filled, 0) * spec.bits, beat_bits)


def read_elements(command: Move, from_dram: bool) -> int:
    """Elements a Move reads from DRAM, or from the scratchpad."""
    return sum(
        copied_elements(piece)
        for piece in command.pieces
        if command.streams.inputs[piece.source] == from_dram
    )


def numbers_of(
    command: Command, specs: Mapping[str, TensorSpec], device: Device, clock_khz: int
) -> CommandNumbers:
    """``command`` as integers; ``specs`` gives the tensors it names."""
    if isinstance(command, Host):
        seconds = device.host.call_latency_s + command.operations / device.host.operations_per_s
        cycles = math.ceil(seconds * clock_khz * 1000)
        bits = specs[command.ofmap].bits
        return CommandNumbers(
            HOST, 0, 0, 0, 0, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, cycles, 0, 0
        )  # fmt: skip
    s = command.streams
    taken: dict[str, tuple[int, int]] = {IFMAP: (0, 0), SECOND_IFMAP: (0, 0)}
    whole_bytes = 0
    for name, role, stream in zip(
        command.inputs, operand_roles(command, specs), s.inputs, strict=True
    ):
        if role == WHOLE:
            whole_bytes += specs[name].size_bytes * stream
        elif role in taken:
            taken[role] = specs[name].bits, int(stream or taken[role][1])
    (ifmap_bits, ifmap), (second_bits, second) = taken[IFMAP], taken[SECOND_IFMAP]
    bits = specs[command.ofmap].bits
    flags = (int(s.weights), ifmap, second, int(s.ofmap), int(s.prefetched))
    nest = nest_of(command, specs)
    ifmap_channels, ofmap_channels = nest.groups * nest.k, nest.groups * nest.n
    if isinstance(command, Matmul):
        return CommandNumbers(
            MATMUL, DATAFLOWS.index(command.dataflow), ifmap_bits, 0,  # type: ignore[arg-type]
            command.weight_bits, bits, command.channel_bits, command.lane.cycles, *flags,
            int(command.weights_made), ifmap_channels, ofmap_channels, 0, 0, 0,
            command.stored_millibits or 1000 * command.weight_bits, int(command.sparse),
            command.group,
        )  # fmt: skip
    if isinstance(command, Vector):
        return CommandNumbers(
            VECTOR, 0, ifmap_bits, second_bits, 0, bits, 0, command.lane.cycles, *flags,
            0, ifmap_channels, ofmap_channels, whole_bytes, 0, 0, 0, 0,
        )  # fmt: skip
    copied = copy_cycles(command, specs, device)
    on_chip = 0 if any(s.inputs) or s.ofmap else device.dma.latency_cycles + copied
    return CommandNumbers(
        MOVE, 0, bits, 0, 0, bits, 0, 0, *flags, 0, ifmap_channels, ofmap_channels, 0, copied,
        on_chip, 0, 0,
    )  # fmt: skip


def nest_of(command: Command, specs: Mapping[str, TensorSpec]) -> Nest:
    """The nest of a command; a Move and a Host command are one tile, and a Move reads there only what
    comes from DRAM."""
    if isinstance(command, Matmul | Vector):
        return command.nest
    read = read_elements(command, True) if isinstance(command, Move) else 0
    return untiled(out=(1, specs[command.ofmap].elements), ifmap=(1, read))


def program_numbers(program: Program, clock_khz: int) -> list[tuple[Nest, CommandNumbers]]:
    """Nest and numbers of every command of a program."""
    specs = {name: p.spec for name, p in program.placements.items()}
    return [
        (nest_of(c, specs), numbers_of(c, specs, program.device, clock_khz))
        for c in program.commands
    ]


@jit
def stored_bits(weights: int, millibits: int) -> int:
    """What so many weights take in memory, of as many thousandths of a bit on average."""
    return ceil_div(weights * millibits, 1000)


def weight_bytes(command: Matmul) -> int:
    """All constant weights of a command, packed, with the bias and output scaling of its channels."""
    nest = command.nest
    channels = nest.groups * nest.n
    weights = channels * nest.k * nest.kernel_h * nest.kernel_w
    bits = stored_bits(weights, command.stored_millibits or 1000 * command.weight_bits)
    if command.weights_made:
        bits = 0
    return ceil_div(bits + channels * command.channel_bits, 8)


def program_weight_bytes(commands: Iterable[Command]) -> int:
    """:func:`weight_bytes` of all products, those on the host among them."""
    inner = (c.command if isinstance(c, Host) else c for c in commands)
    return sum(weight_bytes(c) for c in inner if isinstance(c, Matmul))


@jit
def weight_tile_bytes(nest: Nest, numbers: CommandNumbers, tile: Tile) -> int:
    """Weights of one tile, packed; a channel's bias and output scaling come with its first weights. Of a
    Vector, all it keeps."""
    if numbers.kind == VECTOR:
        return numbers.whole_bytes
    bits = stored_bits(weight_elements(nest, tile), numbers.stored_millibits)
    if tile.first_k:
        bits += (tile.g1 - tile.g0) * (tile.n1 - tile.n0) * numbers.channel_bits
    return ceil_div(bits, 8)


@jit
def weight_key(numbers: CommandNumbers, tile: Tile) -> int:
    """Equal keys mean the same weights: a Vector keeps what it has loaded."""
    return 0 if numbers.kind == VECTOR else tile.weight_index


@jit
def ifmap_tile_bytes(nest: Nest, tile: Tile, bits: int) -> int:
    """Ifmap of one tile, packed."""
    return ceil_div(ifmap_elements(nest, tile) * bits, 8)


@jit
def ofmap_tile_bytes(numbers: CommandNumbers, tile: Tile) -> int:
    """Ofmap of one tile, packed."""
    return ceil_div(ofmap_elements(tile) * numbers.ofmap_bits, 8)


@jit
def ifmap_runs(nest: Nest, numbers: CommandNumbers, tile: Tile, bits: int, row_by_row: int) -> Runs:
    """Where the ifmap of one tile lies."""
    rows, cols = ifmap_extent(nest, tile)
    whole = (nest.in_w, nest.k, numbers.ifmap_channels)
    return image_runs(rows, cols, tile.g1 - tile.g0, tile.k1 - tile.k0, whole, bits, row_by_row)


@jit
def ofmap_runs(nest: Nest, numbers: CommandNumbers, tile: Tile, row_by_row: int) -> Runs:
    """Where the ofmap of one tile lies."""
    whole = (nest.out_w, nest.n, numbers.ofmap_channels)
    return image_runs(
        tile.h1 - tile.h0, tile.w1 - tile.w0, tile.g1 - tile.g0, tile.n1 - tile.n0, whole,
        numbers.ofmap_bits, row_by_row,
    )  # fmt: skip


@jit
def weight_runs(nest: Nest, numbers: CommandNumbers, tile: Tile, row_by_row: int) -> Runs:
    """Where the weights of one tile lie: one after the other, or, of weights that the program makes, in
    the rows of a matrix of k by n for each group and tap."""
    size = weight_tile_bytes(nest, numbers, tile)
    n, k = tile.n1 - tile.n0, tile.k1 - tile.k0
    matrices = (tile.g1 - tile.g0) * nest.kernel_h * nest.kernel_w
    if not numbers.weight_rows:
        return one_run(size)
    if n == nest.n and not row_by_row:
        if k == nest.k or matrices == 1:
            return one_run(size)
        return Runs(size, matrices, ceil_div(nest.k * nest.n * numbers.weight_bits, 8))
    return Runs(size, matrices * k, ceil_div(nest.n * numbers.weight_bits, 8))


@jit
def vector_cycles(elements: int, lane_cycles: int, lanes: int) -> int:
    """Vector-unit cycles for ``elements`` outputs of ``lane_cycles`` issue slots each."""
    return ceil_div(elements * lane_cycles, lanes)


class Footprint(NamedTuple):
    """Stream buffers of one choice of tiles, in bytes, all copies included; ``weights`` of a Vector is
    what it keeps."""

    ifmap: int
    second: int
    weights: int
    ofmap: int


@jit
def footprint(nest: Nest, numbers: CommandNumbers, buffers: int) -> Footprint:
    """Stream buffers this nest needs: one copy of a tile that never changes, else ``buffers``."""
    pixels, groups, n, k = tile_counts(nest)
    pixels *= nest.batch
    ifmap_tile = largest_ifmap_elements(nest)
    ifmap_copies = buffers if pixels * groups * k > 1 else 1
    weight_tile = nest.tile_g * nest.tile_n * nest.tile_k * nest.kernel_h * nest.kernel_w
    weight_bits = stored_bits(weight_tile, numbers.stored_millibits)
    weight_bits += nest.tile_g * nest.tile_n * numbers.channel_bits
    weight_copies = buffers if groups * n * k > 1 else 1
    weight_bytes = ceil_div(weight_bits, 8)
    if numbers.kind == VECTOR:
        weight_copies, weight_bytes = 1, numbers.whole_bytes
    ofmap_tile = nest.tile_h * nest.tile_w * nest.tile_g * nest.tile_n
    ofmap_copies = buffers if pixels * groups * n > 1 else 1
    return Footprint(
        numbers.stream_ifmap * ifmap_copies * ceil_div(ifmap_tile * numbers.ifmap_bits, 8),
        numbers.stream_second * ifmap_copies * ceil_div(ifmap_tile * numbers.second_bits, 8),
        numbers.stream_weights * weight_copies * weight_bytes,
        numbers.stream_ofmap * ofmap_copies * ceil_div(ofmap_tile * numbers.ofmap_bits, 8),
    )
