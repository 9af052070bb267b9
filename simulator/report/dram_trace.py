"""What passes between a device and its DRAM, burst by burst, for simulators of DRAM alone.

Two forms: DRAMsim3's (``0x40 READ 12``: address, what, cycle of the device's clock) and Ramulator 2's
``LoadStoreTrace`` (``LD 0x40``). Tensors lie where the program places them; weights follow them, tile by
tile in the order in which they are first needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from simulator.errors import UsageError
from simulator.fixedpoint.width import ceil_div
from simulator.program.commands import Command, Matmul, Move, Vector
from simulator.program.nest import Nest, Tile, ifmap_extent, tile_at, tile_count
from simulator.program.program import DRAM
from simulator.program.traffic import (
    SEEN,
    WHOLE,
    CommandNumbers,
    operand_roles,
    program_numbers,
    read_elements,
    weight_key,
    weight_tile_bytes,
)
from simulator.result import Result
from simulator.timing.result import (
    OPERANDS_TURN,
    OPERANDS_TURN_END,
    RESULT_TURN,
    RESULT_TURN_END,
)

FORMATS = ("dramsim3", "ramulator2")
_PAGE = 4096


class Run(NamedTuple):
    """Neighbouring bytes."""

    address: int
    size_bytes: int


class Access(NamedTuple):
    """One burst."""

    cycle: int
    address: int
    write: bool


def accesses(result: Result) -> Iterator[Access]:
    """All bursts in the order in which the DMA makes them, spread evenly over its turns."""
    if result.device.cores > 1:
        raise UsageError("DRAM trace", f"of {result.device.cores} cores", "a device of one core")
    tracer = _Tracer(result)
    turns = [turn for index in range(len(result.program.commands)) for turn in tracer.turns(index)]
    # Weights may be fetched while the command before theirs runs.
    for turn in sorted(turns, key=lambda t: t.start):
        yield from tracer.bursts(turn)


def dram_trace(result: Result, form: str) -> str:
    """The whole trace as text, in one of ``FORMATS``."""
    if form not in FORMATS:
        raise UsageError("DRAM trace", f"format {form!r}", ", ".join(FORMATS))
    lines = []
    for cycle, address, write in accesses(result):
        if form == "dramsim3":
            lines.append(f"0x{address:x} {'WRITE' if write else 'READ'} {cycle}\n")
        else:
            lines.append(f"{'ST' if write else 'LD'} 0x{address:x}\n")
    return "".join(lines)


class _Turn(NamedTuple):
    start: int
    end: int
    write: bool
    runs: list[Run]


class _Tracer:
    """Of one result; lives for one call of :func:`accesses`."""

    def __init__(self, result: Result) -> None:
        self.result, self.program = result, result.program
        self.burst = result.device.dma.burst_bytes
        self.specs = {name: p.spec for name, p in self.program.placements.items()}
        self.places = {n: p for n, p in self.program.placements.items() if p.region == DRAM}
        ends = [p.address_bytes + p.spec.size_bytes for p in self.places.values()]
        self.free = ceil_div(max(ends, default=0), _PAGE) * _PAGE
        numbers = result.device.numbers(result.point)
        self.numbered = program_numbers(self.program, numbers.clock_khz)

    def bursts(self, turn: _Turn) -> Iterator[Access]:
        burst, length = self.burst, turn.end - turn.start
        found = [
            at
            for run in turn.runs
            for at in range(run.address // burst, ceil_div(run.address + run.size_bytes, burst))
        ]
        for place, at in enumerate(found):
            yield Access(turn.start + place * length // len(found), at * burst, turn.write)

    def turns(self, index: int) -> Iterator[_Turn]:
        """One for each time that the DMA is taken by this command, its prefetch included."""
        command, timing = self.program.commands[index], self.result.timing.commands[index]
        nest, numbers = self.numbered[index]
        weights = self._weight_places(nest, numbers)
        last_weights = last_ifmap = -1
        for number, span in enumerate(timing.spans):
            tile = tile_at(nest, number)
            runs: list[Run] = []
            key = weight_key(numbers, tile)
            if numbers.stream_weights and key != last_weights:
                own = self._weights(command, nest, numbers, tile, weights)
                if numbers.prefetched and number == 0:
                    yield _Turn(*timing.prefetch_turn, False, own)
                else:
                    runs += own
                last_weights = key
            if tile.ifmap_index != last_ifmap:
                runs += self._operands(command, nest, tile)
                last_ifmap = tile.ifmap_index
            if runs:
                yield _Turn(int(span[OPERANDS_TURN]), int(span[OPERANDS_TURN_END]), False, runs)
            if span[RESULT_TURN] >= 0:
                made = self._ofmap(command, nest, tile)
                yield _Turn(int(span[RESULT_TURN]), int(span[RESULT_TURN_END]), True, made)

    def _weight_places(self, nest: Nest, numbers: CommandNumbers) -> dict[int, int]:
        """Addresses of the tiles of constant weights."""
        found: dict[int, int] = {}
        if numbers.kind or not numbers.stream_weights or numbers.weight_rows:
            return found
        for number in range(tile_count(nest)):
            tile = tile_at(nest, number)
            if tile.weight_index not in found:
                found[tile.weight_index] = self.free
                size = int(weight_tile_bytes(nest, numbers, tile))
                self.free += ceil_div(size, self.burst) * self.burst
        return found

    def _weights(
        self, command: Command, nest: Nest, numbers: CommandNumbers, tile: Tile, places: dict[int, int]
    ) -> list[Run]:  # fmt: skip
        if isinstance(command, Matmul) and not command.weights_made:
            return [Run(places[tile.weight_index], int(weight_tile_bytes(nest, numbers, tile)))]
        if isinstance(command, Matmul):
            return self._matrix(command, nest, tile)
        roles = zip(command.inputs, operand_roles(command, self.specs), strict=True)
        return [self._whole(n) for n, role in roles if role == WHOLE and n in self.places]

    def _matrix(self, command: Matmul, nest: Nest, tile: Tile) -> list[Run]:
        """Rows of weights that the program made: k by n for each group and tap."""
        base, bits = self.places[command.weights].address_bytes, command.weight_bits
        taps, size = nest.kernel_h * nest.kernel_w, (tile.n1 - tile.n0) * bits
        return [
            Run(base + (((g * taps + t) * nest.k + k) * nest.n + tile.n0) * bits // 8, ceil_div(size, 8))
            for g in range(tile.g0, tile.g1) for t in range(taps) for k in range(tile.k0, tile.k1)
        ]  # fmt: skip

    def _whole(self, name: str) -> Run:
        place = self.places[name]
        return Run(place.address_bytes, place.spec.size_bytes)

    def _operands(self, command: Command, nest: Nest, tile: Tile) -> list[Run]:
        if isinstance(command, Move):
            return self._copied(command)
        assert isinstance(command, Matmul | Vector)
        found: list[Run] = []
        for name, role in zip(command.inputs, operand_roles(command, self.specs), strict=True):
            if name in self.places and role not in (WHOLE, "weights", SEEN):
                rows, cols = ifmap_extent(nest, tile)
                top = max(tile.h0 * nest.stride_h - nest.pad_top, 0)
                left = max(tile.w0 * nest.stride_w - nest.pad_left, 0)
                image = nest.in_h, nest.in_w, nest.groups, nest.k
                part = (top, int(rows), left, int(cols), (tile.g0, tile.g1), (tile.k0, tile.k1))
                found += self._image(name, tile.batch, image, part)
        return found

    def _ofmap(self, command: Command, nest: Nest, tile: Tile) -> list[Run]:
        if isinstance(command, Move):
            return [self._whole(command.ofmap)]
        image = nest.out_h, nest.out_w, nest.groups, nest.n
        rows, cols = tile.h1 - tile.h0, tile.w1 - tile.w0
        part = (tile.h0, rows, tile.w0, cols, (tile.g0, tile.g1), (tile.n0, tile.n1))
        return self._image(command.ofmap, tile.batch, image, part)

    def _image(
        self, name: str, batch: int, image: tuple[int, int, int, int],
        part: tuple[int, int, int, int, tuple[int, int], tuple[int, int]],
    ) -> list[Run]:  # fmt: skip
        """Runs of a part of an NHWC tensor, neighbours joined."""
        height, width, groups, channels = image
        top, rows, left, cols, (g0, g1), (c0, c1) = part
        place = self.places[name]
        bits, found = place.spec.bits, list[Run]()
        for h in range(top, top + rows):
            for w in range(left, left + cols):
                pixel = ((batch * height + h) * width + w) * groups
                for g in range(g0, g1):
                    start = ((pixel + g) * channels + c0) * bits
                    size = (c1 - c0) * bits
                    address, end = place.address_bytes + start // 8, ceil_div(start + size, 8)
                    run = Run(address, place.address_bytes + end - address)
                    if found and found[-1].address + found[-1].size_bytes >= run.address:
                        first = found[-1].address
                        found[-1] = Run(first, run.address + run.size_bytes - first)
                    else:
                        found.append(run)
        return found

    def _copied(self, command: Move) -> list[Run]:
        """What a Move reads from DRAM, taken from the beginning of its sources."""
        left = ceil_div(
            read_elements(command, True) * self.program.placements[command.ofmap].spec.bits, 8
        )
        found = []
        for name in dict.fromkeys(n for n in command.sources if n in self.places):
            size = min(left, self.places[name].spec.size_bytes)
            if size:
                found.append(Run(self.places[name].address_bytes, size))
            left -= size
        return found
