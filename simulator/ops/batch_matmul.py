"""BATCH_MATMUL: products of the last two dimensions of two tensors, over broadcast leading ones.

One second matrix for all: the rows of the first are one long matrix, and nothing moves. Otherwise each
pair is a group of a grouped product: its rows must lie interleaved, row by row of all groups, so the DMA
brings the first operand into that order and the result back, and the second to (k, n) where it is
transposed or broadcast. A constant second operand is put in order when compiling.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _product
from simulator.ops._movement import block, strides
from simulator.ops._stage import sums_only
from simulator.profiles import CHOSEN, RUN, SOURCE
from simulator.program.commands import Command, Move
from simulator.program.nest import Nest, untiled
from simulator.tensor import TensorSpec

SUMMARY = "matrix products of two tensors, transposed or broadcast as said"
COMMAND = "move, matmul"
PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "onnxruntime": RUN,
    "power_of_two": CHOSEN, "dyadic": CHOSEN,
}  # fmt: skip


def one_scale(graph: Graph, node: Node) -> bool:
    """the second operand has one scale and one zero point"""
    return not graph.quantization(node.inputs[1]).per_channel


def symmetric(graph: Graph, node: Node) -> bool:
    """with int16 inputs both zero points are 0; so they are where the output takes the sums (but in
    profile onnxruntime), which TensorFlow Lite takes of the codes as they are"""
    raw = sums_only(graph, node) and graph.profile != "onnxruntime"
    if graph.spec(node.inputs[0]).dtype != "i16" and not raw:
        return True
    return all(graph.quantization(n).zero_point == 0 for n in node.inputs)


def matrices_match(graph: Graph, node: Node) -> bool:
    """the matrices have a common length to sum over, and leading dimensions are equal or 1"""
    (_, k), (depth, _) = _matrix(graph, node, 0), _matrix(graph, node, 1)
    pairs = zip(*(reversed(_batch(graph, n)) for n in node.inputs), strict=False)
    return k == depth and all(a == b or 1 in (a, b) for a, b in pairs)


RULES = (
    common.takes(2, 2), _product.same_type,
    _product.weight_types(("i8", "i8"), ("i16", "i8"), ("i16", "i16")), one_scale, symmetric,
    _product.symmetric_sixteen_bits, matrices_match,
)  # fmt: skip


def _batch(graph: Graph, name: str) -> tuple[int, ...]:
    return graph.spec(name).shape[:-2]


def _transposed(node: Node, operand: int) -> bool:
    return bool(node.integer(("adj_x", "adj_y")[operand]))


def _matrix(graph: Graph, node: Node, operand: int) -> tuple[int, int]:
    """Rows and columns of an operand's matrices as they enter the product."""
    rows, columns = graph.spec(node.inputs[operand]).shape[-2:]
    return (columns, rows) if _transposed(node, operand) else (rows, columns)


def _batches(graph: Graph, node: Node) -> tuple[int, ...]:
    return np.broadcast_shapes(*(_batch(graph, n) for n in node.inputs))


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return (*_batches(graph, node), _matrix(graph, node, 0)[0], _matrix(graph, node, 1)[1])


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    shape = infer(graph, node)
    given = [graph.constants[n] if graph.constant(n) else None for n in node.inputs]
    values = iter(inputs)
    operands = []
    for operand, constant in enumerate(given):
        value = next(values) if constant is None else constant
        zero = graph.quantization(node.inputs[operand]).zero_point
        matrices = value.astype(object) - zero
        if _transposed(node, operand):
            matrices = matrices.swapaxes(-1, -2)
        operands.append(np.broadcast_to(matrices, (*shape[:-2], *matrices.shape[-2:])))
    sums = np.zeros(shape, object)
    for i in np.ndindex(*shape):
        *b, m, n = i
        row, column = operands[0][(*b, m)], operands[1][(*b, slice(None), n)]
        sums[i] = int((row * column).sum())
    return _product.naive_codes(graph, node, sums)


