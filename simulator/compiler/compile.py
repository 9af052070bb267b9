"""From graph to program.

1. ``lower`` turns each node into a command (or a second name for a tensor, or a Host command).
2. ``_Plan`` keeps activations on chip as long as they fit beside the stream buffers of every command,
   choosing tiles for the room that is left; where they do not fit, the largest goes to DRAM.
3. Weights of a command are prefetched while the one before it runs, where there is room.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.compiler.allocate import ALIGNMENT_BYTES, Request, aligned, allocate
from simulator.compiler.lower import lower_graph
from simulator.compiler.tile import Choice, Room, choose, feasible
from simulator.dataflows import grid_of
from simulator.errors import CompileError
from simulator.fixedpoint.width import ceil_div
from simulator.graph import Graph
from simulator.hwconfig import Device, OperatingPoint, SplitScratchpad
from simulator.program.commands import Command, Host, Matmul, Move, Streams, Vector
from simulator.program.nest import retiled
from simulator.program.program import DRAM, Placement, Program, StreamBuffer
from simulator.program.traffic import (
    WHOLE,
    CommandNumbers,
    footprint,
    numbers_of,
    operand_roles,
    read_elements,
    weight_bytes,
)
from simulator.program.transfers import one_run, transfer_cycles
from simulator.program.verify import verify_program

# A choice that leaves room for the next command's weights is taken if it costs at most this much more.
_PREFETCH_TOLERANCE = 1.02


def compile_graph(graph: Graph, device: Device, point: OperatingPoint | None = None) -> Program:
    """The verified program of ``graph`` on ``device``; tiles are chosen for ``point``'s clock."""
    compiler = _Compiler(graph, device, point or device.operating_point())
    return verify_program(compiler.program())


