"""What operators that only move elements share: rules, strides, blocks of one tensor within another.

Which inputs of an operator hold elements, and which say what to do with them, its file says with ``DATA``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops.add import elementwise_nest
from simulator.program.commands import LaneWork, Move, Parameters, Piece, Vector

CODES = ("i8", "u8", "i16")
ELEMENTS = (*CODES, "i32", "i64", "f32")
MOST_INPUTS = 1 << 12  # or outputs; far above any model


def counted(fewest: int, most: int) -> common.Rule:
    """The rule that the operator has so many inputs, none of them left out."""

    def rule(graph: Graph, node: Node) -> bool:
        return fewest <= len(node.inputs) <= most and all(node.inputs)

    span = str(fewest) if fewest == most else f"{fewest} to {most}"
    rule.__doc__ = f"it has {span} inputs"
    return rule


def moves_activations(data: slice) -> common.Rule:
    """The rule that not all of what is moved is constant (such a node is evaluated when it is read)."""

    def rule(graph: Graph, node: Node) -> bool:
        return not all(graph.constant(n) for n in node.inputs[data])

    rule.__doc__ = "what it moves is not a constant"
    return rule


def same_elements(data: slice, dtypes: Sequence[str] = ELEMENTS) -> common.Rule:
    """The rule that all that is moved has one type, and one quantization if it is codes.

    The axis of several scales may differ: it moves with the elements.
    """

    def rule(graph: Graph, node: Node) -> bool:
        tensors = [graph.tensors[n] for n in (*node.inputs[data], *node.outputs)]
        kinds = {t.spec.dtype for t in tensors}
        params = {(t.quantization.scales, t.quantization.zero_points) if t.quantization else None
                  for t in tensors}  # fmt: skip
        alike = len(params) == 1 or not kinds & set(CODES)
        # QONNX's codes have any width.
        known = kinds <= set(dtypes) or graph.profile == "qonnx"
        return len(kinds) == 1 and known and alike

    kinds = ", ".join(dtypes)
    rule.__doc__ = (
        f"input and output have the same type ({kinds}) and, of codes, the same quantization"
    )
    return rule


def constant_operand(place: int, what: str, dtypes: Sequence[str] = ("i32", "i64")) -> common.Rule:
    """The rule that input ``place`` is a constant of integers."""

    def rule(graph: Graph, node: Node) -> bool:
        name = node.inputs[place]
        return graph.constant(name) and graph.spec(name).dtype in dtypes

    rule.__doc__ = f"{what} is a constant ({' or '.join(dtypes)})"
    return rule


def integers(graph: Graph, name: str) -> tuple[int, ...]:
    """All values of a constant."""
    return tuple(int(v) for v in graph.constants[name].reshape(-1))


def zero_code(graph: Graph, name: str) -> int:
    """The code of 0 in tensor ``name``; 0 where elements are not codes or have no scale."""
    params = graph.tensors[name].quantization
    return params.zero_point if params and graph.spec(name).dtype in CODES else 0


def axis_of(axis: int, dimensions: int) -> int:
    """``axis`` counted from the front; -1 where there is no such axis."""
    return axis % dimensions if -dimensions <= axis < dimensions else -1


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements from one index to the next along each dimension, the last running fastest."""
    return tuple(math.prod(shape[d + 1 :]) for d in range(len(shape)))


def block(
    sizes: tuple[int, ...],
    source_strides: Sequence[int],
    ofmap_strides: Sequence[int],
    ofmap_start: Sequence[int] | None = None,
    source_start: int = 0,
    source: int = 0,
) -> Piece:
    """A block of ``sizes`` from element ``source_start`` on to index ``ofmap_start`` of the ofmap."""
    start = ofmap_start if ofmap_start is not None else (0,) * len(sizes)
    offset = sum(i * s for i, s in zip(start, ofmap_strides, strict=True))
    return Piece(
        source, sizes, source_start, tuple(source_strides), offset, tuple(ofmap_strides)
    )  # fmt: skip


