"""What reductions share: axes, shapes, and the way to one axis with the others before and after it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np

from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops._movement import block, strides
from simulator.program.commands import LaneWork, Move, Parameters, Vector
from simulator.program.nest import Nest, untiled
from simulator.tensor import TensorSpec

_MOST = 1 << 16


def constant_axes(graph: Graph, node: Node) -> bool:
    """the axes are a constant of int32, at least one, within the input's dimensions"""
    name = node.inputs[1]
    if not graph.constant(name) or graph.spec(name).dtype != "i32":
        return False
    dimensions = len(graph.spec(node.inputs[0]).shape)
    values = graph.constants[name].reshape(-1)
    return all(-dimensions <= int(a) < dimensions for a in values)


def quantized(graph: Graph, node: Node) -> bool:
    """input and output are int8, uint8 or int16, of the same type; int16 has zero points 0"""
    spec = graph.spec(node.inputs[0])
    names = (node.inputs[0], node.outputs[0])
    if spec.dtype not in ("i8", "u8", "i16") or graph.spec(node.outputs[0]).dtype != spec.dtype:
        return False
    return spec.dtype != "i16" or all(
        q is not None and q.zero_point == 0 for q in (graph.tensors[n].quantization for n in names)
    )


def few_enough(graph: Graph, node: Node) -> bool:
    """at most 65536 elements are reduced to one, so that their sum has 32 bits"""
    return reduced_elements(graph, node) <= _MOST


RULES = (
    common.takes(2, 2), constant_axes, quantized, common.per_tensor_activations, few_enough,
)  # fmt: skip


def axes(graph: Graph, node: Node) -> tuple[int, ...]:
    """The reduced axes, each once, ascending, counted from the front."""
    dimensions = len(graph.spec(node.inputs[0]).shape)
    values = graph.constants[node.inputs[1]].reshape(-1)
    return tuple(sorted({int(a) % dimensions for a in values}))


def reduced_elements(graph: Graph, node: Node) -> int:
    """Elements that become one."""
    shape = graph.spec(node.inputs[0]).shape
    return math.prod(shape[a] for a in axes(graph, node))


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape, reduced = graph.spec(node.inputs[0]).shape, axes(graph, node)
    if node.integer("keep_dims"):
        return tuple(1 if d in reduced else size for d, size in enumerate(shape))
    return tuple(size for d, size in enumerate(shape) if d not in reduced)


def rows(graph: Graph, node: Node, x: np.ndarray) -> Iterator[tuple[int, list[int]]]:
    """(place in the flat output, elements that become it) of every output element."""
    reduced = axes(graph, node)
    kept = [d for d in range(x.ndim) if d not in reduced]
    flat = x.transpose(*kept, *reduced).reshape(-1, reduced_elements(graph, node))
    for place, row in enumerate(flat):
        yield place, [int(v) for v in row]


class View(NamedTuple):
    """An array as (outer, reduced, inner)."""

    outer: int
    reduced: int
    inner: int

    @property
    def nest(self) -> Nest:
        """The reduced axis is a row where it is the last one, else a window below the channels."""
        if self.inner == 1:
            return untiled(out=(1, self.outer), k=self.reduced, ifmap=(1, self.outer))
        return untiled(
            batch=self.outer, out=(1, 1), groups=self.inner, kernel=(1, self.reduced),
            ifmap=(1, self.reduced),
        )  # fmt: skip


def view(shape: tuple[int, ...], reduced: tuple[int, ...]) -> View | None:
    """``shape`` with neighbouring axes joined; None if the reduced axes are not neighbours."""
    large = [(d in reduced, size) for d, size in enumerate(shape) if size > 1]
    runs = [
        (kind, math.prod(size for _, size in run)) for kind, run in groupby(large, lambda a: a[0])
    ]
    places = [i for i, (kind, _) in enumerate(runs) if kind]
    if len(places) > 1:
        return None
    if not places:
        return View(math.prod(shape), 1, 1)
    (place,) = places
    outer, inner = (
        math.prod(size for _, size in part) for part in (runs[:place], runs[place + 1 :])
    )
    return View(outer, runs[place][1], inner)


def lower(
    graph: Graph, node: Node, function: str, parameters: Parameters, lane: LaneWork
) -> common.Lowered:
    """A Vector over the view; where the reduced axes lie apart, a Move brings them to the end first."""
    spec, reduced = graph.spec(node.inputs[0]), axes(graph, node)
    seen = view(spec.shape, reduced)
    moves: tuple[Move, ...] = ()
    tensors: dict[str, TensorSpec] = {}
    source = node.inputs[0]
    if seen is None:
        order = [d for d in range(len(spec.shape)) if d not in reduced] + list(reduced)
        shape = tuple(spec.shape[d] for d in order)
        steps = strides(spec.shape)
        piece = block(shape, [steps[d] for d in order], strides(shape))
        name = f"{node.name}/rows"
        moves = (Move(name, node.operator, (source,), name, (piece,)),)
        tensors, source = {name: TensorSpec(shape, spec.dtype)}, name
        count = reduced_elements(graph, node)
        seen = View(spec.elements // count, count, 1)
    command = Vector(
        name=node.name, operator=node.operator, function=function, inputs=(source,),
        ofmap=node.outputs[0], nest=seen.nest, parameters=parameters, lane=lane,
    )  # fmt: skip
    return common.Lowered((*moves, command), {}, tensors)
