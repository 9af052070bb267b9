"""Each rule of ``program.verify``, broken once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import every_command
import numpy as np
import pytest
from random_devices import device_dict

from simulator.compiler import compile_graph
from simulator.errors import ProgramError
from simulator.hwconfig import device_from_dict
from simulator.program.commands import Host, Matmul, Move, Vector
from simulator.program.program import DRAM, Program
from simulator.program.verify import verify_program

GRAPH = every_command.network()
CONV, PAD, CONV2, ADD, SOFTMAX, RESHAPE = range(6)


def whole() -> Program:
    return compile_graph(GRAPH, every_command.device(softmax=True))


def hosted() -> Program:
    return compile_graph(GRAPH, every_command.device(softmax=False))


def resident() -> Program:
    content = device_dict(7, 13)
    content["scratchpad"]["resident_weights"] = True
    return compile_graph(GRAPH, device_from_dict(content, "resident"))


def command(program: Program, index: int, **changes: Any) -> Program:
    changed = replace(program.commands[index], **changes)
    commands = (*program.commands[:index], changed, *program.commands[index + 1 :])
    return replace(program, commands=commands)


def streams(program: Program, index: int, **changes: Any) -> Program:
    return command(program, index, streams=replace(program.commands[index].streams, **changes))


def nest(program: Program, index: int, **changes: int) -> Program:
    found = program.commands[index]
    assert isinstance(found, Matmul | Vector)
    return command(program, index, nest=found.nest._replace(**changes))


def place(program: Program, tensor: str, **changes: Any) -> Program:
    changed = replace(program.placements[tensor], **changes)
    return replace(program, placements={**program.placements, tensor: changed})


def without_place(program: Program, tensor: str) -> Program:
    return replace(program, placements={k: v for k, v in program.placements.items() if k != tensor})


def buffer(program: Program, index: int, role: str, **changes: int) -> Program:
    buffers = [
        replace(b, **changes) if (b.command, b.role) == (index, role) else b
        for b in program.buffers
    ]
    return replace(program, buffers=tuple(buffers))


def without_buffer(program: Program, index: int, role: str) -> Program:
    kept = tuple(b for b in program.buffers if (b.command, b.role) != (index, role))
    return replace(program, buffers=kept)


def constant(program: Program, name: str, values: np.ndarray | None) -> Program:
    kept = {k: v for k, v in program.constants.items() if k != name}
    return replace(program, constants=kept if values is None else {**kept, name: values})


def requantizer(program: Program, kind: str) -> Program:
    found = program.commands[CONV]
    assert isinstance(found, Matmul)
    return command(program, CONV, requantize=replace(found.requantize, kind=kind))


def small_accumulators(program: Program) -> Program:
    accumulator = program.device.accumulator.model_copy(update={"capacity_bytes": 64})
    return replace(program, device=program.device.model_copy(update={"accumulator": accumulator}))


def bias_of(program: Program) -> str:
    found = program.commands[CONV]
    assert isinstance(found, Matmul)
    return found.bias


BROKEN: dict[str, tuple[Callable[[], Program], str]] = {
    "input without a place": (lambda: without_place(whole(), "x"), "tensor 'x' has no place"),
    "output without a place": (lambda: without_place(whole(), "y"), "tensor 'y' has no place"),
    "tensor without a place": (lambda: without_place(whole(), "s"), "tensor 's' has no place"),
    "read before written": (
        lambda: command(whole(), CONV2, ifmap="c"), "reads 'c' before it is written",
    ),
    "life too short": (
        lambda: place(whole(), "a", last=2), "uses 'a' outside its life, commands 0 to 2",
    ),
    "host on chip": (
        lambda: place(hosted(), "m", region="unified"),
        "runs on the host but its tensors are not in DRAM",
    ),
    "input on chip after all": (
        lambda: streams(whole(), CONV, inputs=(False,)), "says on chip for 'x', which lies elsewhere",
    ),
    "input streamed after all": (
        lambda: streams(whole(), ADD, inputs=(False, True)), "says stream for 'c', which lies elsewhere",
    ),
    "ofmap elsewhere": (
        lambda: streams(whole(), CONV2, ofmap=True), "says otherwise of its ofmap than where that lies",
    ),
    "no buffer": (
        lambda: without_buffer(whole(), CONV, "ifmap"), "has stream buffers for ['weights']",
    ),
    "buffer too small": (
        lambda: buffer(whole(), CONV, "ifmap", size_bytes=1), "bytes, not 1",
    ),
    "weights too small": (
        lambda: buffer(resident(), CONV2, "weights", size_bytes=100),
        "its weights need 179 bytes, not 100",  # 144 weights of 8 bits and 4 channels of 70
    ),
    "buffer at another time": (
        lambda: buffer(whole(), CONV, "ifmap", first=1, last=1),
        "its ifmap have room during commands 1 to 1",
    ),
    "prefetch without room": (
        lambda: buffer(whole(), CONV2, "weights", first=2),
        "its prefetched weights have no room while the command before it runs",
    ),
    "nothing to prefetch": (
        lambda: streams(whole(), ADD, prefetched=True), "its prefetched weights have no room",
    ),
    "tile too large": (
        lambda: nest(whole(), CONV, tile_h=7), "do not lie within (6, 6, 1, 4, 4)",
    ),
    "tile of nothing": (
        lambda: nest(whole(), ADD, tile_w=0), "tiles (6, 0, 4, 1, 1) do not lie within (6, 6, 4, 1, 1)",
    ),
    "unknown order": (lambda: nest(whole(), CONV, order=2), "loop order 2, not one of rows_outer"),
    "too many outputs": (lambda: nest(whole(), CONV, out_h=7), "its nest makes 168 elements"),
    "too many inputs": (lambda: nest(whole(), CONV, in_w=7), "its nest reads 168 elements"),
    "too few accumulators": (
        lambda: small_accumulators(whole()), "outputs exceeds 16 accumulators",
    ),
    "softmax in pieces": (lambda: nest(whole(), SOFTMAX, tile_n=2), "splits a row that"),
    "constant missing": (
        lambda: constant(whole(), bias_of(whole()), None), "constant 'a/bias' is missing",
    ),
    "constant of another shape": (
        lambda: constant(whole(), bias_of(whole()), np.zeros(5, np.int64)),
        "constant 'a/bias' has shape (5,), not (4,)",
    ),
    "unknown requantizer": (lambda: requantizer(whole(), "floor"), "requantizer 'floor', not one"),
    "unknown dataflow": (
        lambda: command(whole(), CONV, dataflow="row_stationary"), "dataflow 'row_stationary', not one",
    ),
    "output never written": (
        lambda: replace(whole(), commands=whole().commands[:RESHAPE]), "output 'y' is never written",
    ),
    "beyond the region": (
        lambda: place(whole(), "s", address_bytes=65536), "s at unified@65536..65680",
    ),
    "before the region": (lambda: place(whole(), "s", address_bytes=-16), "s at unified@-16..128"),
    "no such region": (lambda: buffer_region(whole()), "within 0 bytes of region 'attic'"),
    "shared bytes": (
        lambda: place(whole(), "c", address_bytes=whole().placements["a"].address_bytes + 143),
        "share bytes of unified at",
    ),
}  # fmt: skip


def buffer_region(program: Program) -> Program:
    buffers = (replace(program.buffers[0], region="attic"), *program.buffers[1:])
    return replace(program, buffers=buffers)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_programs_are_refused(name: str) -> None:
    make, message = BROKEN[name]
    program = make()
    with pytest.raises(ProgramError) as found:
        verify_program(program)
    assert message in str(found.value)
    assert program.name in str(found.value)


def test_the_message_names_the_command() -> None:
    with pytest.raises(
        ProgramError, match=r"every_command\.tflite: command 0 \(conv_2d 'a'\): tiles"
    ):
        verify_program(nest(whole(), CONV, tile_h=7))


def test_sound_programs_pass_unchanged() -> None:
    for program in (whole(), hosted(), resident()):
        assert verify_program(program) is program
    kinds = [type(c) for c in hosted().commands]
    assert kinds == [Matmul, Move, Matmul, Vector, Host, Move]
    assert hosted().placements["s"].region == DRAM


MOVES: dict[str, tuple[dict[str, Any], str]] = {
    "past the ofmap": ({"ofmap_offset": 100}, "writes elements 100 to 283 of 256"),
    "before the source": (
        {"source_strides": (-144, -24, 4, 1)},
        "reads elements -120 to 23 of 144",
    ),
    "another source": ({"source": 1}, "copies from source 1 of 1"),
    "nothing": ({"sizes": (1, 0, 6, 4)}, "of 144"),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_move_stays_within_its_tensors(name: str) -> None:
    changes, problem = MOVES[name]
    program = compile_graph(every_command.network(), every_command.device(softmax=True))
    index = next(i for i, c in enumerate(program.commands) if c.operator == "pad")
    pad = program.commands[index]
    assert isinstance(pad, Move)
    broken = replace(pad, pieces=(pad.pieces[0]._replace(**changes),))
    commands = (*program.commands[:index], broken, *program.commands[index + 1 :])
    with pytest.raises(ProgramError, match=re.escape(problem)):
        verify_program(replace(program, commands=commands))
