"""The text form of a program: prints, parses back, and is what golden tests compare.

One line per thing, ``kind key=value ...`` with values in JSON. Constants stand as type, shape and
digest; :func:`parse_program` takes their values, and the device, from the caller and checks both against
their digests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from simulator.errors import ProgramError
from simulator.hwconfig import Device
from simulator.program.commands import (
    Command,
    Host,
    LaneWork,
    Matmul,
    Move,
    Piece,
    Requantize,
    Streams,
    Vector,
)
from simulator.program.nest import Nest
from simulator.program.program import Placement, Program, StreamBuffer, constant_digest
from simulator.program.verify import verify_program
from simulator.tensor import QuantParams, TensorSpec

_HEADER = "npusim program 4"
_COMMANDS: dict[str, type] = {"matmul": Matmul, "vector": Vector, "move": Move}
# Fields that are themselves records, by field name.
_RECORDS: dict[str, Any] = {
    "nest": Nest,
    "requantize": Requantize,
    "streams": Streams,
    "lane": LaneWork,
}


def _record(value: Any) -> Any:
    """A value as JSON: a record as an object of its fields, a tuple as a list."""
    if isinstance(value, Nest):
        return value._asdict()
    if isinstance(value, Requantize | Streams | LaneWork):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, tuple):
        return [_record(v) for v in value]
    return value


def _line(kind: str, **values: Any) -> str:
    parts = [f"{k}={json.dumps(_record(v), separators=(',', ':'))}" for k, v in values.items()]
    return " ".join([kind, *parts])


def _command_line(command: Command) -> str:
    if isinstance(command, Host):
        inner = _command_line(command.command)
        return _line("host", operations=command.operations, reason=command.reason) + " " + inner
    kind = next(k for k, t in _COMMANDS.items() if isinstance(command, t))
    return _line(kind, **{f.name: getattr(command, f.name) for f in fields(command)})


def print_program(program: Program) -> str:
    """The program as text; equal programs print equally."""
    lines = [
        _HEADER,
        _line(
            "program", name=program.name, profile=program.profile, model_sha256=program.model_sha256,
            device=program.device.name, device_sha256=program.device.sha256,
            operating_point=program.operating_point,
            inputs=program.inputs, outputs=program.outputs, capacities=program.capacities,
            resident_weight_bytes=program.resident_weight_bytes, states=program.states,
        ),
    ]  # fmt: skip
    for p in program.placements.values():
        q = p.quantization
        quantization = [q.scales, q.zero_points, q.axis] if q else None
        lines.append(
            _line(
                "tensor", name=p.name, dtype=p.spec.dtype, shape=p.spec.shape, region=p.region,
                address_bytes=p.address_bytes, first=p.first, last=p.last, view_of=p.view_of,
                quantization=quantization,
            )
        )  # fmt: skip
    for b in program.buffers:
        lines.append(_line("buffer", **{f.name: getattr(b, f.name) for f in fields(b)}))
    for name, values in program.constants.items():
        lines.append(
            _line(
                "constant", name=name, dtype=str(values.dtype), shape=values.shape,
                sha256=constant_digest(values),
            )
        )  # fmt: skip
    lines += [_command_line(command) for command in program.commands]
    return "\n".join(lines) + "\n"


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _values(line: str, number: int) -> tuple[str, dict[str, Any]]:
    """(kind, values) of one line."""
    kind, _, rest = line.partition(" ")
    decoder = json.JSONDecoder()
    values: dict[str, Any] = {}
    while rest:
        key, equals, rest = rest.partition("=")
        if not equals:
            raise ProgramError(f"program text, line {number}", f"{key!r}", "key=value")
        try:
            values[key], end = decoder.raw_decode(rest)
        except json.JSONDecodeError as error:
            raise ProgramError(
                f"program text, line {number}", f"value of {key!r}: {error}"
            ) from None
        rest = rest[end:].lstrip(" ")
    return kind, values


def _command(kind: str, values: dict[str, Any], where: str) -> Command:
    wanted = _COMMANDS[kind]
    arguments: dict[str, Any] = {}
    try:
        for key, value in values.items():
            record = _RECORDS.get(key)
            if record:
                arguments[key] = record(**{k: _tuples(v) for k, v in value.items()})
            elif key == "pieces":
                arguments[key] = tuple(Piece(*_tuples(piece)) for piece in value)
            else:
                arguments[key] = _tuples(value)
        return wanted(**arguments)
    except TypeError as error:
        raise ProgramError(where, f"not a {kind}: {error}") from None


def parse_program(text: str, constants: Mapping[str, np.ndarray], device: Device) -> Program:
    """The verified program that :func:`print_program` printed.

    Errors: :class:`ProgramError` for text of another form, a constant or a device that is not the one
    the text was printed from, and whatever :func:`verify_program` finds.
    """
    lines = text.splitlines()
    if not lines or lines[0] != _HEADER:
        raise ProgramError("program text", f"starts with {(lines or [''])[0]!r}", f"{_HEADER!r}")
    reader = _Reader(constants, device)
    for number, line in enumerate(lines[1:], start=2):
        reader.line(line, number)
    return reader.program()


class _Reader:
    """Collects the lines of one program."""

    def __init__(self, constants: Mapping[str, np.ndarray], device: Device) -> None:
        self.given, self.device = constants, device
        self.head: dict[str, Any] = {}
        self.placements: dict[str, Placement] = {}
        self.buffers: list[StreamBuffer] = []
        self.constants: dict[str, np.ndarray] = {}
        self.commands: list[Command] = []

    def line(self, line: str, number: int) -> None:
        where = f"program text, line {number}"
        if line.startswith("host "):
            self.commands.append(self._host(line, number))
            return
        kind, values = _values(line, number)
        try:
            if kind == "program":
                self.head = values
            elif kind == "tensor":
                self._tensor(values)
            elif kind == "buffer":
                self.buffers.append(StreamBuffer(**values))
            elif kind == "constant":
                self._constant(values, where)
            elif kind in _COMMANDS:
                self.commands.append(_command(kind, values, where))
            else:
                allowed = ", ".join(["program", "tensor", "buffer", "constant", "host", *_COMMANDS])
                raise ProgramError(where, f"line of kind {kind!r}", allowed)
        except (KeyError, TypeError) as error:
            raise ProgramError(where, f"{kind} line: {error}") from None

    def _host(self, line: str, number: int) -> Host:
        where = f"program text, line {number}"
        positions = [i for k in ("matmul", "vector") if (i := line.find(f" {k} name=")) >= 0]
        if not positions:
            raise ProgramError(where, "host line without a command", "matmul or vector")
        _, outer = _values(line[: min(positions)], number)
        kind, inner = _values(line[min(positions) + 1 :], number)
        command = _command(kind, inner, where)
        assert isinstance(command, Matmul | Vector)
        try:
            return Host(command, **outer)
        except TypeError as error:
            raise ProgramError(where, f"not a host command: {error}") from None

    def _tensor(self, values: dict[str, Any]) -> None:
        q = values.pop("quantization")
        spec = TensorSpec(_tuples(values.pop("shape")), values.pop("dtype"))
        params = QuantParams(_tuples(q[0]), _tuples(q[1]), q[2]) if q else None
        place = Placement(spec=spec, quantization=params, **values)
        self.placements[place.name] = place

    def _constant(self, values: dict[str, Any], where: str) -> None:
        name = values["name"]
        if name not in self.given:
            raise ProgramError(where, f"constant {name!r} was not given")
        found = constant_digest(self.given[name])
        if found != values["sha256"]:
            raise ProgramError(where, f"constant {name!r} has SHA-256 {found}", values["sha256"])
        self.constants[name] = self.given[name]

    def program(self) -> Program:
        head = dict(self.head)
        try:
            digest = head.pop("device_sha256")
            name = head.pop("device")
            if digest != self.device.sha256:
                raise ProgramError(
                    "program text", f"was printed for device {name!r} with SHA-256 {digest}",
                    f"the same device; {self.device.name!r} has {self.device.sha256}",
                )  # fmt: skip
            made = Program(
                device=self.device, placements=self.placements, buffers=tuple(self.buffers),
                constants=self.constants, commands=tuple(self.commands),
                **{key: _tuples(value) for key, value in head.items()},
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise ProgramError("program text", f"program line: {error}") from None
        return verify_program(made)
