"""What a command's tiles move, and how long the DMA takes for it: plain integers for kernels.

The compiler (to choose tiles), the cycle model and the energy counts all call these functions, so
there is one account of traffic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from simulator.fixedpoint.width import ceil_div
from simulator.hwconfig import DATAFLOWS, Device, DeviceNumbers
from simulator.jit import jit
from simulator.program.commands import Command, Host, Matmul, Move, Vector
from simulator.program.nest import (
    Nest,
    Tile,
    ifmap_elements,
    largest_ifmap_elements,
    ofmap_elements,
    tile_counts,
    untiled,
    weight_elements,
)
from simulator.program.program import Program
from simulator.tensor import TensorSpec

MATMUL, VECTOR, MOVE, HOST = 0, 1, 2, 3


class CommandNumbers(NamedTuple):
    """One command as plain integers.

    ``dataflow`` indexes ``hwconfig.DATAFLOWS``. The ``stream_*`` flags are 1 where the operand comes
    from or goes to DRAM. ``fixed_cycles`` is the whole cost of a Host command, and the on-chip copy of
    a Move.
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
    fixed_cycles: int


def numbers_of(
    command: Command, specs: dict[str, TensorSpec], device: Device, clock_khz: int
) -> CommandNumbers:
    """``command`` as integers; ``specs`` gives the tensors it names."""
    s = command.streams
    ifmap_bits = specs[command.inputs[0]].bits
    ofmap_bits = specs[command.ofmap].bits
    second_bits = specs[command.inputs[1]].bits if len(command.inputs) > 1 else 0
    flags = (int(s.weights), int(s.ifmap), int(s.second_ifmap), int(s.ofmap), int(s.prefetched))
    if isinstance(command, Matmul):
        return CommandNumbers(
            MATMUL, DATAFLOWS.index(command.dataflow), ifmap_bits, 0,  # type: ignore[arg-type]
            command.weight_bits, ofmap_bits, command.channel_bits, command.lane.cycles, *flags, 0,
        )  # fmt: skip
    if isinstance(command, Vector):
        return CommandNumbers(
            VECTOR, 0, ifmap_bits, second_bits, 0, ofmap_bits, 0, command.lane.cycles, *flags, 0
        )
    if isinstance(command, Move):
        copied = ceil_div(specs[command.ofmap].size_bytes, device.dma.bytes_per_cycle)
        on_chip = 0 if s.ifmap or s.ofmap else device.dma.latency_cycles + copied
        return CommandNumbers(MOVE, 0, ifmap_bits, 0, 0, ofmap_bits, 0, 0, *flags, on_chip)
    assert isinstance(command, Host)
    seconds = device.host.call_latency_s + command.operations / device.host.operations_per_s
    return CommandNumbers(
        HOST, 0, ifmap_bits, second_bits, 0, ofmap_bits, 0, 0, *flags,
        math.ceil(seconds * clock_khz * 1000),
    )  # fmt: skip


def nest_of(command: Command, specs: dict[str, TensorSpec]) -> Nest:
    """The nest of a command; a Move and a Host command are one tile, and a Move that pads reads less
    than it makes."""
    if isinstance(command, Matmul | Vector):
        return command.nest
    made, read = specs[command.ofmap].elements, specs[command.inputs[0]].elements
    return untiled(out=(1, made), ifmap=(1, read))


def program_numbers(program: Program, clock_khz: int) -> list[tuple[Nest, CommandNumbers]]:
    """Nest and numbers of every command of a program."""
    specs = {name: p.spec for name, p in program.placements.items()}
    return [
        (nest_of(c, specs), numbers_of(c, specs, program.device, clock_khz))
        for c in program.commands
    ]


def weight_bytes(command: Matmul) -> int:
    """All weights of a command, packed, with the bias and output scaling of its channels."""
    nest = command.nest
    channels = nest.groups * nest.n
    bits = channels * nest.k * nest.kernel_h * nest.kernel_w * command.weight_bits
    return ceil_div(bits + channels * command.channel_bits, 8)


@jit
def weight_tile_bytes(nest: Nest, numbers: CommandNumbers, tile: Tile) -> int:
    """Weights of one tile, packed; a channel's bias and output scaling come with its first weights."""
    if numbers.weight_bits == 0:
        return 0
    bits = weight_elements(nest, tile) * numbers.weight_bits
    if tile.first_k:
        bits += (tile.g1 - tile.g0) * (tile.n1 - tile.n0) * numbers.channel_bits
    return ceil_div(bits, 8)


@jit
def ifmap_tile_bytes(nest: Nest, tile: Tile, bits: int) -> int:
    """Ifmap of one tile, packed."""
    return ceil_div(ifmap_elements(nest, tile) * bits, 8)


@jit
def ofmap_tile_bytes(numbers: CommandNumbers, tile: Tile) -> int:
    """Ofmap of one tile, packed."""
    return ceil_div(ofmap_elements(tile) * numbers.ofmap_bits, 8)


@jit
def transfer_cycles(size_bytes: int, device: DeviceNumbers) -> int:
    """DMA cycles of one transfer between DRAM and scratchpad: latency, then whole bursts at the slower
    of the DMA's and the DRAM's rate. Nothing to move takes no time."""
    if size_bytes == 0:
        return 0
    bursts = ceil_div(size_bytes, device.burst_bytes) * device.burst_bytes
    dma = ceil_div(bursts, device.dma_bytes_per_cycle)
    dram = ceil_div(bursts * device.clock_khz, device.dram_kb_per_s)
    return device.dma_latency_cycles + max(dma, dram)


@jit
def vector_cycles(elements: int, lane_cycles: int, lanes: int) -> int:
    """Vector-unit cycles for ``elements`` outputs of ``lane_cycles`` issue slots each."""
    return ceil_div(elements * lane_cycles, lanes)


class Footprint(NamedTuple):
    """Stream buffers of one choice of tiles, in bytes, all copies included."""

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