class _Lowering:
    """One node; lives for one call of :func:`lower`."""

    def __init__(self, graph: Graph, node: Node, device: Device) -> None:
        self.graph, self.node, self.device = graph, node, device
        self.commands: list[Command] = []
        self.tensors: dict[str, TensorSpec] = {}
        self.batches = _batches(graph, node)
        self.rows, self.k = _matrix(graph, node, 0)
        self.n = _matrix(graph, node, 1)[1]

    def strides_of(self, operand: int) -> tuple[list[int], int, int]:
        """Element strides of an operand along the broadcast batches, its rows and its columns."""
        shape = self.graph.spec(self.node.inputs[operand]).shape
        found = strides(shape)
        batch = [0 if size == 1 else s for size, s in zip(shape[:-2], found[:-2], strict=True)]
        batch = [0] * (len(self.batches) - len(batch)) + batch
        rows, columns = found[-2:]
        return (batch, columns, rows) if _transposed(self.node, operand) else (batch, rows, columns)

    def moved(self, source: str, what: str, sizes: tuple[int, ...], steps: list[int]) -> str:
        """The elements of ``source`` at ``steps``, brought together; nothing where they lie so already."""
        lying = self.graph.spec(source).elements == math.prod(sizes)
        kept = [s for size, s in zip(sizes, strides(sizes), strict=True) if size > 1]
        if lying and kept == [s for size, s in zip(sizes, steps, strict=True) if size > 1]:
            return source
        target = f"{self.node.name}/{what}"
        piece = block(sizes, steps, strides(sizes))
        self.commands.append(Move(target, self.node.operator, (source,), target, (piece,)))
        self.tensors[target] = TensorSpec(sizes, self.graph.spec(source).dtype)
        return target

    def weights(self, groups: tuple[int, ...]) -> np.ndarray | str:
        """The second operand as (groups, 1, 1, k, n)."""
        name = self.node.inputs[1]
        if self.graph.constant(name):
            values = self.graph.constants[name]
            if _transposed(self.node, 1):
                values = values.swapaxes(-1, -2)
            values = np.broadcast_to(values, (*groups, *values.shape[-2:])) if groups else values
            return values.reshape(-1, 1, 1, self.k, self.n)
        batch, rows, columns = self.strides_of(1)
        steps = [*(batch if groups else []), rows, columns]
        return self.moved(name, "second", (*groups, self.k, self.n), steps)

    def shared(self) -> common.Lowered:
        """One second matrix: the rows of all first ones follow each other."""
        batch, rows, columns = self.strides_of(0)
        sizes = (*self.batches, self.rows, self.k)
        ifmap = self.moved(self.node.inputs[0], "first", sizes, [*batch, rows, columns])
        length = math.prod(self.batches) * self.rows
        nest = untiled(out=(1, length), n=self.n, k=self.k, ifmap=(1, length))
        return self.lowered(nest, self.weights(()), ifmap, self.node.outputs[0])

    def grouped(self) -> common.Lowered:
        """A group for every pair of matrices; rows of all groups lie side by side."""
        batch, rows, columns = self.strides_of(0)
        sizes = (self.rows, *self.batches, self.k)
        ifmap = self.moved(self.node.inputs[0], "first", sizes, [rows, *batch, columns])
        weights = self.weights(self.batches)
        groups = math.prod(self.batches)
        nest = untiled(
            out=(1, self.rows), groups=groups, n=self.n, k=self.k, ifmap=(1, self.rows)
        )  # fmt: skip
        made = self.node.outputs[0]
        if self.rows == 1:
            return self.lowered(nest, weights, ifmap, made)
        wide = f"{self.node.name}/interleaved"
        lowered = self.lowered(nest, weights, ifmap, wide)
        spec = TensorSpec((self.rows, groups, self.n), self.graph.spec(made).dtype)
        piece = block(
            (groups, self.rows, self.n), (self.n, groups * self.n, 1),
            strides((groups, self.rows, self.n)),
        )  # fmt: skip
        back = Move(f"{self.node.name}/rows", self.node.operator, (wide,), made, (piece,))
        return replace(
            lowered, commands=(*lowered.commands, back), tensors={**lowered.tensors, wide: spec}
        )

    def lowered(
        self, nest: Nest, weights: np.ndarray | str, ifmap: str, ofmap: str
    ) -> common.Lowered:
        product = _product.Product(nest, weights, ifmap, ofmap)
        found = _product.lower_product(self.graph, self.node, self.device, product)
        return replace(
            found, commands=(*self.commands, *found.commands), tensors=dict(self.tensors)
        )


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    lowering = _Lowering(graph, node, device)
    shared = math.prod(_batch(graph, node.inputs[1])) == 1
    return lowering.shared() if shared else lowering.grouped()
