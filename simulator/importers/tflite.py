"""TensorFlow Lite flatbuffers, read through the ``tflite`` schema package."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import tflite

from simulator.errors import ModelError
from simulator.graph import Graph, Node, State, attributes
from simulator.graph.ir import Attributes
from simulator.graph.passes import canonicalize
from simulator.importers._check import check_graph
from simulator.importers._memory import Allowance
from simulator.importers._tflite_form import Form, names_by_code
from simulator.importers._tflite_operands import rewritten
from simulator.importers._tflite_operators import FORMS, read_attributes
from simulator.importers._tflite_tensors import Tensors, element, text_of, vector_of
from simulator.importers._tflite_variables import OPERATORS as VARIABLE_OPERATORS
from simulator.importers._tflite_variables import Variables
from simulator.ops import constant_values, operator_names

# What reading a damaged flatbuffer raises in the schema package and in numpy.
_DAMAGED = (struct.error, LookupError, TypeError, ValueError, OverflowError, AttributeError)

_OPERATORS = names_by_code(tflite.BuiltinOperator)


def supported_operators() -> list[str]:
    """TFLite operators this importer reads."""
    return sorted({*FORMS, *VARIABLE_OPERATORS})


def read_tflite(content: bytes, name: str, *, check: bool = True) -> Graph:
    """The canonical graph of a ``.tflite`` file's bytes.

    With ``check`` each node has met its operator's rules. Reading ends in a graph or a
    :class:`ModelError`, and allocates at most ``memory_bound(len(content))`` bytes.
    """
    if len(content) < 8 or content[4:8] != b"TFL3":
        given = f"identifier {content[4:8]!r}" if len(content) >= 8 else f"{len(content)} bytes"
        raise ModelError(
            name, f"is not a TensorFlow Lite file ({given})", "a flatbuffer with identifier b'TFL3'"
        )
    allowance = Allowance(name, len(content))
    try:
        graph = _Reader(content, name, allowance).graph()
    except _DAMAGED as error:
        raise ModelError(
            name, f"is damaged or incomplete ({len(content)} bytes)", "a whole .tflite file"
        ) from error
    evaluate = partial(constant_values, take=allowance.take)
    graph = canonicalize(graph, evaluate, rewritten)
    return check_graph(graph) if check else graph


class _Reader:
    """Reads one file; lives for one call of :func:`read_tflite`."""

    def __init__(self, content: bytes, name: str, allowance: Allowance) -> None:
        self.name, self.allowance = name, allowance
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.model = tflite.Model.GetRootAs(content, 0)
        if self.model.SubgraphsLength() < 1:
            raise ModelError(name, "has 0 subgraphs", "at least one")
        self.subgraph: Any = self.model.Subgraphs(0)
        self.tensors = Tensors(self.model, self.subgraph, name, allowance)
        self.variables = Variables(self.tensors)
        self.states: list[State] = []

    def graph(self) -> Graph:
        nodes: list[Node] = []
        for index in range(self.subgraph.OperatorsLength()):
            op = self.subgraph.Operators(index)
            kind, where = self._kind(self.subgraph, index)
            if kind == "CALL_ONCE":
                self._initialize(op, where)
            elif kind in VARIABLE_OPERATORS:
                self.variables.run(kind, op, where)
            else:
                nodes.append(self._node(op, kind, where))
        inputs = tuple(self.tensors.tensor(i) for i in self._vector(self.subgraph.InputsAsNumpy()))
        outputs = tuple(
            self.tensors.tensor(i) for i in self._vector(self.subgraph.OutputsAsNumpy())
        )
        nodes = [*self.variables.shown(outputs), *nodes]
        counts = {"operators": len(nodes), "inputs": len(inputs), "outputs": len(outputs)}
        for what, count in counts.items():
            if count == 0:
                raise ModelError(self.name, f"has no {what}", "at least one")
        states = (*self.states, *self.variables.states())
        return Graph(
            self.name, "tflite", self.tensors.tensors, self.tensors.constants, tuple(nodes), inputs,
            outputs, self.sha256, states=states,
        )  # fmt: skip

    def _vector(self, values: Any) -> list[int]:
        return vector_of(values, self.allowance)

    def _kind(self, subgraph: Any, index: int) -> tuple[str, str]:
        """(operator name, where it stands) of one operator."""
        where = f"{self.name}: operator {index}"
        code = element(
            self.model.OperatorCodes, self.model.OperatorCodesLength(),
            subgraph.Operators(index).OpcodeIndex(), where, "operator code",
        )  # fmt: skip
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = _OPERATORS.get(number, f"number {number}")
        if kind == "CUSTOM":
            kind = f"CUSTOM {text_of(code.CustomCode())}"
        return kind, f"{where} ({kind})"

    def _initialize(self, op: Any, where: str) -> None:
        """CALL_ONCE: the subgraph that gives variables their first values."""
        options = tflite.CallOnceOptions()
        table = op.BuiltinOptions()
        if table is None:
            raise ModelError(where, "has no options", "CallOnceOptions")
        options.Init(table.Bytes, table.Pos)
        number = options.InitSubgraphIndex()
        subgraph = element(
            self.model.Subgraphs, self.model.SubgraphsLength(), number, where, "subgraph"
        )
        name = f"{self.name}: subgraph {number}"
        variables = Variables(Tensors(self.model, subgraph, name, self.allowance))
        for index in range(subgraph.OperatorsLength()):
            kind, inside = self._kind(subgraph, index)
            inside = f"{inside} of subgraph {number}"
            if kind not in ("VAR_HANDLE", "ASSIGN_VARIABLE"):
                raise ModelError(
                    inside, "is not supported before the first inference",
                    "VAR_HANDLE and ASSIGN_VARIABLE",
                )  # fmt: skip
            variables.run(kind, subgraph.Operators(index), inside)
        self.variables.first_values |= variables.constants(where)

    def _node(self, op: Any, kind: str, where: str) -> Node:
        operator = FORMS[kind].operator or kind.lower() if kind in FORMS else ""
        if operator not in operator_names():
            raise ModelError(where, "is not supported", ", ".join(supported_operators()))
        form, tensor = FORMS[kind], self.tensors.tensor
        inputs = tuple(tensor(i, where) if i >= 0 else "" for i in self._vector(op.InputsAsNumpy()))
        outputs = tuple(tensor(i, where) for i in self._vector(op.OutputsAsNumpy()))
        fewest, most = form.outputs
        if not fewest <= len(outputs) <= most:
            span = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise ModelError(where, f"has {len(outputs)} outputs", span)
        where = f"{where} {outputs[0]!r}"
        self._check_dimensions(form, inputs, outputs, where)
        if kind == "RESHAPE":
            source, target = (self.tensors.tensors[n].spec for n in (inputs[0], outputs[0]))
            if (source.elements, source.dtype) != (target.elements, target.dtype):
                raise ModelError(
                    where, f"reshapes {source} to {target}", "the same type and number of elements"
                )
        try:
            attrs = (*read_attributes(op, form, self.allowance), *self._intermediates(op))
        except ModelError as error:
            raise ModelError(where, error.problem, error.allowed) from None
        following = tuple(self._state(name) for name in inputs if name in self.tensors.variables)
        # The output's name is the layer's name users know from their training framework.
        return Node(outputs[0], operator, inputs, (*outputs, *following), tuple(sorted(attrs)))

    def _state(self, name: str) -> str:
        """A variable tensor is a state: its operator makes its next value as a further output."""
        tensor = self.tensors.tensors[name]
        following = f"{name}/next"
        zero = tensor.quantization.zero_point if tensor.quantization else 0
        self.allowance.take(tensor.spec.elements * tensor.spec.container.itemsize, name)
        self.tensors.constants[name] = np.full(tensor.spec.shape, zero, tensor.spec.container)
        self.tensors.tensors[following] = replace(tensor, name=following)
        self.states.append(State(name, following))
        return following

    def _intermediates(self, op: Any) -> Attributes:
        """Quantization of the values between the steps of a recurrent operator."""
        scales, points = [], []
        for index in self._vector(op.IntermediatesAsNumpy()):
            tensor = element(
                self.subgraph.Tensors, self.subgraph.TensorsLength(), index, "", "tensor"
            )
            q = tensor.Quantization()
            scales.append(float(q.Scale(0)) if q and q.ScaleLength() else 0.0)
            points.append(int(q.ZeroPoint(0)) if q and q.ZeroPointLength() else 0)
        if not scales:
            return ()
        return attributes(intermediate_scales=tuple(scales), intermediate_zero_points=tuple(points))

    def _check_dimensions(
        self, form: Form, inputs: tuple[str, ...], outputs: tuple[str, ...], where: str
    ) -> None:
        """What the passes and rules rely on: the inputs an operator needs, and dimensions."""
        needed = len(form.dimensions)
        if len(inputs) < needed or "" in inputs[:needed]:
            raise ModelError(where, f"has inputs {list(inputs)}", f"at least {needed}")
        # Outputs have as many dimensions as the first input may have, if nothing else is said.
        result = form.result or form.dimensions[0]
        named = [("input", n, d) for n, d in zip(inputs, form.dimensions, strict=False)]
        named += [("output", n, result) for n in outputs]
        for what, name, (fewest, most) in named:
            shape = self.tensors.tensors[name].spec.shape
            if not fewest <= len(shape) <= most:
                span = str(most) if fewest == most else f"{fewest} to {most}"
                raise ModelError(
                    where, f"{what} {name!r} has shape {list(shape)}", f"{span} dimensions"
                )
