"""UNIDIRECTIONAL_SEQUENCE_LSTM with an 8-bit output and a 16-bit cell state, unrolled over time.

One product takes the input of every time step to the gates; for each step a product takes the output
before it there, one function makes the cell state of both, another the hidden state, which a last product
may project to the output. Coupled gates, peepholes, layer normalization and both clips are there.

A gate's weights stand side by side for every cell, so that a function may take its cells in tiles. Of the
arithmetic: ``fixedpoint.lstm``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.fixedpoint import lstm as fixed
from simulator.fixedpoint.requantize import quantize_multiplier
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _lstm as lstm
from simulator.ops._lstm_reference import Reference
from simulator.ops._recurrent import Code, Product, product
from simulator.profiles import RUN
from simulator.program.commands import (
    Command,
    LaneWork,
    Matmul,
    Move,
    Parameters,
    Piece,
    Vector,
)
from simulator.program.nest import untiled
from simulator.tensor import TensorSpec

SUMMARY = "long short-term memory over a sequence, 8-bit with a 16-bit cell state"
COMMAND = "matmul, vector lstm_cell, vector lstm_hidden, move"
PROFILES = {"tflite": RUN, "ruy": RUN, "xnnpack": RUN}
RULES = (common.takes(20, 24), *lstm.RULES)

_INT16, _INT32 = Code(0, -(1 << 15), (1 << 15) - 1), Code(0, -(1 << 31), (1 << 31) - 1)

_Work = tuple[int, int, int]  # cycles, multiplies, adds of one cell, counted from the kernels
_SUM: _Work = (1, 0, 1)  # of the two products
# Exponential 5 + up to 5 (logistic) or 6 factors, reciprocal 7; an addition beside most products.
_LOGISTIC: _Work = (17, 17, 18)
_TANH: _Work = (18, 18, 19)
_LOOK: _Work = (2, 2, 1)  # product, requantization
# Square, deviation, weight, scale; the root of the variance, 21 products, is shared by a row's cells.
_NORMALIZE: _Work = (6, 5, 6)
_CELL: _Work = (3, 2, 3)  # what is kept, what enters, their sum
_HIDDEN: _Work = (2, 2, 1)  # product, requantization


def infer(graph: Graph, node: Node) -> list[tuple[int, ...]]:
    s = lstm.sizes(graph, node)
    lead = graph.spec(node.inputs[0]).shape[:2]
    return [(*lead, s.outputs), (s.batch, s.outputs), (s.batch, s.cells)]


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    x, h, cell = (value.astype(np.int64) for value in inputs)
    s, by_definition = lstm.sizes(graph, node), Reference(graph, node)
    result = np.zeros((s.batch, s.time, s.outputs), np.int64)
    if node.integer("time_major"):
        x = x.transpose(1, 0, 2)
    for b in range(s.batch):
        for t in range(s.time):
            out, new = by_definition.step(x[b, t].tolist(), h[b].tolist(), cell[b].tolist())
            result[b, t], h[b], cell[b] = out, out, new
    return [result.transpose(1, 0, 2) if node.integer("time_major") else result, h, cell]


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _Unrolled(graph, node, device).lowered()


class _Unrolled:
    """The commands of one node; lives for one call of :func:`lower`."""

    def __init__(self, graph: Graph, node: Node, device: Device) -> None:
        self.graph, self.node, self.device = graph, node, device
        self.s, self.gates = lstm.sizes(graph, node), lstm.gates_of(node)
        self.columns = self.s.cells * len(self.gates)
        self.cell_log2 = fixed.cell_log2(self._scale(lstm.CELL_STATE))
        self.commands: list[Command] = []
        self.constants: dict[str, np.ndarray] = {}
        self.tensors: dict[str, TensorSpec] = {}

    def _scale(self, place: int) -> float:
        return self.graph.quantization(lstm.at(self.node, place)).scale

    def _codes(self, place: int) -> np.ndarray:
        return self.graph.constants[lstm.at(self.node, place)]

    def _made(self, name: str, dtype: str, *shape: int) -> str:
        """A tensor between commands."""
        self.tensors[name] = TensorSpec(shape, dtype)
        return name

    def lowered(self) -> common.Lowered:
        node, s = self.node, self.s
        lead = self.graph.spec(node.inputs[lstm.X]).shape[:2]
        gates = self._made(f"{node.name}/input", "i16", *lead, self.columns)
        first = self._gate_product(lstm.WEIGHTS, s.batch * s.time, _INT16)
        self.commands.append(replace(first, name=gates, ifmap=node.inputs[lstm.X], ofmap=gates))
        recurrent = self._gate_product(lstm.RECURRENT, s.batch, _INT32)
        projection = self._projection() if lstm.projected(node) else None
        functions = self._functions()
        output, cell = lstm.at(node, lstm.STATE), lstm.at(node, lstm.CELL_STATE)
        outputs: list[str] = []
        for t in range(s.time):
            base, last = f"{node.name}/{t}", t == s.time - 1
            now = self._slice(gates, t)
            again = self._made(f"{base}/recurrent", "i32", s.batch, self.columns)
            self.commands.append(replace(recurrent, name=again, ifmap=output, ofmap=again))
            new = node.outputs[2] if last else self._made(f"{base}/cell", "i16", s.batch, s.cells)
            self._run(functions[0], f"{base}/cell", (now, again, cell), new)
            output, cell = f"{base}/output", new
            if last:
                output = node.outputs[1]
            else:
                self._made(output, "i8", s.batch, s.outputs)
            hidden = output
            if projection:
                hidden = self._made(f"{base}/hidden", "i8", s.batch, s.cells)
            self._run(functions[1], f"{base}/hidden", (now, again, cell), hidden)
            if projection:
                name = f"{base}/output"
                self.commands.append(replace(projection, name=name, ifmap=hidden, ofmap=output))
            outputs.append(output)
        self._collect(outputs)
        return common.Lowered(tuple(self.commands), self.constants, self.tensors)

    def _product(self, kind: str, parts: Product, code: Code) -> Matmul:
        command, constants = product(
            f"{self.node.name}/{kind}", self.node, self.device, parts, code
        )
        self.constants |= constants
        return command

    def _gate_product(self, place: int, rows: int, code: Code) -> Matmul:
        """Rows of the input or of the output before it, times the weights of all gates."""
        activation = self.graph.quantization(
            lstm.at(self.node, lstm.X if place == lstm.WEIGHTS else lstm.STATE)
        )
        weights = np.stack([self._codes(place + g) for g in self.gates], axis=1)
        k = weights.shape[-1]
        bias = np.zeros((self.s.cells, len(self.gates)), np.int64)
        if place == lstm.WEIGHTS and not lstm.normalized(self.node):
            bias = np.stack([self._codes(lstm.BIAS + g) for g in self.gates], axis=1)
        scaling = [
            fixed.gate_multiplier(
                self._scale(place + g), activation.scale, lstm.gate_scale(self.node, g)
            )
            for g in self.gates
        ]
        parts = Product(
            untiled(out=(1, rows), n=self.columns, k=k, ifmap=(1, rows)),
            weights.reshape(self.columns, k).T.reshape(1, 1, 1, k, self.columns), 8,
            bias.astype(np.int64).reshape(-1), scaling * self.s.cells, activation.zero_point,
        )  # fmt: skip
        return self._product("input" if place == lstm.WEIGHTS else "recurrent", parts, code)

    def _projection(self) -> Matmul:
        scale, zero_point = lstm.hidden_quantization(self.node)
        output, s = self.graph.quantization(self.node.outputs[0]), self.s
        bias = np.zeros(s.outputs, np.int64)
        if lstm.at(self.node, lstm.PROJECTION_BIAS):
            bias = self._codes(lstm.PROJECTION_BIAS).astype(np.int64)
        by = fixed.projection_multiplier(self._scale(lstm.PROJECTION), scale, output.scale)
        parts = Product(
            untiled(out=(1, s.batch), n=s.outputs, k=s.cells, ifmap=(1, s.batch)),
            self._codes(lstm.PROJECTION).T.reshape(1, 1, 1, s.cells, s.outputs), 8, bias,
            [by] * s.outputs, -zero_point,
        )  # fmt: skip
        clip = fixed.clip_code(self.node.real("proj_clip"), output.scale, 8)
        low, high = (-clip, clip) if clip > 0 else (-128, 127)
        return self._product("projection", parts, Code(output.zero_point, low, high))

    def _functions(self) -> tuple[Vector, Vector]:
        """``lstm_cell`` and ``lstm_hidden`` without names and states; ``inputs`` are their tables."""
        scale, zero_point = lstm.hidden_quantization(self.node)
        clip = fixed.clip_code(self.node.real("cell_clip"), self._scale(lstm.CELL_STATE), 16)
        multiplier, shift = fixed.hidden_multiplier(scale)
        hidden = (
            ("hidden_multiplier", multiplier), ("hidden_shift", shift),
            # Before a projection the runtime adds the zero point with the wrong sign.
            ("hidden_zero_point", -zero_point if lstm.projected(self.node) else zero_point),
        )  # fmt: skip
        before = tuple(g for g in self.gates if g != lstm.OUTPUT)
        return (
            self._function("lstm_cell", before, (("cell_clip", clip),)),
            self._function("lstm_hidden", (lstm.OUTPUT,), hidden),
        )

    def _function(self, function: str, gates: tuple[int, ...], parameters: Parameters) -> Vector:
        s, count = self.s, len(self.gates)  # it reads whole cells
        nest = untiled(out=(1, s.batch), groups=s.cells, k=count, ifmap=(1, s.batch))
        if lstm.normalized(self.node):  # over all cells at once
            nest = untiled(out=(1, s.batch), n=s.cells, k=count * s.cells, ifmap=(1, s.batch))
        tables, of_tables = self._tables(function, gates)
        return Vector(
            name="", operator=self.node.operator, function=function, inputs=tables, ofmap="",
            nest=nest, parameters=(
                ("gates", count), ("cell_log2", self.cell_log2), *parameters, *of_tables
            ),
            lane=self._lane(function, gates),
        )  # fmt: skip

    def _tables(self, function: str, gates: tuple[int, ...]) -> tuple[tuple[str, ...], Parameters]:
        """Peepholes and normalization of ``gates``, a row for each gate, and their parameters."""
        node, base = self.node, f"{self.node.name}/{function}"
        found: dict[str, np.ndarray] = {}
        parameters: list[tuple[str, int]] = []
        looking = [g for g in gates if lstm.peephole(node, g)]
        if looking:
            width = min(self.s.cells, self.s.outputs)  # the runtime takes as many as outputs
            names = [lstm.peephole(node, g) for g in looking]
            found["peephole"] = np.stack([self.graph.constants[n][:width] for n in names])
            for g, name in zip(looking, names, strict=True):
                pair = fixed.peephole_multiplier(
                    self.cell_log2, self.graph.quantization(name).scale, lstm.gate_scale(node, g)
                )
                parameters += _numbered("peephole", g, pair)
        if lstm.normalized(node):
            found["norm"] = np.stack([self._codes(lstm.NORM + g) for g in gates])
            found["norm_bias"] = np.stack([self._codes(lstm.BIAS + g) for g in gates])
            for g in gates:
                scale = self._scale(lstm.NORM + g)
                parameters += _numbered("norm", g, quantize_multiplier(scale))
                parameters.append((f"guard_{g}", fixed.variance_guard(scale)))
        for name, values in found.items():
            table = f"{base}/{name}"
            dtype = "i32" if name == "norm_bias" else "i16"
            self.constants[table] = values
            self._made(table, dtype, *values.shape)
        flags = (("peepholes", int(bool(looking))), ("norms", int(lstm.normalized(node))))
        return tuple(f"{base}/{name}" for name in found), (*flags, *parameters)

    def _lane(self, function: str, gates: tuple[int, ...]) -> LaneWork:
        """What one cell takes: a sum and a function for each gate, then the states."""
        work = [_SUM for _ in gates]
        work += [_TANH if g == lstm.CELL else _LOGISTIC for g in gates]
        work += [_LOOK for g in gates if lstm.peephole(self.node, g)]
        work += [_NORMALIZE for _ in gates if lstm.normalized(self.node)]
        work += [_CELL] if function == "lstm_cell" else [_TANH, _HIDDEN]
        return LaneWork(*(sum(values) for values in zip(*work, strict=True)))

    def _run(self, function: Vector, name: str, operands: tuple[str, ...], ofmap: str) -> None:
        inputs = (*operands, *function.inputs)
        self.commands.append(replace(function, name=name, inputs=inputs, ofmap=ofmap))

    def _rows(self, columns: int, t: int) -> tuple[int, tuple[int, int]]:
        """Where the rows of time ``t`` begin in a sequence, and their strides over batch and column."""
        if self.node.integer("time_major"):
            return t * self.s.batch * columns, (columns, 1)
        return t * columns, (self.s.time * columns, 1)

    def _slice(self, gates: str, t: int) -> str:
        """The gates of time ``t``, batch by batch."""
        if self.s.time == 1:
            return gates
        name = self._made(f"{self.node.name}/{t}/input", "i16", self.s.batch, self.columns)
        start, steps = self._rows(self.columns, t)
        sizes = (self.s.batch, self.columns)
        piece = Piece(0, sizes, start, steps, 0, (self.columns, 1))
        self.commands.append(Move(name, self.node.operator, (gates,), name, (piece,)))
        return name

    def _collect(self, outputs: list[str]) -> None:
        """The outputs of all times in the order of the operator's output."""
        sizes = (self.s.batch, self.s.outputs)
        pieces = []
        for t in range(self.s.time):
            start, steps = self._rows(self.s.outputs, t)
            pieces.append(Piece(t, sizes, 0, (self.s.outputs, 1), start, steps))
        name, operator = self.node.name, self.node.operator
        self.commands.append(
            Move(name, operator, tuple(outputs), self.node.outputs[0], tuple(pieces))
        )


def _numbered(kind: str, gate: int, pair: tuple[int, int]) -> list[tuple[str, int]]:
    return [(f"{kind}_multiplier_{gate}", pair[0]), (f"{kind}_shift_{gate}", pair[1])]
