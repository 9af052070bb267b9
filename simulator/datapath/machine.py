"""Runs a program on values: every tensor is read from and written to the bytes where the compiler put
it, so a wrong address or a wrong tile shows as wrong values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from simulator.dataflows import grid_of
from simulator.datapath import chains, matmul, packed, packing
from simulator.datapath import counts as tally
from simulator.datapath.counts import new_counts, width_of
from simulator.datapath.functions import run_vector
from simulator.datapath.matmul import Channels, Numerics
from simulator.datapath.memory import Memory, region_bytes
from simulator.datapath.move import run_move
from simulator.fixedpoint import thresholds
from simulator.fixedpoint.requantize import KINDS
from simulator.fixedpoint.width import EXACT_BITS
from simulator.hwconfig import DATAFLOWS
from simulator.program.commands import Command, Host, Matmul, Move, Vector
from simulator.program.nest import macs
from simulator.program.program import Program

_HOST_ACCUMULATOR_BITS = 64


@dataclass(frozen=True)
class CommandCounts:
    """What one command did, over all samples run.

    ``first_overflow``: the first output that overflowed, its place in the ofmaps of all samples (-1:
    none); ``worst_excess``: the most by which a sum left its range. ``accumulator_bits``: the narrowest
    accumulator that would not have overflowed, ``psum_bits`` likewise within the array, where that has
    a width of its own; both 0 unless asked for.
    """

    macs: int
    outputs: int
    overflows: int
    first_overflow: int = -1
    worst_excess: int = 0
    psum_bits: int = 0
    accumulator_bits: int = 0

    def joined(self, other: CommandCounts) -> CommandCounts:
        """With those of the samples that came after."""
        first = self.first_overflow
        if first < 0 <= other.first_overflow:
            first = self.outputs + other.first_overflow
        return CommandCounts(
            self.macs + other.macs, self.outputs + other.outputs, self.overflows + other.overflows,
            first, max(self.worst_excess, other.worst_excess), max(self.psum_bits, other.psum_bits),
            max(self.accumulator_bits, other.accumulator_bits),
        )  # fmt: skip


@dataclass(frozen=True)
class Values:
    """Result of a run: arrays of shape (samples, *tensor shape).

    ``tensors`` holds every tensor asked for, as it was when its command had just finished, or of those
    asked for as they are read, when the first command was about to read it; ``states``
    (without samples) what the program remembers after the last sample.
    """

    outputs: Mapping[str, np.ndarray]
    tensors: Mapping[str, np.ndarray]
    counts: tuple[CommandCounts, ...]
    states: Mapping[str, np.ndarray]


class _Wanted(NamedTuple):
    """Tensors to keep when they have been made, and when they are first read."""

    made: frozenset[str]
    read: frozenset[str]


@dataclass(frozen=True)
class _Product:
    """A Matmul ready to run."""

    command: Matmul
    weights: np.ndarray
    channels: Channels
    numerics: Numerics
    never_overflows: bool
    bound: int  # of any sum
    macs: int  # of one image
    # Chains where the order of additions matters.
    way: packing.Packed | chains.Chains | matmul.Sums


class Machine:
    """A program made ready; :meth:`run` may be called any number of times, one at a time."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._memory: Memory | None = None
        self._others: list[Machine] = []  # of further threads
        self._products = {
            i: _prepare(program, command, program.constants[inner.weights])
            for i, command in enumerate(program.commands)
            if isinstance(inner := _inner(command), Matmul) and not inner.weights_made
        }

    def samples_within(self, limit_bytes: int) -> int:
        """How many samples at once keep the machine's memories, and the operands and result of a command,
        within ``limit_bytes``; at least 1."""
        specs = [p.spec for p in self.program.placements.values()]
        largest = max(spec.elements * spec.container.itemsize for spec in specs)
        return max(1, limit_bytes // (sum(region_bytes(self.program).values()) + 3 * largest))

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        keep: Iterable[str] = (),
        states: Mapping[str, np.ndarray] | None = None,
        carry: bool = True,
        threads: int = 1,
        widths: bool = False,
        keep_read: Iterable[str] = (),
    ) -> Values:
        """Run all samples of ``inputs`` (name -> (samples, *shape)); keep the tensors named: of ``keep``
        what a command made, of ``keep_read`` what one read.

        ``widths``: look at every sum, how wide an accumulator it takes (each product is done twice).

        Samples that have nothing to do with each other are shared out among ``threads``, and so are the
        pixels of large products where threads are left over; no number depends on how many there are.

        Samples of a program with states follow each other: each starts with what the one before it
        left, the first with ``states`` (by default the program's first values). Without ``carry`` they
        have nothing to do with each other: all start with ``states``.
        """
        wanted = _Wanted(frozenset(keep), frozenset(keep_read))
        known = dict(states or {n: self.program.constants[n] for n in self.program.states})
        if not (carry and self.program.states):
            return self._shared_out(inputs, wanted, known, threads, widths)
        runs = []
        for sample in range(next(iter(inputs.values())).shape[0]):
            one = {name: values[sample : sample + 1] for name, values in inputs.items()}
            runs.append(self._run(one, wanted, known, widths, threads))
            known = dict(runs[-1].states)
        return _joined(runs)

    def _shared_out(
        self, inputs: Mapping[str, np.ndarray], wanted: _Wanted, states: Mapping[str, np.ndarray],
        threads: int, widths: bool,
    ) -> Values:  # fmt: skip
        samples = next(iter(inputs.values())).shape[0]
        parts = min(threads, samples)
        if parts <= 1:
            return self._run(inputs, wanted, states, widths, threads)
        while len(self._others) < parts - 1:
            other = copy(self)  # its products, but a memory of its own
            other._memory, other._others = None, []
            self._others.append(other)
        borders = [samples * i // parts for i in range(parts + 1)]
        with ThreadPoolExecutor(parts) as pool:
            runs = [
                pool.submit(
                    machine._run, _between(inputs, start, end), wanted, states, widths, threads // parts
                )
                for machine, (start, end) in zip([self, *self._others], pairwise(borders), strict=True)
            ]  # fmt: skip
            return _joined([run.result() for run in runs])

    def _run(
        self, inputs: Mapping[str, np.ndarray], wanted: _Wanted, states: Mapping[str, np.ndarray],
        widths: bool, threads: int,
    ) -> Values:  # fmt: skip
        program = self.program
        places = program.placements
        samples = next(iter(inputs.values())).shape[0]
        memory = self._memory_for(samples)
        kept: dict[str, np.ndarray] = {}
        for name, values in program.constants.items():
            if name in places:
                values = states.get(name, values)
                memory.write(places[name], np.repeat(values[np.newaxis], samples, axis=0))
        for name in program.inputs:
            memory.write(places[name], inputs[name])
        counts = []
        for index, command in enumerate(program.commands):
            for name in wanted.read.intersection(command.inputs) - kept.keys():
                kept[name] = memory.read(places[name])
            count = self._execute(index, command, memory, widths, threads)
            counts.append(count)
            if command.ofmap in wanted.made:
                kept[command.ofmap] = memory.read(places[command.ofmap])
        outputs = {name: memory.read(places[name]) for name in program.outputs}
        left = {name: memory.read(places[name])[-1] for name in program.states}
        return Values(outputs, kept, tuple(counts), left)

    def _memory_for(self, samples: int) -> Memory:
        if self._memory is None or self._memory.samples != samples:
            self._memory = Memory(self.program, samples)
        else:
            self._memory.forget()
        return self._memory

    def _execute(
        self, index: int, command: Command, memory: Memory, widths: bool, threads: int
    ) -> CommandCounts:
        places = self.program.placements
        operands = [memory.operand(places[name], slot) for slot, name in enumerate(command.inputs)]
        inner = _inner(command)
        out = memory.result(places[command.ofmap], zeros=not isinstance(inner, Matmul))
        counts = CommandCounts(0, out.size, 0)
        if isinstance(inner, Matmul) and inner.weights_made:
            parts = []
            for sample in range(out.shape[0]):
                made = _weights(inner, operands[1][sample])
                product = _prepare(self.program, command, made)
                parts.append(_run_product(product, operands[0][sample], out[sample], widths, 1))
            counts = reduce(CommandCounts.joined, parts)
        elif isinstance(inner, Matmul):
            counts = _run_product(self._products[index], operands[0], out, widths, threads)
        elif isinstance(inner, Vector):
            run_vector(inner, operands, out)
        else:
            run_move(inner, operands, out)
        memory.write(places[command.ofmap], out)
        return counts


def _between(inputs: Mapping[str, np.ndarray], start: int, end: int) -> dict[str, np.ndarray]:
    return {name: values[start:end] for name, values in inputs.items()}


def _inner(command: Command) -> Matmul | Vector | Move:
    return command.command if isinstance(command, Host) else command


def _joined(runs: list[Values]) -> Values:
    """Runs of some samples each as one run."""
    counts = tuple(
        reduce(CommandCounts.joined, command)
        for command in zip(*(run.counts for run in runs), strict=True)
    )
    first = runs[0]
    outputs = {n: np.concatenate([run.outputs[n] for run in runs]) for n in first.outputs}
    tensors = {n: np.concatenate([run.tensors[n] for run in runs]) for n in first.tensors}
    return Values(outputs, tensors, counts, runs[-1].states)


def _weights(command: Matmul, made: np.ndarray) -> np.ndarray:
    nest = command.nest
    return made.reshape(nest.groups, nest.kernel_h, nest.kernel_w, nest.k, nest.n)


def _numerics(program: Program, command: Matmul, on_host: bool) -> Numerics:
    array, stage = program.device.array, command.requantize
    bits = program.placements[command.ifmap].spec.bits, command.weight_bits
    grid = grid_of(program.device, *bits, group=command.group)
    # Of sparse weights a row of PEs does the work of several channels, most of which are 0.
    kept, of = array.kept_of if command.sparse else (1, 1)
    rows = grid.rows * of // kept
    return Numerics(
        command.ifmap_offset, command.weight_offset, command.pad_code,
        _HOST_ACCUMULATOR_BITS if on_host else array.accumulator_bits,
        array.overflow == "saturate" and not on_host,
        DATAFLOWS.index(command.dataflow),  # type: ignore[arg-type]
        rows, KINDS[stage.kind], KINDS[stage.tail_kind or stage.kind],
        command.nest.groups * command.nest.n - stage.tail_channels,
        stage.zero_point, stage.clamp_min, stage.clamp_max,
        _HOST_ACCUMULATOR_BITS if on_host else array.sum_bits, 1 if on_host else grid.terms,
    )  # fmt: skip


def _channels(program: Program, command: Matmul) -> Channels:
    stage = command.requantize
    multiplier, shift = program.constants[stage.multiplier], program.constants[stage.shift]
    table = np.zeros((0, 0), np.int64)
    if stage.kind == thresholds.NAME:
        multiplier, table = np.zeros(shift.size, np.int64), multiplier
    return Channels(program.constants[command.bias], multiplier, shift, table)


def output_stage(program: Program, command: Matmul) -> tuple[Channels, Numerics]:
    """How the sums of a product on the array become codes, as ``matmul.any_rounding`` takes it."""
    return _channels(program, command), _numerics(program, command, False)


def accumulator_bound(command: Matmul, program: Program) -> int:
    """The largest magnitude any partial sum of ``command`` can reach, whatever its input."""
    return _bound(command, program, _weights_range(command, program))


def _weights_range(command: Matmul, program: Program) -> np.ndarray:
    """The weights, or where the program makes them the code farthest from their zero point."""
    if not command.weights_made:
        return program.constants[command.weights]
    spec, nest = program.placements[command.weights].spec, command.nest
    farthest = max((spec.minimum, spec.maximum), key=lambda c: abs(c - command.weight_offset))
    shape = (nest.groups, nest.kernel_h, nest.kernel_w, nest.k, nest.n)
    return np.broadcast_to(np.array(farthest, spec.container), shape)


def _reach(command: Matmul, program: Program) -> int:
    """The largest magnitude that enters a PE of the ifmap."""
    spec = program.placements[command.ifmap].spec
    return max(
        abs(code - command.ifmap_offset) for code in (spec.minimum, spec.maximum, command.pad_code)
    )


def _bound(command: Matmul, program: Program, weights: np.ndarray) -> int:
    sizes = np.abs(weights.astype(np.int64) - command.weight_offset)
    norms = sizes.sum(axis=(1, 2, 3)).reshape(-1) * _reach(command, program)
    return int((norms + np.abs(program.constants[command.bias])).max())


def _prepare(program: Program, command: Command, weights: np.ndarray) -> _Product:
    inner = _inner(command)
    assert isinstance(inner, Matmul)
    numerics = _numerics(program, inner, isinstance(command, Host))
    bound = _bound(inner, program, weights)
    if bound >= 1 << EXACT_BITS:
        raise AssertionError(f"{inner.name}: sums up to {bound} do not fit the datapath's int64")
    channels = _channels(program, inner)
    never_overflows = bound < 1 << (numerics.accumulator_bits - 1)
    sum_type = np.int32 if bound < 1 << 31 else np.int64
    ifmap = program.placements[inner.ifmap].spec
    if not _any_order(program, inner, weights, numerics, bound):
        largest = _largest(program, inner, weights, numerics, bound)
        way = chains.chains_of(inner, weights, numerics, True, largest)
    elif size := (
        0 if inner.weights_made else packing.operand_size(inner, weights, ifmap, sum_type)
    ):
        way = packing.pack(inner, weights, channels, size, ifmap.container.kind == "i")
    else:
        way = matmul.sums_of(inner, weights, sum_type)
    of_an_image = macs(inner.nest) // inner.nest.batch
    return _Product(inner, weights, channels, numerics, never_overflows, bound, of_an_image, way)


def _any_order(
    program: Program, command: Matmul, weights: np.ndarray, numerics: Numerics, bound: int
) -> bool:
    """Whether sums in any order give the device's bits."""
    if numerics.saturating and bound >= 1 << (numerics.accumulator_bits - 1):
        return False
    limit = 1 << (numerics.psum_bits - 1)
    if numerics.psum_bits == numerics.accumulator_bits or bound < limit:
        return True
    sizes = np.abs(weights.astype(np.int64) - command.weight_offset)
    reach = _reach(command, program)
    return chains.psum_bound(command.nest, numerics, sizes, reach) < limit


def _largest(
    program: Program, command: Matmul, weights: np.ndarray, numerics: Numerics, bound: int
) -> int:
    """A bound of what an addition in the device's order gives before it narrows."""
    if not numerics.saturating:
        return bound
    weight = int(np.abs(weights.astype(np.int64) - command.weight_offset).max())
    product = numerics.terms * weight * _reach(command, program)
    psum = 1 << (numerics.psum_bits - 1)
    start = int(np.abs(program.constants[command.bias]).max())
    accumulator = psum + (1 << (numerics.accumulator_bits - 1))
    return min(bound, max(start, psum + product, accumulator))


def _run_product(
    product: _Product, ifmap: np.ndarray, out: np.ndarray, widths: bool, threads: int
) -> CommandCounts:
    """Fill ``out``."""
    p, nest = product, product.command.nest
    x = ifmap.reshape(-1, nest.in_h, nest.in_w, nest.groups * nest.k)
    y = out.reshape(-1, nest.out_h, nest.out_w, nest.groups * nest.n)
    counts = new_counts()
    counts[tally.MACS] = p.macs * x.shape[0]
    rest = p.command, p.channels, p.numerics
    if isinstance(p.way, packing.Packed):
        packed.run(p.way, *rest, p.never_overflows, x, y, counts, threads)
    elif isinstance(p.way, chains.Chains):
        chains.run(p.way, *rest, x, y, counts)
    else:
        counts[tally.MACS] = 0  # its tiles are counted
        matmul.run(p.way, *rest, x, y, counts)
    psum_bits = accumulator_bits = 0
    if widths:
        psum_bits, accumulator_bits = _widths(p, x)
    first = int(counts[tally.FIRST])
    return CommandCounts(
        int(counts[tally.MACS]), out.size, int(counts[tally.OVERFLOWS]),
        first if first < tally.NEVER else -1, int(counts[tally.EXCESS]), psum_bits,
        accumulator_bits,
    )  # fmt: skip


def _widths(product: _Product, x: np.ndarray) -> tuple[int, int]:
    """The widths that the sums of ``x`` take: within the array, if it has one of its own, and behind."""
    p, numerics = product, product.numerics
    wide = chains.chains_of(p.command, p.weights, numerics, False, p.bound)
    counts = new_counts()
    chains.run(wide, p.command, p.channels, numerics, x, None, counts)
    psums = int(counts[tally.PSUM_LOW]), int(counts[tally.PSUM_HIGH])
    sums = int(counts[tally.SUM_LOW]), int(counts[tally.SUM_HIGH])
    if numerics.psum_bits < numerics.accumulator_bits:
        return width_of(*psums), width_of(*sums)
    if numerics.saturating:
        return 0, max(width_of(*psums), width_of(*sums))
    return 0, width_of(*sums)
