"""One attempt at a program: tiles for every command, with a given set of tensors in DRAM, and addresses."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from simulator.compiler.allocate import Request, aligned, allocate
from simulator.compiler.estimate import energy_cost
from simulator.compiler.tile import Choice, Room, choose, feasible, given
from simulator.dataflows import grid_of
from simulator.fixedpoint.width import ceil_div
from simulator.hwconfig import DATAFLOWS, DeviceNumbers
from simulator.program.commands import Command, Host, Matmul, Move, Streams, Vector
from simulator.program.nest import Nest, retiled
from simulator.program.program import DRAM, Placement, Program, StreamBuffer
from simulator.program.split import SPLITS, extent, shares
from simulator.program.traffic import (
    WHOLE,
    CommandNumbers,
    footprint,
    numbers_of,
    operand_roles,
    read_elements,
)
from simulator.program.transfers import one_run, transfer_cycles

if TYPE_CHECKING:
    from simulator.compiler.compile import Compiler

# A choice that leaves room for the next command's weights is taken if it costs at most this much more.
_PREFETCH_TOLERANCE = 1.02


class Mapping(NamedTuple):
    """How a command runs: divided over the cores or not, its dataflow, the tiles of the largest part."""

    split: str
    dataflow: int
    choice: Choice


class Plan:
    """One attempt with a given set of spilled tensors, and ``pinned`` bytes of each command's weights that
    stay on chip between inferences (of weights that several share, at the first of them)."""

    def __init__(self, compiler: Compiler, spilled: set[str], pinned: list[int]) -> None:
        self.c, self.spilled, self.pinned = compiler, spilled, pinned
        sharers = compiler.lowered.sharers
        self.keeping = {i for first, size in enumerate(pinned) if size for i in sharers[first]}
        self.failed_at: int | None = None
        self.problem = ""
        self.commands: list[Command] = []
        self.sizes: list[dict[str, int]] = []
        self.cost = 0.0

    def tile(self) -> bool:
        """Choose the tiles of all commands; False where one does not fit, at ``failed_at``."""
        return all(self._tile(i) for i in range(len(self.c.lowered.commands)))

    def crowded(self, index: int) -> bool:
        """Whether activations take more than half of their region while command ``index`` runs."""
        return 2 * self._on_chip_bytes[index] > self.c.capacities[self.c.region("ifmap")]

    @cached_property
    def _on_chip_bytes(self) -> list[int]:
        """Bytes of activations on chip while each command runs."""
        found = [0] * len(self.c.lowered.commands)
        for name, (first, last) in self.c.lives.items():
            if name not in self.spilled:
                size = aligned(self.c.specs[name].size_bytes)
                for index in range(max(first, 0), min(last + 1, len(found))):
                    found[index] += size
        return found

    def _room(self, index: int) -> Room:
        used, pinned, caps = self._on_chip_bytes[index], sum(self.pinned), self.c.capacities
        # Stream buffers are aligned one by one; at most four of them round up.
        slack = 4 * aligned(1)
        if self.c.split:
            return Room(
                0,
                (caps["ifmap"] - used - slack) // self.c.sharing,
                (caps["weights"] - pinned) // self.c.sharing,
                (caps["ofmap"] - slack) // self.c.sharing,
                True,
            )
        return Room((caps["unified"] - used - pinned - slack) // self.c.sharing, 0, 0, 0, False)

    def _streams(self, index: int, command: Command) -> Streams:
        root_of = self.c.lowered.root_of
        inputs = tuple(root_of[name] in self.spilled for name in command.inputs)
        weights = isinstance(command, Matmul) and index not in self.keeping
        for name, role, stream in zip(
            command.inputs, operand_roles(command, self.c.specs), inputs, strict=True
        ):
            if role == "weights":
                weights = stream
            elif role == WHOLE and stream:
                weights = weights or self.c.specs[name].size_bytes > 0
        return Streams(inputs, weights, root_of[command.ofmap] in self.spilled)

    def _tile(self, index: int) -> bool:
        command = self.c.lowered.commands[index]
        if isinstance(command, Host):
            self.commands.append(command)
            self.sizes.append({})
            return True
        command = replace(command, streams=self._streams(index, command))
        if isinstance(command, Move):
            self.commands.append(command)
            self.sizes.append({})
            self.cost += self._move_cost(command)
            return self._on_chip_fits(index)
        numbers = numbers_of(command, self.c.specs, self.c.device, self.c.numbers.clock_khz)
        room = self._room(index)
        # Spilling one tensor more changes the room of few commands, and many have equal ones.
        own = command.name if command.name in self.c.tiles else ""
        key = (command.nest, numbers, room, self.c.cores, own)
        mapping = self.c.choices.get(key) or self._choose(command, numbers, room)
        self.c.choices[key] = mapping
        split, choice = mapping.split, mapping.choice
        if not feasible(choice):
            self.failed_at = index
            self.problem = self._too_small(command, numbers, room)
            return False
        self.cost += choice.cost
        need = footprint(choice.nest, numbers, self.c.numbers.buffers)
        t = choice.nest
        nest = retiled(command.nest, t.tile_h, t.tile_w, t.tile_g, t.tile_n, t.tile_k, t.order)
        command = replace(command, nest=nest, split=split)
        if isinstance(command, Matmul):
            command = replace(command, dataflow=DATAFLOWS[mapping.dataflow])
        self.commands.append(command)
        sizes = {
            "ifmap": need.ifmap, "second_ifmap": need.second, "weights": need.weights,
            "ofmap": need.ofmap,
        }  # fmt: skip
        self.sizes.append({role: size * self.c.sharing for role, size in sizes.items()})
        return True

    def _too_small(self, command: Matmul | Vector, numbers: CommandNumbers, room: Room) -> str:
        """What the smallest tile of ``command`` needs beside what there is."""
        nest, whole = command.nest, isinstance(command, Vector)
        least = retiled(nest, 1, 1, 1, nest.n if whole else 1, nest.k if whole else 1, 0)
        need = footprint(least, numbers, self.c.numbers.buffers)
        parts = {
            "ifmap": need.ifmap + need.second, "weights": need.weights, "ofmap": need.ofmap
        }  # fmt: skip
        free = room._asdict() if room.split else {"scratchpad": room.shared}
        wanted = parts if room.split else {"scratchpad": sum(parts.values())}
        text = ", ".join(f"{k} {v} bytes ({max(free[k], 0)} free)" for k, v in wanted.items())
        words = self.c.numbers.accumulator_bytes * 8 // self.c.numbers.accumulator_bits
        if not whole:
            text += f", {self.c.numbers.accumulator_buffers} accumulators ({words} in all)"
        return (
            f"the smallest tile of {command.operator.upper()} {command.name!r} does not fit: it "
            f"needs {text}"
        )

    def _move_cost(self, move: Move) -> float:
        spec = self.c.specs[move.ofmap]
        numbers = numbers_of(move, self.c.specs, self.c.device, self.c.numbers.clock_khz)
        fetched = ceil_div(read_elements(move, True) * spec.bits, 8)
        written = move.streams.ofmap * spec.size_bytes
        memory = self.c.numbers.memory
        cycles = numbers.fixed_cycles + transfer_cycles(one_run(fetched), False, memory)
        cycles += transfer_cycles(one_run(written), True, memory)
        if self.c.goal.energy:
            return float(energy_cost(0.0, cycles, fetched + written, self.c.goal))
        return float(cycles)

    def _on_chip_fits(self, index: int) -> bool:
        region = self.c.region("ifmap")
        if self._on_chip_bytes[index] > self.c.capacities[region]:
            self.failed_at, self.problem = index, "its activations do not fit"
            return False
        return True

    def _choose(self, command: Matmul | Vector, numbers: CommandNumbers, room: Room) -> Mapping:
        """The best of: dataflows that the array can do, and ways in which the cores may divide a command,
        or one of them alone do it."""
        array, cores = self.c.device.array, self.c.cores
        dataflows = [numbers.dataflow]
        if isinstance(command, Matmul):
            dataflows += [DATAFLOWS.index(other) for other in array.other_dataflows]
        # Where all cores move something, each has its part of the DRAM.
        memory = self.c.numbers.memory
        share = memory._replace(kb_per_s=max(memory.kb_per_s // cores, 1))
        machine = self.c.numbers._replace(memory=share)
        found: list[Mapping] = []
        for dataflow in dataflows:
            of = numbers._replace(dataflow=dataflow)
            whole = self._tiles(command.name, command.nest, of, self.c.numbers, room)
            found.append(Mapping("", dataflow, whole))
            for split in SPLITS if cores > 1 and command.name not in self.c.tiles else ():
                # The vector unit's functions take rows of channels whole.
                divisible = split != "channels" or isinstance(command, Matmul)
                if divisible and extent(command.nest, split) > 1:
                    part = shares(command.nest, split, cores)[0]
                    choice = self._tiles(command.name, part, of, machine, room)
                    found.append(Mapping(split, dataflow, choice))
        return min(found, key=lambda mapping: mapping.choice.cost)

    def _tiles(
        self, name: str, nest: Nest, numbers: CommandNumbers, machine: DeviceNumbers, room: Room
    ) -> Choice:
        bits = numbers.ifmap_bits, numbers.weight_bits
        grid, goal = grid_of(self.c.device, *bits, numbers.sparse > 0, numbers.group), self.c.goal
        if name in self.c.tiles:
            return given(nest, numbers, machine, grid, room, goal, self.c.tiles[name])
        best = choose(nest, numbers, machine, grid, room, goal)
        if not numbers.stream_weights or not feasible(best):
            return best
        smaller = room._replace(shared=room.shared * 3 // 4, weights=room.weights // 2)
        frugal = choose(nest, numbers, machine, grid, smaller, goal)
        return frugal if frugal.cost <= best.cost * _PREFETCH_TOLERANCE else best

    def _prefetchable(self) -> set[int]:
        """Commands whose weights have room, by size alone, while the command before them runs."""
        region = self.c.region("weights")
        found: set[int] = set()
        for i in range(1, len(self.commands)):
            size = self.sizes[i].get("weights", 0)
            if not size or not self._keeps_constants(self.commands[i]):
                continue
            used = sum(
                aligned(s) for role, s in self.sizes[i - 1].items() if self.c.region(role) == region
            )
            used += sum(self.pinned) + (0 if self.c.split else self._on_chip_bytes[i - 1])
            if used + aligned(size) <= self.c.capacities[region]:
                found.add(i)
        return found

    def _keeps_constants(self, command: Command) -> bool:
        """Whether what ``command`` loads as weights is there before the program starts."""
        roles = zip(command.inputs, operand_roles(command, self.c.specs), strict=True)
        kept, states = self.c.lowered.kept, self.c.graph.state_names
        return all(n in kept and n not in states for n, role in roles if role in (WHOLE, "weights"))

    def _requests(self, prefetched: set[int]) -> list[Request]:
        region = self.c.region("ifmap")
        last_command = len(self.commands) - 1
        requests = [
            Request(
                name, DRAM if name in self.spilled else region, self.c.specs[name].size_bytes, *life
            )
            for name, life in self.c.lives.items()
        ]
        for i, sizes in enumerate(self.sizes):
            for role, size in sizes.items():
                early = role == "weights" and i in prefetched
                # The first command's are fetched while the last one of the inference before runs.
                last = last_command if early and i == 0 else i
                first = i - 1 if early and i else i
                if size:
                    requests.append(Request((i, role), self.c.region(role), size, first, last))
        requests += [
            Request((i, "weights"), self.c.region("weights"), size, 0, last_command)
            for i, size in enumerate(self.pinned) if size
        ]  # fmt: skip
        return requests

    def place(self) -> bool:
        """Give everything an address; False where something finds none, at ``failed_at``."""
        prefetched = self._prefetchable()
        while True:
            self.requests = self._requests(prefetched)
            self.addresses, failed = allocate(self.requests, self.c.capacities)
            if failed is None:
                self.prefetched = prefetched
                self._fetch_the_first_early()
                return True
            near = {i for i in prefetched if failed.first <= i <= failed.last + 1}
            if near:
                prefetched = prefetched - near
            elif prefetched:
                prefetched = set()
            else:
                self.failed_at = max(failed.first, 0)
                self.problem = f"{failed.size_bytes} bytes for {failed.key} find no place"
                return False

    def _fetch_the_first_early(self) -> None:
        """The first command's weights as well, where they can stay until the end."""
        if not self.sizes[0].get("weights") or not self._keeps_constants(self.commands[0]):
            return
        requests = self._requests(self.prefetched | {0})
        addresses, failed = allocate(requests, self.c.capacities)
        if failed is None:
            self.requests, self.addresses = requests, addresses
            self.prefetched = self.prefetched | {0}

    def program(self) -> Program:
        c = self.c
        commands = [
            replace(k, streams=replace(k.streams, prefetched=True))
            if i in self.prefetched else k
            for i, k in enumerate(self.commands)
        ]  # fmt: skip
        placements = {}
        for name, root in c.lowered.root_of.items():
            region = DRAM if root in self.spilled else c.region("ifmap")
            tensor = c.graph.tensors.get(name)
            placements[name] = Placement(
                name, c.specs[name], tensor.quantization if tensor else None, region,
                self.addresses[root] + c.lowered.offsets.get(name, 0), *c.lives[root],
                root if name in c.lowered.offsets else "",
            )  # fmt: skip
        pinned = {(i, "weights") for i, size in enumerate(self.pinned) if size}
        buffers = tuple(
            StreamBuffer(i, r.key[1], r.region, self.addresses[r.key], r.size_bytes, r.first, r.last)
            for r in self.requests if isinstance(r.key, tuple)
            for i in (c.lowered.sharers[r.key[0]] if r.key in pinned else r.key[:1])
        )  # fmt: skip
        return Program(
            c.graph.name, c.graph.profile, c.device, c.graph.sha256, placements, buffers,
            c.lowered.constants | c.lowered.kept, tuple(commands), c.graph.inputs,
            c.graph.outputs, tuple(c.capacities.items()), sum(self.pinned), c.point.name,
            tuple(s.name for s in c.graph.states),
        )  # fmt: skip
