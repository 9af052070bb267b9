"""Resource variables of a TensorFlow Lite file, resolved to states: what is read at the start of an
inference, and what takes its place for the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import tflite

from simulator.errors import ModelError
from simulator.graph import Node, State, attributes
from simulator.importers._tflite_tensors import PER_LETTER, Tensors, text_of, vector_of

OPERATORS = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")


class Variables:
    """The variables of one subgraph in the order of its operators; lives as long as its reader."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self.first_values: dict[str, np.ndarray] = {}
        self._handles: dict[int, str] = {}
        self._current: dict[str, str] = {}  # variable -> the tensor that holds its value now
        self._read: dict[str, str] = {}  # variable -> the tensor that holds its value at the start

    def run(self, kind: str, op: Any, where: str) -> None:
        """Follow one operator of ``OPERATORS`` other than CALL_ONCE."""
        allowance = self.tensors.allowance
        inputs = vector_of(op.InputsAsNumpy(), allowance)
        outputs = vector_of(op.OutputsAsNumpy(), allowance)
        wanted = {"VAR_HANDLE": (0, 1), "READ_VARIABLE": (1, 1), "ASSIGN_VARIABLE": (2, 0)}[kind]
        if (len(inputs), len(outputs)) != wanted:
            raise ModelError(
                where, f"has {len(inputs)} inputs and {len(outputs)} outputs",
                f"{wanted[0]} and {wanted[1]}",
            )  # fmt: skip
        if kind == "VAR_HANDLE":
            self._handles[outputs[0]] = self._name(op, where)
        elif inputs[0] not in self._handles:
            raise ModelError(where, f"names resource {inputs[0]}", "the output of a VAR_HANDLE")
        elif kind == "READ_VARIABLE":
            self._follow_read(self._handles[inputs[0]], outputs[0], where)
        else:
            self._current[self._handles[inputs[0]]] = self.tensors.tensor(inputs[1], where)

    def _name(self, op: Any, where: str) -> str:
        table = op.BuiltinOptions()
        if table is None:
            raise ModelError(where, "has no options", "VarHandleOptions")
        options = tflite.VarHandleOptions()
        options.Init(table.Bytes, table.Pos)
        container, name = options.Container() or b"", options.SharedName() or b""
        self.tensors.allowance.take(PER_LETTER * (len(container) + len(name)), where)
        return f"{text_of(container)}/{text_of(name)}"

    def _follow_read(self, variable: str, output: int, where: str) -> None:
        if variable in self._current:
            source = self._current[variable]
            made = self.tensors.tensors[self.tensors.tensor(output, where)]
            if made.spec != self.tensors.tensors[source].spec:
                raise ModelError(
                    where, f"reads {self.tensors.tensors[source].spec} as {made.spec}", "one type"
                )
            self.tensors.by_index[output] = source
            return
        name = self.tensors.tensor(output, where)
        self._current[variable] = self._read[variable] = name

    def shown(self, outputs: tuple[str, ...]) -> list[Node]:
        """A second name for what is read and is an output of the graph: the state itself changes."""
        nodes, known = [], self.tensors.tensors
        for variable, name in self._read.items():
            if name in outputs:
                kept = f"{name}/kept"
                known[kept] = replace(known[name], name=kept)
                self._read[variable] = kept
                shape = attributes(shape=known[name].spec.shape)
                nodes.append(Node(name, "reshape", (kept,), (name,), shape))
        return nodes

    def states(self) -> tuple[State, ...]:
        """A state for each variable that is read before it is assigned."""
        found = []
        for variable, name in self._read.items():
            spec = self.tensors.tensors[name].spec
            if variable not in self.first_values:
                raise ModelError(
                    f"{self.tensors.name}: variable {variable!r}", "is read without a first value",
                    "an assignment in the subgraph that CALL_ONCE runs",
                )  # fmt: skip
            first = self.first_values[variable]
            if (first.shape, first.dtype) != (spec.shape, spec.container):
                raise ModelError(
                    f"{self.tensors.name}: variable {variable!r}",
                    f"starts as {first.dtype}{list(first.shape)}", str(spec),
                )  # fmt: skip
            following = self.tensors.tensors[self._current[variable]].spec
            if following != spec:
                raise ModelError(
                    f"{self.tensors.name}: variable {variable!r}", f"becomes {following}", str(spec)
                )
            self.tensors.constants[name] = first
            found.append(State(name, self._current[variable]))
        return tuple(found)

    def constants(self, where: str) -> dict[str, np.ndarray]:
        """What every variable holds at the end, where that is a constant."""
        for variable, name in self._current.items():
            if name not in self.tensors.constants:
                raise ModelError(where, f"gives variable {variable!r} no constant", "a constant")
        return {v: self.tensors.constants[n] for v, n in self._current.items()}