def window(
    shape: Sequence[int], starts: Sequence[int], steps: Sequence[int], sizes: Sequence[int]
) -> Piece:
    """Elements ``start + i * step`` of each dimension, as the whole of an ofmap of ``sizes``."""
    across = strides(shape)
    first = sum(b * s for b, s in zip(starts, across, strict=True))
    stepped = [p * s for p, s in zip(steps, across, strict=True)]
    return block(tuple(sizes), stepped, strides(sizes), source_start=first)


def progressions(values: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """``values`` as runs (place, first, step, count): neighbours of equal distance join."""
    runs: list[tuple[int, int, int, int]] = []
    place = 0
    while place < len(values):
        count, step = 1, 1
        if place + 1 < len(values):
            step = values[place + 1] - values[place]
        while (
            place + count < len(values)
            and values[place + count] - values[place + count - 1] == step
        ):
            count += 1
        # Two some way apart are no run if the second may begin a better one.
        if count == 2 and abs(step) > 1 and place + count < len(values):
            count = 1
        runs.append((place, values[place], step if count > 1 else 1, count))
        place += count
    return runs


def moved(
    node: Node, pieces: Sequence[Piece], sources: Sequence[str] = (), fill: int = 0
) -> common.Lowered:
    """One Move of ``pieces`` of ``sources`` (the node's first input, if not given) to its output."""
    taken = tuple(sources) or node.inputs[:1]
    return common.Lowered(
        (Move(node.name, node.operator, taken, node.outputs[0], tuple(pieces), fill),)
    )


def renamed(graph: Graph, node: Node) -> common.Lowered:
    """The same bytes under another name, which costs nothing on chip."""
    source, target = node.inputs[0], node.outputs[0]
    if target in graph.outputs:
        # An output has a place of its own in DRAM; what another name points to may be elsewhere.
        return moved(node, [common.whole_copy(graph.spec(target))])
    return common.Lowered((), aliases={target: source})


def along(shape: Sequence[int], axis: int, size: int) -> tuple[int, ...]:
    """``shape`` with ``size`` along ``axis``."""
    return (*shape[:axis], size, *shape[axis + 1 :])


def parts(graph: Graph, node: Node, source: str, axis: int, sizes: Sequence[int]) -> common.Lowered:
    """A Move per output: pieces of ``sizes`` of ``source`` one after another along ``axis``."""
    shape = graph.spec(source).shape
    across, commands, start = strides(shape), [], 0
    for name, size in zip(node.outputs, sizes, strict=True):
        made = along(shape, axis, size)
        piece = block(made, across, strides(made), source_start=start * across[axis])
        commands.append(Move(name, node.operator, (source,), name, (piece,)))
        start += size
    return common.Lowered(tuple(commands))


def all_values(graph: Graph, names: Sequence[str], given: list[np.ndarray]) -> list[np.ndarray]:
    """The values of inputs ``names``: constants from the graph, the others as ``given`` in order."""
    rest = iter(given)
    return [graph.constants[n] if graph.constant(n) else next(rest) for n in names]


def sizes_of(shape: Sequence[int]) -> Parameters:
    """A shape as parameters of a function."""
    return tuple((f"size_{d}", size) for d, size in enumerate(shape))


_ONE_CYCLE = LaneWork(cycles=1, multiplies=0, adds=0)


def on_host(
    node: Node, function: str, made: tuple[int, ...], parameters: Parameters,
    lane: LaneWork = _ONE_CYCLE,
) -> common.Lowered:  # fmt: skip
    """A function of the host over the elements of the output, of one operation each."""
    return common.Lowered((Vector(
        name=node.name, operator=node.operator, function=function, inputs=node.inputs,
        ofmap=node.outputs[0], nest=elementwise_nest(made), parameters=parameters,
        lane=lane,
    ),))  # fmt: skip
