"""Layers run depth first: some rows of the last one at a time, so that what lies between stays on chip.

Consecutive commands become several times as many, each for a stripe of rows. A stripe's operands are rows
of the first command's ifmap, its result rows of the last one's ofmap: views, which are no copies. What a
stripe needs of the layers between is computed for it alone, rows that two stripes share twice.
"""

from __future__ import annotations

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
    lowered: LoweredGraph, between: set[str], outputs: set[str]
) -> Iterator[tuple[int, int]]:
    """(first, number) of commands that can run depth first, all that they hand on being in ``between``."""
    readers: dict[str, int] = {}
    for command in lowered.commands:
        for name in set(command.inputs):
            readers[lowered.root_of[name]] = readers.get(lowered.root_of[name], 0) + 1
    names = list(lowered.root_of.values())
    for first in range(len(lowered.commands)):
        for number in range(2, LONGEST + 1):
            commands = lowered.commands[first : first + number]
            if len(commands) < number or not all(_by_rows(c, lowered) for c in commands):
                break
            made, following = commands[-2].ofmap, commands[-1]
            alone = readers.get(made) == 1 and names.count(made) == 1 and made not in outputs
            if made not in between or not alone or following.inputs[0] != made:
                break
            if lowered.root_of[commands[0].inputs[0]] not in lowered.kept:
                yield first, number


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
    commands = lowered.commands[first : first + number]
    each = ceil_div(commands[-1].nest.out_h, stripes)  # type: ignore[union-attr]
    specs, root_of = dict(lowered.specs), dict(lowered.root_of)
    offsets, made = dict(lowered.offsets), list[Command]()
    for low in range(0, commands[-1].nest.out_h, each):  # type: ignore[union-attr]
        rows, parts = (low, min(low + each, commands[-1].nest.out_h)), list[Command]()  # type: ignore[union-attr]
        for place, command in reversed(list(enumerate(commands))):
            assert isinstance(command, Matmul | Vector)
            found = rows_of(command.nest, *rows)
            if found is None:
                return None
            nest, needed = found
            suffix = f"[{rows[0]}:{rows[1]}]"
            ofmap = f"{command.ofmap}{suffix}"
            specs[ofmap] = _rows(lowered, command.ofmap, command, rows, False)
            if place == number - 1:
                root_of[ofmap] = lowered.root_of[command.ofmap]
                offsets[ofmap] = rows[0] * specs[ofmap].size_bytes // (rows[1] - rows[0])
            else:
                ofmap = f"{ofmap} of {low}"
                specs[ofmap] = specs.pop(f"{command.ofmap}{suffix}")
                root_of[ofmap] = ofmap
            parts.append(replace(command, name=f"{command.name}{suffix}", nest=nest, ofmap=ofmap))
            rows = needed
        parts.reverse()
        source = commands[0].inputs[0]
        view = f"{source}[{rows[0]}:{rows[1]}]"
        specs[view] = _rows(lowered, source, commands[0], rows, True)
        root_of[view] = lowered.root_of[source]
        offsets[view] = lowered.offsets.get(source, 0) + rows[0] * specs[view].size_bytes // (
            rows[1] - rows[0]
        )
        before = view
        for part in parts:
            made.append(_reading(part, before))
            before = part.ofmap
    for command in commands[:-1]:
        del specs[command.ofmap], root_of[command.ofmap]
    whole = (*lowered.commands[:first], *made, *lowered.commands[first + number :])
    return replace(lowered, commands=whole, specs=specs, root_of=root_of, offsets=offsets)


def _reading(command: Command, ifmap: str) -> Command:
    if isinstance(command, Matmul):
        return replace(command, ifmap=ifmap)
    assert isinstance(command, Vector)
    return replace(command, inputs=(ifmap, *command.inputs[1:]))


def _rows(
    lowered: LoweredGraph, name: str, command: Command, rows: tuple[int, int], read: bool
) -> TensorSpec:
    assert isinstance(command, Matmul | Vector)
    nest = command.nest
    width, channels = (nest.in_w, nest.k) if read else (nest.out_w, nest.n)
    return TensorSpec(
        (1, rows[1] - rows[0], width, nest.groups * channels), lowered.specs[name].dtype
    )
