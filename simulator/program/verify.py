"""What must hold of every program, whoever made it: checked after compiling and after parsing."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.errors import ProgramError
from simulator.fixedpoint import thresholds
from simulator.fixedpoint.requantize import KINDS
from simulator.hwconfig import DATAFLOWS, FUNCTIONS
from simulator.program.commands import Command, Host, Matmul, Move, Vector
from simulator.program.nest import ORDERS, retiled
from simulator.program.program import DRAM, Placement, Program
from simulator.program.split import SPLITS, shares
from simulator.program.traffic import WHOLE, copied_elements, footprint, numbers_of, operand_roles


def verify_program(program: Program) -> Program:
    """``program`` unchanged, or a :class:`ProgramError` that names the command and what is wrong."""
    for name in (*program.inputs, *program.outputs):
        if name not in program.placements:
            raise ProgramError(program.name, f"tensor {name!r} has no place")
    made = _Written()
    for name in (*program.inputs, *(n for n in program.placements if n in program.constants)):
        made.add(program.placements[name])
    for index, command in enumerate(program.commands):
        where = f"{program.name}: command {index} ({command.operator} {command.name!r})"
        for problem in _problems(program, index, command, made):
            raise ProgramError(where, problem)
        made.add(program.placements[command.ofmap])
    for name in program.states:
        if name not in program.constants or name not in program.placements:
            raise ProgramError(program.name, f"state {name!r} has no place or no first value")
    for name in program.outputs:
        if not made.has(program.placements[name]):
            raise ProgramError(program.name, f"output {name!r} is never written")
    _verify_memory(program)
    return program


class _Written:
    """Bytes that have been written, of what lives equally long: a tensor may be written part by part."""

    def __init__(self) -> None:
        self.ranges: dict[tuple[str, int, int], list[tuple[int, int]]] = {}

    def add(self, place: Placement) -> None:
        own = self.ranges.setdefault((place.region, place.first, place.last), [])
        own.append((place.address_bytes, place.address_bytes + place.spec.size_bytes))

    def has(self, place: Placement) -> bool:
        """Whether all bytes of ``place`` are among them."""
        at, end = place.address_bytes, place.address_bytes + place.spec.size_bytes
        for start, stop in sorted(self.ranges.get((place.region, place.first, place.last), [])):
            if start <= at < stop:
                at = stop
        return at >= end


def _problems(program: Program, index: int, command: Command, made: _Written) -> Iterator[str]:
    for name in (*command.inputs, command.ofmap):
        if name not in program.placements:
            yield f"tensor {name!r} has no place"
    for name in command.inputs:
        if not made.has(program.placements[name]):
            yield f"reads {name!r} before it is written"
    for name in (*command.inputs, command.ofmap):
        place = program.placements[name]
        if not place.first <= index <= place.last:
            yield f"uses {name!r} outside its life, commands {place.first} to {place.last}"
    if isinstance(command, Host):
        if any(program.placements[n].region != DRAM for n in (*command.inputs, command.ofmap)):
            yield "runs on the host but its tensors are not in DRAM"
        yield from _shape_problems(program, command.command)
        return
    if isinstance(command, Matmul | Vector):
        # First, since the sizes of stream buffers follow from the nest.
        yield from _nest_problems(program, command)
        yield from _shape_problems(program, command)
    else:
        yield from _move_problems(program, command)
    yield from _stream_problems(program, index, command)


def _move_problems(program: Program, command: Move) -> Iterator[str]:
    made = program.placements[command.ofmap].spec
    for name in command.sources:
        if program.placements[name].spec.dtype != made.dtype:
            yield f"copies {program.placements[name].spec.dtype} to {made.dtype}"
    written = 0
    for piece in command.pieces:
        if not 0 <= piece.source < len(command.sources):
            yield f"copies from source {piece.source} of {len(command.sources)}"
            return
        source = program.placements[command.sources[piece.source]].spec
        written += copied_elements(piece)
        ends = (
            ("reads", source, piece.source_offset, piece.source_strides),
            ("writes", made, piece.ofmap_offset, piece.ofmap_strides),
        )
        for what, spec, offset, strides in ends:
            steps = [(n - 1) * s for n, s in zip(piece.sizes, strides, strict=True)]
            low, high = (
                offset + sum(min(s, 0) for s in steps),
                offset + sum(max(s, 0) for s in steps),
            )
            if low < 0 or high >= spec.elements or min(piece.sizes, default=1) < 1:
                yield f"{what} elements {low} to {high} of {spec.elements}"
    if written > made.elements:
        yield f"writes {written} elements of {made.elements}"


def _stream_problems(
    program: Program, index: int, command: Matmul | Vector | Move
) -> Iterator[str]:
    if len(command.streams.inputs) != len(command.inputs):
        yield f"says where {len(command.streams.inputs)} of {len(command.inputs)} inputs lie"
        return
    for name, flag in zip(command.inputs, command.streams.inputs, strict=True):
        if flag != (program.placements[name].region == DRAM):
            yield f"says {'stream' if flag else 'on chip'} for {name!r}, which lies elsewhere"
    if command.streams.ofmap != (program.placements[command.ofmap].region == DRAM):
        yield "says otherwise of its ofmap than where that lies"
    if isinstance(command, Move):
        return
    needed = _buffer_bytes(program, command)
    wanted = {role: size > 0 for role, size in needed.items()}
    buffers = {b.role: b for b in program.buffers if b.command == index}
    if set(buffers) != {role for role, needed in wanted.items() if needed}:
        yield f"has stream buffers for {sorted(buffers)}"
    for role, buffer in buffers.items():
        if buffer.size_bytes < needed[role]:
            yield f"its {role} need {needed[role]} bytes, not {buffer.size_bytes}"
        if not buffer.first <= index <= buffer.last:
            yield f"its {role} have room during commands {buffer.first} to {buffer.last}"
    specs = {name: program.placements[name].spec for name in (*command.inputs, command.ofmap)}
    for name, role in zip(command.inputs, operand_roles(command, specs), strict=True):
        constant = name in program.constants and name not in program.states
        if command.streams.prefetched and role in (WHOLE, "weights") and not constant:
            yield f"prefetches {name!r}, which the program makes"
    if command.streams.prefetched:
        before, room = (index or len(program.commands)) - 1, buffers.get("weights")
        if room is None or not room.first <= before <= room.last:
            yield "its prefetched weights have no room while the command before it runs"


def _buffer_bytes(program: Program, command: Matmul | Vector) -> dict[str, int]:
    """Bytes each stream buffer needs; weights that stay on chip are all there."""
    specs = {name: program.placements[name].spec for name in (*command.inputs, command.ofmap)}
    # Durations play no part in sizes, so any clock will do.
    numbers = numbers_of(command, specs, program.device, 1)
    nest, device = command.nest, program.device
    part = shares(nest, command.split, device.cores)[0]
    sharing = device.cores if device.shared_scratchpad else 1
    buffers = footprint(part, numbers, device.scratchpad.buffers)._asdict()
    need = {role: sharing * size for role, size in buffers.items()}
    need["second_ifmap"] = need.pop("second")
    kept = isinstance(command, Matmul) and not command.weights_made
    if kept and not command.streams.weights:
        whole = retiled(nest, nest.out_h, nest.out_w, nest.groups, nest.n, nest.k, nest.order)
        need["weights"] = footprint(whole, numbers._replace(stream_weights=1), 1).weights
    return need


def _nest_problems(program: Program, command: Matmul | Vector) -> Iterator[str]:
    nest = command.nest
    extents = (nest.out_h, nest.out_w, nest.groups, nest.n, nest.k)
    tiles = (nest.tile_h, nest.tile_w, nest.tile_g, nest.tile_n, nest.tile_k)
    if any(not 1 <= t <= e for t, e in zip(tiles, extents, strict=True)):
        yield f"tiles {tiles} do not lie within {extents}"
        return
    if command.split not in ("", *SPLITS):
        yield f"split {command.split!r}, not one of {', '.join(SPLITS)}"
        return
    part = shares(nest, command.split, program.device.cores)[0]
    if any(
        t > e
        for t, e in zip(tiles, (part.out_h, part.out_w, part.groups, part.n, part.k), strict=True)
    ):
        yield f"tiles {tiles} do not lie within a core's part"
        return
    if not 0 <= nest.order < len(ORDERS):
        yield f"loop order {nest.order}, not one of {', '.join(ORDERS)}"
    outputs = nest.batch * nest.out_h * nest.out_w * nest.groups * nest.n
    if outputs != program.placements[command.ofmap].spec.elements:
        yield f"its nest makes {outputs} elements"
    read = nest.batch * nest.in_h * nest.in_w * nest.groups * nest.k
    ifmaps = command.inputs[:1] if isinstance(command, Matmul) else ()
    if any(read != program.placements[name].spec.elements for name in ifmaps):
        yield f"its nest reads {read} elements"
    if isinstance(command, Matmul):
        words = nest.tile_h * nest.tile_w * nest.tile_g * nest.tile_n
        device = program.device
        available = device.accumulator.capacity_bytes * 8 // device.array.accumulator_bits
        if words * device.accumulator.buffers > available:
            yield f"a tile of {words} outputs exceeds {available} accumulators"
    elif (nest.tile_n, nest.tile_k) != (nest.n, nest.k):
        yield "splits a row that its function takes whole"


def _shape_problems(program: Program, command: Matmul | Vector) -> Iterator[str]:
    nest = command.nest
    if isinstance(command, Vector):
        if command.function not in FUNCTIONS:
            yield f"function {command.function!r}, not one of {', '.join(FUNCTIONS)}"
        return
    shapes = {
        command.weights: (nest.groups, nest.kernel_h, nest.kernel_w, nest.k, nest.n),
        command.bias: (nest.groups * nest.n,),
        command.requantize.multiplier: (nest.groups * nest.n,),
        command.requantize.shift: (nest.groups * nest.n,),
    }
    if command.weights_made:
        del shapes[command.weights]
    levels = program.constants.get(command.requantize.multiplier)
    if command.requantize.kind == thresholds.NAME and levels is not None:
        shapes[command.requantize.multiplier] = (nest.groups * nest.n, levels.shape[-1])
    for name, shape in shapes.items():
        if name not in program.constants:
            yield f"constant {name!r} is missing"
        elif program.constants[name].shape != shape:
            yield f"constant {name!r} has shape {program.constants[name].shape}, not {shape}"
    stage = command.requantize
    for kind in (stage.kind, *([stage.tail_kind] if stage.tail_channels else [])):
        if kind not in KINDS:
            yield f"requantizer {kind!r}, not one of {', '.join(KINDS)}"
    if command.dataflow not in DATAFLOWS:
        yield f"dataflow {command.dataflow!r}, not one of {', '.join(DATAFLOWS)}"


def _verify_view(program: Program, view: Placement) -> None:
    """A part of a tensor lies within it and lives as long."""
    whole = program.placements.get(view.view_of)
    end = view.address_bytes + view.spec.size_bytes
    if whole is None or not (
        (whole.region, whole.first, whole.last) == (view.region, view.first, view.last)
        and whole.address_bytes <= view.address_bytes
        and end <= whole.address_bytes + whole.spec.size_bytes
    ):
        raise ProgramError(program.name, f"{view.name!r} is no part of {view.view_of!r}")


def _verify_memory(program: Program) -> None:
    """Nothing alive at the same time shares a byte, and everything lies within its region."""
    capacities = dict(program.capacities)
    roots: dict[tuple[str, int, int, int], tuple[str, int]] = {}
    for p in program.placements.values():
        if p.view_of:
            _verify_view(program, p)
            continue
        key = (p.region, p.address_bytes, p.first, p.last)
        roots[key] = (p.name, max(p.spec.size_bytes, roots.get(key, ("", 0))[1]))
    taken = [
        (region, address, address + size, first, last, name)
        for (region, address, first, last), (name, size) in roots.items()
    ]
    taken += [
        (b.region, b.address_bytes, b.address_bytes + b.size_bytes, b.first, b.last,
         f"{b.role} of command {b.command}")
        for b in program.distinct_buffers
    ]  # fmt: skip
    for region, start, end, _, _, name in taken:
        if start < 0 or (region != DRAM and end > capacities.get(region, -1)):
            raise ProgramError(
                program.name, f"{name} at {region}@{start}..{end}",
                f"within {capacities.get(region, 0)} bytes of region {region!r}",
            )  # fmt: skip
    taken.sort(key=lambda t: (t[0], t[1]))
    for i, (region, _, end, first, last, name) in enumerate(taken):
        for other in taken[i + 1 :]:
            if other[0] != region or other[1] >= end:
                break
            if other[3] <= last and first <= other[4]:
                raise ProgramError(
                    program.name, f"{name} and {other[5]} share bytes of {region} at {other[1]}"
                )