class _Compiler:
    """One compilation; lives for one call of :func:`compile_graph`."""

    def __init__(self, graph: Graph, device: Device, point: OperatingPoint) -> None:
        self.graph, self.device, self.point = graph, device, point
        self.numbers = device.numbers(point)
        pad = device.scratchpad
        self.split = isinstance(pad, SplitScratchpad)
        if isinstance(pad, SplitScratchpad):
            self.capacities = {
                "ifmap": pad.ifmap_bytes, "weights": pad.weight_bytes, "ofmap": pad.ofmap_bytes
            }  # fmt: skip
        else:
            self.capacities = {"unified": pad.capacity_bytes}
        # Buffers are placed in whole alignment units, so what is left over is of no use.
        whole = ALIGNMENT_BYTES
        self.capacities = {r: size // whole * whole for r, size in self.capacities.items()}
        self.lowered = lower_graph(graph, device)
        self.specs = self.lowered.specs
        self.lives = self._lives()
        self.choices: dict[tuple[int, Streams, Room], Choice] = {}

    def region(self, role: str) -> str:
        """Scratchpad region of a stream buffer or (``ifmap``) of an activation kept on chip."""
        if not self.split:
            return "unified"
        return "ifmap" if role == "second_ifmap" else role

    def _lives(self) -> dict[str, tuple[int, int]]:
        """First and last command of every root tensor; outputs outlive the program, constants and
        states live before and after it."""
        root_of, commands = self.lowered.root_of, self.lowered.commands
        lives = {root_of[name]: (-1, -1) for name in self.graph.inputs}
        lives |= {name: (-1, len(commands)) for name in self.lowered.kept}
        for i, command in enumerate(commands):
            for name in command.inputs:
                first, last = lives[root_of[name]]
                lives[root_of[name]] = first, max(last, i)
            first, last = lives.get(root_of[command.ofmap], (i, i))
            lives[root_of[command.ofmap]] = first, max(last, i)
        for name in self.graph.outputs:
            lives[root_of[name]] = (lives[root_of[name]][0], len(commands))
        return lives

    def always_in_dram(self, resident: bool) -> set[str]:
        """Graph inputs and outputs, what the host reads or writes, and constants that do not stay."""
        root_of = self.lowered.root_of
        names = {*self.graph.inputs, *self.graph.outputs}
        if not resident:
            names |= set(self.lowered.kept) - self.graph.state_names
        for command in self.lowered.commands:
            if isinstance(command, Host):
                names |= {*command.inputs, command.ofmap}
        return {root_of[n] for n in names}

    def weight_bytes(self) -> list[int]:
        """Bytes of each command's constant weights with what their channels bring along; of weights
        that several commands share, at the first of them. What comes with weights that the program makes
        is loaded with their tiles."""
        return [
            weight_bytes(c)
            if isinstance(c, Matmul) and not c.weights_made and i in self.lowered.sharers
            else 0
            for i, c in enumerate(self.lowered.commands)
        ]

    def program(self) -> Program:
        resident = 0
        if self.device.scratchpad.resident_weights:
            total = sum(aligned(size) for size in self.weight_bytes())
            limit = self.capacities.get("weights", self.capacities.get("unified", 0) // 2)
            resident = total if total <= limit else 0
        spilled = self.always_in_dram(resident > 0)
        while True:
            plan = _Plan(self, spilled, resident > 0)
            if plan.tile() and plan.place():
                plan = self._relieved(plan)
                self._check_memory(plan, resident)
                return plan.program(resident)
            assert plan.failed_at is not None
            victim = self._victim(plan.failed_at, spilled)
            if victim is None and resident:
                resident = 0
                spilled = self.always_in_dram(False)
            elif victim is None:
                raise CompileError(
                    f"{self.graph.name} on {self.device.name}", plan.problem,
                    "a larger scratchpad or accumulator memory",
                )  # fmt: skip
            else:
                spilled = spilled | {victim}

    def _check_memory(self, plan: _Plan, resident: int) -> None:
        """A device without DRAM has a link for inputs and outputs, and nowhere to keep anything."""
        homeless = plan.spilled - self.always_in_dram(resident > 0)
        weights = (
            0
            if resident
            else sum(self.weight_bytes())
            + sum(self.specs[name].size_bytes for name in self.lowered.kept)
        )
        if self.device.dram.kind == "none" and (homeless or weights):
            raise CompileError(
                f"{self.graph.name} on {self.device.name}",
                f"dram.kind is 'none', but {weights} bytes of weights and {len(homeless)} activations "
                "do not stay on chip",
                "a larger scratchpad with resident_weights = true, or a device with a memory",
            )

    def _relieved(self, plan: _Plan) -> _Plan:
        """``plan``, or a cheaper one: an activation that leaves others too little room goes to DRAM."""
        crowding = [
            name for name, (first, last) in self.lives.items()
            if name not in plan.spilled
            and any(plan.crowded(i) for i in range(max(first, 0), min(last + 1, len(plan.commands))))
        ]  # fmt: skip
        for name in sorted(crowding, key=lambda n: (-self.specs[n].size_bytes, n)):
            other = _Plan(self, plan.spilled | {name}, plan.resident_weights)
            if other.tile() and other.cost < plan.cost and other.place():
                plan = other
        return plan

    def _victim(self, command: int, spilled: set[str]) -> str | None:
        """The largest activation on chip while ``command`` runs."""
        on_chip = [
            name for name, (first, last) in self.lives.items()
            if first <= command <= last and name not in spilled
        ]  # fmt: skip
        return max(on_chip, key=lambda n: (self.specs[n].size_bytes, n), default=None)


class _Plan:
    """One attempt with a given set of spilled tensors."""

    def __init__(self, compiler: _Compiler, spilled: set[str], resident_weights: bool) -> None:
        self.c, self.spilled, self.resident_weights = compiler, spilled, resident_weights
        self.failed_at: int | None = None
        self.problem = ""
        self.commands: list[Command] = []
        self.sizes: list[dict[str, int]] = []
        self.cost = 0
        weights = compiler.weight_bytes() if resident_weights else []
        self.pinned = [aligned(w) for w in weights]

    def tile(self) -> bool:
        """Choose the tiles of all commands; False where one does not fit, at ``failed_at``."""
        return all(self._tile(i) for i in range(len(self.c.lowered.commands)))

    def crowded(self, index: int) -> bool:
        """Whether activations take more than half of their region while command ``index`` runs."""
        return 2 * self._on_chip_bytes(index) > self.c.capacities[self.c.region("ifmap")]

    def _on_chip_bytes(self, index: int) -> int:
        return sum(
            aligned(self.c.specs[name].size_bytes)
            for name, (first, last) in self.c.lives.items()
            if first <= index <= last and name not in self.spilled
        )

    def _room(self, index: int) -> Room:
        used, pinned, caps = self._on_chip_bytes(index), sum(self.pinned), self.c.capacities
        # Stream buffers are aligned one by one; at most four of them round up.
        slack = 4 * aligned(1)
        if self.c.split:
            return Room(
                0,
                caps["ifmap"] - used - slack,
                caps["weights"] - pinned,
                caps["ofmap"] - slack,
                True,
            )
        return Room(caps["unified"] - used - pinned - slack, 0, 0, 0, False)

    def _streams(self, command: Command) -> Streams:
        root_of = self.c.lowered.root_of
        inputs = tuple(root_of[name] in self.spilled for name in command.inputs)
        weights = isinstance(command, Matmul) and not self.resident_weights
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
        command = replace(command, streams=self._streams(command))
        if isinstance(command, Move):
            self.commands.append(command)
            self.sizes.append({})
            self.cost += self._move_cycles(command)
            return self._on_chip_fits(index)
        numbers = numbers_of(command, self.c.specs, self.c.device, self.c.numbers.clock_khz)
        room = self._room(index)
        # Spilling one tensor more changes the room of few commands.
        known = self.c.choices.get((index, command.streams, room))
        choice = known or self._choose(command, numbers, room)
        self.c.choices[index, command.streams, room] = choice
        if not feasible(choice):
            self.failed_at = index
            self.problem = self._too_small(command, numbers, room)
            return False
        self.cost += choice.cost
        need = footprint(choice.nest, numbers, self.c.numbers.buffers)
        self.commands.append(replace(command, nest=choice.nest))
        self.sizes.append(
            {"ifmap": need.ifmap, "second_ifmap": need.second, "weights": need.weights,
             "ofmap": need.ofmap}
        )  # fmt: skip
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

    def _move_cycles(self, move: Move) -> int:
        spec = self.c.specs[move.ofmap]
        numbers = numbers_of(move, self.c.specs, self.c.device, self.c.numbers.clock_khz)
        fetched = ceil_div(read_elements(move, True) * spec.bits, 8)
        memory = self.c.numbers.memory
        cycles = numbers.fixed_cycles + transfer_cycles(one_run(fetched), memory)
        return cycles + move.streams.ofmap * transfer_cycles(one_run(spec.size_bytes), memory)

    def _on_chip_fits(self, index: int) -> bool:
        region = self.c.region("ifmap")
        if self._on_chip_bytes(index) > self.c.capacities[region]:
            self.failed_at, self.problem = index, "its activations do not fit"
            return False
        return True

    def _choose(self, command: Matmul | Vector, numbers: CommandNumbers, room: Room) -> Choice:
        machine = self.c.numbers
        grid = grid_of(self.c.device, numbers.ifmap_bits, numbers.weight_bits)
        best = choose(command.nest, numbers, machine, grid, room)
        if not numbers.stream_weights or not feasible(best):
            return best
        smaller = room._replace(shared=room.shared * 3 // 4, weights=room.weights // 2)
        frugal = choose(command.nest, numbers, machine, grid, smaller)
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
            used += sum(self.pinned) + (0 if self.c.split else self._on_chip_bytes(i - 1))
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
                first = i - 1 if role == "weights" and i in prefetched else i
                if size:
                    requests.append(Request((i, role), self.c.region(role), size, first, i))
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

    def program(self, resident_weight_bytes: int) -> Program:
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
                self.addresses[root], *c.lives[root],
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
            c.graph.outputs, tuple(c.capacities.items()), resident_weight_bytes, c.point.name,
            tuple(s.name for s in c.graph.states),
        )  # fmt: skip
