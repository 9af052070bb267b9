"""The program's text form: golden text of a tiny program, round trips, and what it refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest

from simulator import compile, load_device, load_model
from simulator.errors import ProgramError
from simulator.hwconfig import device_from_dict
from simulator.program.program import Program
from simulator.program.text import parse_program, print_program

DEVICES = ["wear", "ethos-u55-256", "edge-stick", "fsd"]


def compiled(device: str) -> Program:
    return compile(load_model("digits"), load_device(device))


@pytest.mark.parametrize("device", DEVICES)
def test_parsing_what_was_printed_gives_the_same_program(device: str) -> None:
    program = compiled(device)
    text = print_program(program)
    parsed = parse_program(text, program.constants, program.device)
    assert print_program(parsed) == text
    assert parsed.commands == program.commands
    assert dict(parsed.placements) == dict(program.placements)
    assert parsed.buffers == program.buffers


def test_a_host_command_prints_and_parses() -> None:
    content = load_device("wear").model_dump(mode="json", exclude_none=True)
    content["vector"]["functions"] = ["add", "average_pool", "max_pool", "rescale"]
    program = compile(load_model("digits"), device_from_dict(content, "no softmax"))
    text = print_program(program)
    assert text.splitlines()[-1].startswith("host operations=")
    assert print_program(parse_program(text, program.constants, program.device)) == text


def test_the_same_model_and_device_print_the_same_text() -> None:
    assert print_program(compiled("wear")) == print_program(compiled("wear"))


def test_a_line_says_what_the_machine_is_told() -> None:
    lines = print_program(compiled("wear")).splitlines()
    softmax = next(line for line in lines if '"softmax"' in line)
    expected = (
        r'vector name="probabilities/Softmax" operator="softmax" function="softmax" '
        r'inputs=\["logits/MatMul"\] ofmap="probabilities/Softmax" nest=\{"batch":1,"out_h":1,'
        r'"out_w":1,"groups":1,"n":10,"k":10,.*"order":0\} parameters=.*'
        r'streams=\{"inputs":\[false\],"weights":false,"ofmap":true,'
        r'"prefetched":false\} split=""'
    )
    assert re.fullmatch(expected, softmax)


BROKEN = [
    pytest.param("npusim program 4", "npusim program 9", "starts with 'npusim program 9'", id="header"),
    pytest.param('role="ifmap"', "role=", "value of 'role'", id="no value"),
    pytest.param("\nbuffer ", "\nbuffet ", "line of kind 'buffet'", id="unknown kind"),
    pytest.param(" first=-1 last=0 ", " first=-1 ", "tensor line: ", id="missing key"),
    pytest.param('"tile_h":28', '"tile_h":29', "do not lie within", id="tile too large"),
    pytest.param('kind":"float64_away"', 'kind":"floor"', "requantizer 'floor'", id="requantizer"),
    pytest.param(
        'name="dw3/Relu" dtype="i8" shape=[1,14,14,32] region="ifmap" address_bytes=0',
        'name="dw3/Relu" dtype="i8" shape=[1,14,14,32] region="ifmap" address_bytes=12544',
        "share bytes of ifmap", id="overlap",
    ),
    pytest.param('ifmap="conv1/Relu"', 'ifmap="pw6/Relu"', "before it is written", id="order"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), BROKEN)
def test_broken_text_is_refused(old: str, new: str, message: str) -> None:
    program = compiled("wear")
    text = print_program(program)
    if old == '"tile_h":28':
        old = re.search(r'"tile_h":\d+', text).group()  # type: ignore[union-attr]
    assert old in text
    with pytest.raises(ProgramError, match=re.escape(message)):
        parse_program(text.replace(old, new, 1), program.constants, program.device)


def test_other_constants_and_devices_are_refused() -> None:
    program = compiled("wear")
    text = print_program(program)
    with pytest.raises(ProgramError, match="was printed for device 'wear'"):
        parse_program(text, program.constants, load_device("fsd"))
    changed = dict(program.constants)
    name = next(iter(changed))
    changed[name] = np.zeros_like(changed[name])
    with pytest.raises(ProgramError, match=re.escape(f"constant {name!r} has SHA-256")):
        parse_program(text, changed, program.device)
    del changed[name]
    with pytest.raises(ProgramError, match=re.escape(f"constant {name!r} was not given")):
        parse_program(text, changed, program.device)
