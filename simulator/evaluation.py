"""Labelled data through a program's datapath, batch by batch; what is done can be kept and gone on from."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from simulator.datapath.activity import activity
from simulator.datapath.inputs import choose_rule, to_codes
from simulator.datapath.machine import CommandCounts, Machine
from simulator.errors import DataError, UsageError
from simulator.files import check_target, write_bytes
from simulator.jit import source_digest
from simulator.program.activity import Activity
from simulator.program.commands import Matmul
from simulator.program.program import Placement, Program
from simulator.program.text import print_program
from simulator.result import Accuracy
from simulator.workload import Dataset

Progress = Callable[[int], object]
_BATCH_BYTES = 1 << 27  # of what the machine keeps of all samples run at once
_SAVE_EVERY_S = 5.0
_HASHED = 1 << 24  # bytes of samples at a time
_COUNTS = [f.name for f in fields(CommandCounts)]


@dataclass(frozen=True)
class Stream:
    """Samples, how they become codes, and how they follow each other.

    The class of a sample is its label plus ``label_offset``. ``widths``: look at every sum.
    """

    data: Dataset
    inputs: str = "auto"
    carry_state: bool = False
    batch: int = 64
    threads: int = 1
    label_offset: int = 0
    widths: bool = False
    resume: Path | None = None


@dataclass(frozen=True)
class Evaluation:
    """What came of all samples; ``counts`` has one entry per command."""

    accuracy: Accuracy
    counts: tuple[CommandCounts, ...]


@dataclass
class _Done:
    """What has been done so far; ``states``: what the program remembers, where samples follow on."""

    predictions: np.ndarray
    counts: tuple[CommandCounts, ...]
    states: dict[str, np.ndarray] | None = None

    @property
    def samples(self) -> int:
        return self.predictions.size


def evaluate(program: Program, stream: Stream, progress: Progress | None) -> Evaluation:
    """Run ``stream``; ``progress`` is called with the number of samples just done.

    With ``stream.resume`` what is done is kept in that file: every few seconds, and when the run ends or
    is interrupted. Where the file is there already, the run goes on from it. No number depends on where
    a run was interrupted, on the size of batches or on the number of threads.
    """
    data = stream.data
    place, output, labels = _ends(program, stream)
    store = _Store(stream.resume, program, stream) if stream.resume else None
    done = store.load() if store else None
    done = done or _Done(np.zeros(0, np.int64), (CommandCounts(0, 0, 0),) * len(program.commands))
    if progress is not None and done.samples:
        progress(done.samples)
    machine = Machine(program)
    try:
        for x in _batches(data.x, done.samples, stream, machine):
            codes = {program.inputs[0]: to_codes(x, place, stream.inputs, data.name)}
            values = machine.run(
                codes, states=done.states, carry=stream.carry_state, threads=stream.threads,
                widths=stream.widths,
            )  # fmt: skip
            predicted = values.outputs[output].reshape(x.shape[0], -1).argmax(axis=1)
            counts = tuple(
                a.joined(b) if a.outputs else b
                for a, b in zip(done.counts, values.counts, strict=True)
            )
            states = dict(values.states) if stream.carry_state else None
            # One assignment: an interrupt leaves either all of a batch done or nothing of it.
            done = _Done(np.concatenate([done.predictions, predicted]), counts, states)
            if store:
                store.save_now_and_then(done)
            if progress is not None:
                progress(x.shape[0])
    finally:
        if store:
            store.save(done)
    correct = int((done.predictions == labels).sum())
    rule = choose_rule(data.x, place, stream.inputs, data.name)
    accuracy = Accuracy(
        data.name, rule, done.samples, correct, correct / done.samples, done.predictions
    )
    return Evaluation(accuracy, done.counts)


def operand_activity(program: Program, stream: Stream, samples: int) -> tuple[Activity | None, ...]:
    """How busy the operands of each product on the array are, on the first so many ``samples``."""
    data, place = stream.data, _ends(program, stream)[0]
    machine = Machine(program)
    products = [(i, c) for i, c in enumerate(program.commands) if isinstance(c, Matmul)]
    read = {name for _, command in products for name in command.inputs}
    sums: list[Activity | None] = [None] * len(program.commands)
    states: dict[str, np.ndarray] | None = None
    for x in data.x[:samples]:
        codes = {program.inputs[0]: to_codes(x[None], place, stream.inputs, data.name)}
        values = machine.run(codes, keep_read=read, states=states, carry=stream.carry_state)
        states = dict(values.states) if stream.carry_state else None
        for index, command in products:
            ifmap = values.tensors[command.ifmap]
            weights = (
                values.tensors[command.weights][0]
                if command.weights_made
                else program.constants[command.weights]
            )
            one = activity(command, program, ifmap, weights)
            before = sums[index]
            sums[index] = one if before is None else before.joined(one)
    return tuple(sums)


def _ends(program: Program, stream: Stream) -> tuple[Placement, str, np.ndarray]:
    """Where samples go in and where classes come out, and the classes that are right."""
    data = stream.data
    if len(program.inputs) != 1:
        raise DataError(data.name, f"the model has {len(program.inputs)} inputs", "one")
    output = program.outputs[0]
    classes = program.placements[output].spec.elements
    labels = data.y.astype(np.int64) + stream.label_offset
    if labels.min() < 0 or labels.max() >= classes:
        offset = f", with {stream.label_offset} added" if stream.label_offset else ""
        raise DataError(
            data.name, f"labels {data.y.min()}..{data.y.max()}{offset}",
            f"0..{classes - 1}, one per element of output {output!r}",
        )  # fmt: skip
    return program.placements[program.inputs[0]], output, labels


def _batches(x: np.ndarray, start: int, stream: Stream, machine: Machine) -> Iterator[np.ndarray]:
    size = min(stream.batch, machine.samples_within(_BATCH_BYTES))
    for first in range(start, x.shape[0], size):
        yield x[first : first + size]


class _Store:
    """The file in which a run is kept: an .npz of predictions, counts and states, and what they are of."""

    def __init__(self, path: Path, program: Program, stream: Stream) -> None:
        self.path, self.program = path, program
        self.key = _key(program, stream)
        self.saved = time.monotonic()

    def load(self) -> _Done | None:
        """What the file has; None where there is none yet."""
        check_target(str(self.path))
        if not self.path.exists():
            return None
        where, allowed = str(self.path), "a file that an earlier run of the same kind has written"
        try:
            with np.load(self.path, allow_pickle=False) as found:
                content = {name: found[name] for name in found.files}
            key = json.loads(str(content["key"]))
            predictions, table = content["predictions"], content["counts"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UsageError(where, f"cannot be read: {error}", allowed) from None
        different = [name for name, value in self.key.items() if key.get(name) != value]
        if different:
            raise UsageError(where, f"is of another {', '.join(different)}", allowed)
        counts = tuple(
            CommandCounts(**{n: int(v) for n, v in zip(_COUNTS, row, strict=True)}) for row in table
        )
        states = None
        if key["carry_state"]:
            states = {n: content[f"state {i}"] for i, n in enumerate(self.program.states)}
        return _Done(predictions, counts, states)

    def save_now_and_then(self, done: _Done) -> None:
        if time.monotonic() - self.saved >= _SAVE_EVERY_S:
            self.save(done)

    def save(self, done: _Done) -> None:
        if not done.samples:
            return
        states = done.states or {}
        content = io.BytesIO()
        arrays: dict[str, Any] = {
            f"state {i}": states[n] for i, n in enumerate(self.program.states) if n in states
        }
        arrays["counts"] = np.array([list(asdict(c).values()) for c in done.counts], np.int64)
        np.savez(content, key=json.dumps(self.key), predictions=done.predictions, **arrays)
        write_bytes(self.path, content.getvalue())
        self.saved = time.monotonic()


def _key(program: Program, stream: Stream) -> dict[str, str | int | bool]:
    """What a kept run depends on, by the name that a message gives it."""
    digest = hashlib.sha256(print_program(program).encode())
    samples = hashlib.sha256(f"{stream.data.x.shape} {stream.data.x.dtype}".encode())
    step = max(1, _HASHED // max(1, stream.data.x[:1].nbytes))
    for first in range(0, stream.data.x.shape[0], step):
        samples.update(np.ascontiguousarray(stream.data.x[first : first + step]).data)
    return {
        "version": source_digest(), "model or device": digest.hexdigest(),
        "data set": samples.hexdigest(), "inputs": stream.inputs, "carry_state": stream.carry_state,
        "widths": stream.widths,
    }  # fmt: skip
