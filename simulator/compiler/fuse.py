"""Layers run depth first: some rows of the last one at a time, so that what lies between stays on chip.

Consecutive commands become several times as many, each for a stripe of rows. A stripe's operands are rows
of the first command's ifmap, its result rows of the last one's ofmap: views, which are no copies. What a
stripe needs of the layers between is computed for it alone, rows that two stripes share twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from simulator.compiler.lower import LoweredGraph
from simulator.fixedpoint.width import ceil_div
from simulator.program.commands import Command, Matmul, Vector
from simulator.program.split import rows_of
from simulator.program.traffic import IFMAP, SECOND_IFMAP, operand_roles
from simulator.tensor import TensorSpec

STRIPES = (2, 4, 8, 16)
LONGEST = 4  # commands


def chains(
    lowered: LoweredGraph, first: int, between: set[str], outputs: set[str]
) -> Iterator[int]:
    """How many commands from the ``first`` on can run depth first, all that they hand on being in
    ``between``."""
    readers = Counter(lowered.root_of[name] for c in lowered.commands for name in set(c.inputs))
    names = Counter(lowered.root_of.values())
    for number in range(1, LONGEST + 1):
        commands = lowered.commands[first : first + number]
        if len(commands) < number or not _by_rows(commands[-1], lowered):
            return
        if number == 1:
            if lowered.root_of[commands[0].inputs[0]] in lowered.kept:
                return
            continue
        made, following = commands[-2].ofmap, commands[-1]
        alone = readers[made] == names[made] == 1 and made not in outputs
        if made not in between or not alone or following.inputs[0] != made:
            return
        yield number


def _by_rows(command: Command, lowered: LoweredGraph) -> bool:
    """Whether the command makes rows of an image from rows of one other, whole bytes each."""
    if not isinstance(command, Matmul | Vector) or command.nest.batch > 1:
        return False
    if isinstance(command, Matmul) and command.weights_made:
        return False
    roles = operand_roles(command, lowered.specs)
    nest, made = command.nest, lowered.specs[command.ofmap]
    read = lowered.specs[command.inputs[0]] if command.inputs else made
    out_bits = nest.out_w * nest.groups * nest.n * made.bits
    in_bits = nest.in_w * nest.groups * nest.k * read.bits
    whole = made.elements == nest.out_h * nest.out_w * nest.groups * nest.n
    return (
        nest.out_h > 1 and roles[:1] == (IFMAP,) and SECOND_IFMAP not in roles and whole
        and out_bits % 8 == in_bits % 8 == 0
    )  # fmt: skip


def fused(lowered: LoweredGraph, first: int, number: int, stripes: int) -> LoweredGraph | None:
    """``lowered`` with those commands depth first in so many stripes of rows; None where a stripe would
    read padding alone."""
    chain = [c for c in lowered.commands[first : first + number] if isinstance(c, Matmul | Vector)]
    source, target, height = chain[0].inputs[0], chain[-1].ofmap, chain[-1].nest.out_h
    specs, root_of = dict(lowered.specs), dict(lowered.root_of)
    offsets, made = dict(lowered.offsets), list[Command]()

    def rows_named(name: str, spec: TensorSpec, low: int) -> str:
        """A view of rows of ``name`` from ``low`` on."""
        view = f"{name}[{low}:{low + spec.shape[1]}]"
        specs[view], root_of[view] = spec, lowered.root_of[name]
        offsets[view] = lowered.offsets.get(name, 0) + low * (spec.size_bytes // spec.shape[1])
        return view

    each = ceil_div(height, stripes)
    for start in range(0, height, each):
        low, high = start, min(start + each, height)
        parts = list[Matmul | Vector]()
        for command in reversed(chain):
            found = rows_of(command.nest, low, high)
            if found is None:
                return None
            nest, needed = found
            spec = _rows(lowered, command.ofmap, high - low, nest.out_w, nest.groups * nest.n)
            if command.ofmap == target:
                ofmap = rows_named(target, spec, low)
            else:
                ofmap = f"{command.ofmap}[{low}:{high}] of {start}"
                specs[ofmap], root_of[ofmap] = spec, ofmap
            parts.append(
                replace(command, name=f"{command.name}[{low}:{high}]", nest=nest, ofmap=ofmap)
            )
            low, high = needed
        nest = parts[-1].nest
        before = rows_named(
            source, _rows(lowered, source, high - low, nest.in_w, nest.groups * nest.k), low
        )
        for part in reversed(parts):
            made.append(_reading(part, before))
            before = part.ofmap
    for command in chain[:-1]:
        del specs[command.ofmap], root_of[command.ofmap]
    commands = (*lowered.commands[:first], *made, *lowered.commands[first + number :])
    return replace(lowered, commands=commands, specs=specs, root_of=root_of, offsets=offsets)


def _reading(command: Matmul | Vector, ifmap: str) -> Command:
    if isinstance(command, Matmul):
        return replace(command, ifmap=ifmap)
    return replace(command, inputs=(ifmap, *command.inputs[1:]))


def _rows(lowered: LoweredGraph, name: str, rows: int, width: int, channels: int) -> TensorSpec:
    return TensorSpec((1, rows, width, channels), lowered.specs[name].dtype)
