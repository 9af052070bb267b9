"""From graph to program.

1. ``lower`` turns each node into a command (or a second name for a tensor, or a Host command).
2. ``Plan`` keeps activations on chip as long as they fit beside the stream buffers of every command,
   choosing tiles for the room that is left; where they do not fit, the largest goes to DRAM.
3. Weights of a command are prefetched while the one before it runs, where there is room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from simulator.compiler.allocate import ALIGNMENT_BYTES, aligned
from simulator.compiler.estimate import LATENCY, Goal
from simulator.compiler.fuse import STRIPES, chains, fused
from simulator.compiler.lower import LoweredGraph, lower_graph
from simulator.compiler.plan import Mapping as Chosen
from simulator.compiler.plan import Plan
from simulator.compiler.tile import Room, Tiles
from simulator.compiler.weights import stored
from simulator.errors import CompileError
from simulator.graph import Graph
from simulator.hwconfig import Device, OperatingPoint, SplitScratchpad
from simulator.program.commands import Host, Matmul, Vector
from simulator.program.nest import Nest, macs
from simulator.program.program import Program
from simulator.program.traffic import CommandNumbers, weight_bytes
from simulator.program.verify import verify_program

# Depth first must save at least this much of the whole model's cost.
_WORTH_FUSING = 0.998


def compile_graph(
    graph: Graph,
    device: Device,
    point: OperatingPoint | None = None,
    tiles: Mapping[str, Tiles] | None = None,
    goal: Goal = LATENCY,
    fuse: bool = False,
) -> Program:
    """The verified program of ``graph`` on ``device``; tiles are chosen for ``goal`` at ``point``'s clock,
    but for the commands that ``tiles`` names and gives them for. ``fuse``: layers whose results do not fit
    on chip run depth first where that is better."""
    compiler = Compiler(graph, device, point or device.operating_point(), tiles or {}, goal)
    plan = compiler.plan()
    if device.cores > 1 and not device.shared_scratchpad:
        # What cores make for each other goes through DRAM; one of them alone may be faster.
        compiler.cores = 1
        alone = compiler.plan()
        if alone.cost < plan.cost:
            plan = alone
        else:
            compiler.cores = device.cores
    if fuse:
        plan = _fused(compiler, plan)
    return verify_program(plan.program())


def _fused(compiler: Compiler, plan: Plan) -> Plan:
    """``plan``, or a better one with some layers depth first: from the first layer on, the best chain and
    number of stripes is taken wherever one is better."""
    best, first, outputs = compiler.lowered, 0, set(compiler.graph.outputs)
    while first < len(best.commands):
        found: tuple[Plan, LoweredGraph] | None = None
        for number in chains(best, first, plan.spilled, outputs):
            last = None
            for stripes in STRIPES:
                other = fused(best, first, number, stripes)
                trial = compiler.trial(other, plan) if other else None
                if other is None or trial is None:
                    continue
                if trial.cost < (found[0].cost if found else plan.cost * _WORTH_FUSING):
                    found = trial, other
                if last is not None and trial.cost > last:
                    break  # more stripes share more rows
                last = trial.cost
        compiler.use(found[1] if found else best)
        if found is not None and found[0].place():
            first += len(found[1].commands) - len(best.commands)
            plan, best = found
        first += 1
    compiler.use(best)
    # From the beginning: what lies on chip now may leave room for more.
    return min(plan, compiler.plan(), key=lambda p: p.cost)


class Compiler:
    """One compilation; lives for one call of :func:`compile_graph`."""

    def __init__(
        self, graph: Graph, device: Device, point: OperatingPoint, tiles: Mapping[str, Tiles], goal: Goal
    ) -> None:  # fmt: skip
        self.graph, self.device, self.point = graph, device, point
        self.tiles, self.goal = tiles, goal
        self.cores = device.cores  # that commands are divided over
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
        self.use(self._stored(lower_graph(graph, device)))
        tiled = [c.name for c in self.lowered.commands if isinstance(c, Matmul | Vector)]
        for name in tiles:
            if name not in tiled:
                where = f"{graph.name} on {device.name}"
                raise CompileError(where, f"no command called {name!r} has tiles", ", ".join(tiled))
        self.choices: dict[tuple[Nest, CommandNumbers, Room, int, str], Chosen] = {}
        # Stream buffers in a scratchpad that all cores use.
        self.sharing = device.cores if device.shared_scratchpad else 1

    def use(self, lowered: LoweredGraph) -> None:
        """Compile these commands from now on."""
        self.lowered, self.specs = lowered, lowered.specs
        self.lives = self._lives()

    def _stored(self, lowered: LoweredGraph) -> LoweredGraph:
        """Commands that know what their weights take in memory."""
        array = self.device.array
        if array.weight_codec == "none" and array.sparsity is None:
            return lowered
        commands = tuple(
            stored(c, array, lowered.constants[c.weights])
            if isinstance(c, Matmul) and not c.weights_made else c
            for c in lowered.commands
        )  # fmt: skip
        return replace(lowered, commands=commands)

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
        """Graph inputs and outputs, what the host reads or writes, constants that do not stay, and what
        cores with scratchpads of their own make for each other."""
        root_of = self.lowered.root_of
        names = {*self.graph.inputs, *self.graph.outputs}
        if self.cores > 1 and not self.device.shared_scratchpad:
            names |= set(self.lives) - set(self.lowered.kept) | self.graph.state_names
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

    def _kept_weights(self) -> list[int]:
        """Bytes of each command's weights that are to stay on chip between inferences, 0 for the others.

        All of them where they fit; otherwise those that are used least often first, since loading them
        hides behind the least work, and room is left for tiles of the others.
        """
        sizes = [aligned(size) for size in self.weight_bytes()]
        if not self.device.scratchpad.resident_weights:
            return [0] * len(sizes)
        limit = self.capacities.get("weights", self.capacities.get("unified", 0) // 2)
        if sum(sizes) <= limit:
            return sizes
        room = limit if not self.split else limit * 3 // 4
        kept = [0] * len(sizes)
        for i in sorted((i for i, size in enumerate(sizes) if size), key=self._uses):
            if sizes[i] <= room:
                kept[i] = sizes[i]
                room -= sizes[i]
        return kept

    def _uses(self, index: int) -> tuple[float, int]:
        command = self.lowered.commands[index]
        assert isinstance(command, Matmul)
        sharers = len(self.lowered.sharers[index])
        return sharers * macs(command.nest) / weight_bytes(command), index

    def plan(self) -> Plan:
        """What fits, with as many tensors and weights on chip as there is room for."""
        kept = self._kept_weights()
        plan, fits = self._fit(kept, self.always_in_dram(self._whole(kept)), placed=True)
        if not fits and any(kept):
            plan, fits = self._fit([0] * len(kept), self.always_in_dram(False), placed=True)
        if not fits:
            raise CompileError(
                f"{self.graph.name} on {self.device.name}", plan.problem,
                "a larger scratchpad or accumulator memory",
            )  # fmt: skip
        plan = self._relieved(plan)
        self._check_memory(plan)
        return plan

    def trial(self, lowered: LoweredGraph, before: Plan) -> Plan | None:
        """Other commands, with what ``before`` has in DRAM there as well: tiles, but no addresses yet."""
        self.use(lowered)
        kept = self._kept_weights() if any(before.pinned) else [0] * len(lowered.commands)
        spilled = self.always_in_dram(self._whole(kept)) | (before.spilled & set(lowered.root_of))
        plan, fits = self._fit(kept, spilled, placed=False)
        return plan if fits else None

    def _fit(self, kept: list[int], spilled: set[str], *, placed: bool) -> tuple[Plan, bool]:
        """A plan with as little more in DRAM than ``spilled`` as it takes, and whether that is enough;
        without addresses unless ``placed``."""
        while True:
            plan = Plan(self, spilled, kept)
            if plan.tile() and (not placed or plan.place()):
                return plan, True
            assert plan.failed_at is not None
            victim = self._victim(plan.failed_at, spilled)
            if victim is None:
                return plan, False
            spilled = spilled | {victim}

    def _whole(self, kept: list[int]) -> bool:
        """Whether all weights stay on chip, and with them what else a model brings along."""
        return any(kept) and kept == [aligned(size) for size in self.weight_bytes()]

    def _check_memory(self, plan: Plan) -> None:
        """A device without DRAM has a link for inputs and outputs, and nowhere to keep anything."""
        whole = self._whole(plan.pinned)
        homeless = plan.spilled - self.always_in_dram(whole)
        loaded = [
            size for size, kept in zip(self.weight_bytes(), plan.pinned, strict=True) if not kept
        ]
        weights = sum(loaded)
        if not whole:
            weights += sum(self.specs[name].size_bytes for name in self.lowered.kept)
        if self.device.dram.kind == "none" and (homeless or weights):
            raise CompileError(
                f"{self.graph.name} on {self.device.name}",
                f"dram.kind is 'none', but {weights} bytes of weights and {len(homeless)} activations "
                "do not stay on chip",
                "a larger scratchpad with resident_weights = true, or a device with a memory",
            )

    def _relieved(self, plan: Plan) -> Plan:
        """``plan``, or a cheaper one: an activation that leaves others too little room goes to DRAM."""
        crowding = [
            name for name, (first, last) in self.lives.items()
            if name not in plan.spilled
            and any(plan.crowded(i) for i in range(max(first, 0), min(last + 1, len(plan.commands))))
        ]  # fmt: skip
        for name in sorted(crowding, key=lambda n: (-self.specs[n].size_bytes, n)):
            other = Plan(self, plan.spilled | {name}, plan.pinned)
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
