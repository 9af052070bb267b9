"""Runs a program on values: every tensor is read from and written to the bytes where the compiler put
it, so a wrong address or a wrong tile shows as wrong values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from simulator.datapath.matmul import Channels, Numerics, run_chains, run_sums
from simulator.datapath.memory import Memory, region_bytes
from simulator.datapath.vector import run_vector
from simulator.fixedpoint.requantize import KINDS
from simulator.fixedpoint.width import EXACT_BITS
from simulator.hwconfig import DATAFLOWS
from simulator.program.commands import Command, Host, Matmul, Move, Vector
from simulator.program.program import Program
from simulator.tensor import TensorSpec

_HOST_ACCUMULATOR_BITS = 32


@dataclass(frozen=True)
class CommandCounts:
    """What one command did, over all samples run."""

    macs: int
    outputs: int
    overflows: int


@dataclass(frozen=True)
class Values:
    """Result of a run: arrays of shape (samples, *tensor shape).

    ``tensors`` holds every tensor asked for, as it was when its command had just finished.
    """

    outputs: Mapping[str, np.ndarray]
    tensors: Mapping[str, np.ndarray]
    counts: tuple[CommandCounts, ...]


@dataclass(frozen=True)
class _Product:
    """A Matmul ready to run."""

    command: Matmul
    weights: np.ndarray
    taps: np.ndarray
    channels: Channels
    numerics: Numerics
    exact: bool  # sums in any order give the device's bits
    sum_type: type


class Machine:
    """A program made ready; :meth:`run` may be called any number of times."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._products = {
            i: _prepare(program, command)
            for i, command in enumerate(program.commands)
            if isinstance(_inner(command), Matmul)
        }

    def samples_within(self, limit_bytes: int) -> int:
        """How many samples at once keep the machine's memories within ``limit_bytes``; at least 1."""
        return max(1, limit_bytes // sum(region_bytes(self.program).values()))

    def run(self, inputs: Mapping[str, np.ndarray], keep: Iterable[str] = ()) -> Values:
        """Run all samples of ``inputs`` (name -> (samples, *shape)); keep the tensors named."""
        program, wanted = self.program, set(keep)
        samples = next(iter(inputs.values())).shape[0]
        memory = Memory(program, samples)
        kept: dict[str, np.ndarray] = {}
        for name in program.inputs:
            memory.write(program.placements[name], inputs[name])
        counts = []
        for index, command in enumerate(program.commands):
            count = self._execute(index, command, memory)
            counts.append(count)
            if command.ofmap in wanted:
                kept[command.ofmap] = memory.read(program.placements[command.ofmap])
        outputs = {name: memory.read(program.placements[name]) for name in program.outputs}
        return Values(outputs, kept, tuple(counts))

    def _execute(self, index: int, command: Command, memory: Memory) -> CommandCounts:
        places = self.program.placements
        operands = [memory.read(places[name]) for name in command.inputs]
        spec = places[command.ofmap].spec
        out = np.zeros((operands[0].shape[0], *spec.shape), spec.container)
        inner = _inner(command)
        macs = overflows = 0
        if isinstance(inner, Matmul):
            macs, overflows = _run_product(self._products[index], operands[0], out)
        elif isinstance(inner, Vector):
            run_vector(inner, operands, out)
        else:
            _run_move(inner, operands[0], out, spec)
        memory.write(places[command.ofmap], out)
        return CommandCounts(macs, out.size, overflows)


def _inner(command: Command) -> Matmul | Vector | Move:
    return command.command if isinstance(command, Host) else command


def _run_move(command: Move, source: np.ndarray, out: np.ndarray, spec: TensorSpec) -> None:
    if not command.before:
        out[...] = source.reshape(out.shape)
        return
    out[...] = command.fill
    inside = tuple(
        slice(b, size - a)
        for b, a, size in zip(command.before, command.after, spec.shape, strict=True)
    )
    out[(slice(None), *inside)] = source


def _numerics(program: Program, command: Matmul, on_host: bool) -> Numerics:
    array, stage = program.device.array, command.requantize
    return Numerics(
        command.ifmap_offset, command.weight_offset, command.pad_code,
        _HOST_ACCUMULATOR_BITS if on_host else array.accumulator_bits,
        array.overflow == "saturate" and not on_host,
        DATAFLOWS.index(command.dataflow),  # type: ignore[arg-type]
        array.rows, KINDS[stage.kind], stage.zero_point, stage.clamp_min, stage.clamp_max,
    )  # fmt: skip


def accumulator_bound(command: Matmul, program: Program) -> int:
    """The largest magnitude any partial sum of ``command`` can reach, whatever its input."""
    spec = program.placements[command.ifmap].spec
    reach = max(
        abs(code - command.ifmap_offset) for code in (spec.minimum, spec.maximum, command.pad_code)
    )
    weights = np.abs(program.constants[command.weights].astype(np.int64) - command.weight_offset)
    norms = weights.sum(axis=(1, 2, 3)).reshape(-1) * reach
    return int((norms + np.abs(program.constants[command.bias])).max())


def _prepare(program: Program, command: Command) -> _Product:
    inner = _inner(command)
    assert isinstance(inner, Matmul)
    numerics = _numerics(program, inner, isinstance(command, Host))
    bound = accumulator_bound(inner, program)
    if bound >= 1 << EXACT_BITS:
        raise AssertionError(f"{inner.name}: sums up to {bound} do not fit the datapath's int64")
    weights = program.constants[inner.weights]
    nest = inner.nest
    taps = np.zeros((0, 0, 0), weights.dtype)
    if nest.n == nest.k == 1:
        taps = np.ascontiguousarray(weights[..., 0, 0].transpose(1, 2, 0))
    channels = Channels(*(
        program.constants[name]
        for name in (inner.bias, inner.requantize.multiplier, inner.requantize.shift)
    ))  # fmt: skip
    never_overflows = bound < 1 << (numerics.accumulator_bits - 1)
    return _Product(
        inner, weights, taps, channels, numerics, never_overflows or not numerics.saturating,
        np.int32 if bound < 1 << 31 else np.int64,
    )  # fmt: skip


def _run_product(product: _Product, ifmap: np.ndarray, out: np.ndarray) -> tuple[int, int]:
    """Fill ``out``; returns MACs done and outputs whose accumulator overflowed."""
    p, nest = product, product.command.nest
    x = ifmap.reshape(-1, nest.in_h, nest.in_w, nest.groups * nest.k)
    y = out.reshape(-1, nest.out_h, nest.out_w, nest.groups * nest.n)
    one = nest._replace(batch=1)  # the batch joins the samples
    shape = (nest.tile_h * nest.tile_w, nest.tile_g * nest.tile_n)
    counts = np.zeros(2, np.int64)
    if p.exact:
        sums = np.zeros(shape, p.sum_type)
        run_sums(x, p.weights, p.taps, p.channels, one, p.numerics, sums, y, counts)
    else:
        sums = np.zeros(shape, np.int64)
        run_chains(x, p.weights, p.channels, one, p.numerics, sums, y, counts)
    return int(counts[0]), int(counts[1])
