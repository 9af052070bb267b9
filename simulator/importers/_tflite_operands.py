"""Operands of TensorFlow Lite files that say what is moved where, as attributes of our operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import NamedTuple

from simulator.errors import ModelError
from simulator.graph import Graph, Node, attributes

_MOST_DIMENSIONS = 8  # as of tensors
_CODE_BITS = 16  # wider integers, and reals, say what they mean without a scale


def rewritten(graph: Graph, node: Node) -> Node:
    """``node`` with attributes for its constant operands; others unchanged."""
    maker = _MAKERS.get(node.operator)
    return maker(graph, node) if maker else node


def _error(graph: Graph, node: Node, problem: str, allowed: str) -> ModelError:
    return ModelError(f"{graph.name}: {node.operator.upper()} {node.name!r}", problem, allowed)


def _counted(graph: Graph, node: Node, count: int) -> None:
    if len(node.inputs) != count or not all(node.inputs):
        raise _error(graph, node, f"has inputs {list(node.inputs)}", str(count))


def _numbers(
    graph: Graph, node: Node, place: int, what: str, dtypes: tuple[str, ...] = ("i32", "i64"),
    most: int = _MOST_DIMENSIONS,
) -> tuple[int, ...]:  # fmt: skip
    """The numbers of a constant operand, ``most`` at most: as many as a tensor may have dimensions."""
    name = node.inputs[place]
    if not graph.constant(name) or graph.spec(name).dtype not in dtypes:
        kind = "constant" if graph.constant(name) else "made at run time"
        problem = f"its {what} is {kind}, {graph.spec(name)}"
        raise _error(graph, node, problem, f"a constant ({' or '.join(dtypes)})")
    if graph.spec(name).elements > most:
        problem = f"its {what} has {graph.spec(name).elements} numbers"
        raise _error(graph, node, problem, f"at most {most}")
    return tuple(int(v) for v in graph.constants[name].reshape(-1))


def _axis(graph: Graph, node: Node, given: tuple[int, ...], dimensions: int) -> int:
    """The only number in ``given`` as an axis counted from the front."""
    if len(given) != 1 or not -dimensions <= given[0] < dimensions:
        raise _error(graph, node, f"axis {list(given)} of {dimensions} dimensions", "one of them")
    return given[0] % dimensions


def _reshape(graph: Graph, node: Node) -> Node:
    """The new shape: from the operand, else the options, else the output.

    A RESHAPE to another quantization copies codes all the same; it becomes what it is, a
    ``reinterpret``.
    """
    source, target = (graph.tensors[n] for n in (node.inputs[0], node.outputs[0]))
    shape = target.spec.shape
    if any(node.inputs[1:]):
        shape = _numbers(graph, node, 1, "new shape", ("i32",))
    elif dict(node.attrs).get("new_shape"):
        shape = node.integers("new_shape")
    values = [
        (q.scales, q.zero_points) if q else None for q in (source.quantization, target.quantization)
    ]
    same = values[0] == values[1] or source.spec.bits > _CODE_BITS
    return replace(
        node, operator="reshape" if same else "reinterpret", inputs=node.inputs[:1],
        attrs=attributes(shape=_resolved(shape, source.spec.elements)),
    )  # fmt: skip


def _resolved(shape: tuple[int, ...], elements: int) -> tuple[int, ...]:
    """``shape`` with what a -1 stands for; old files write [0] for no dimensions at all."""
    if shape == (0,):
        return ()
    known = prod(s for s in shape if s != -1)
    if shape.count(-1) == 1 and known > 0 and elements % known == 0:
        return tuple(elements // known if s == -1 else s for s in shape)
    return shape


def _transpose(graph: Graph, node: Node) -> Node:
    _counted(graph, node, 2)
    dimensions = len(graph.spec(node.inputs[0]).shape)
    given = _numbers(graph, node, 1, "permutation", ("i32",))
    perm = tuple(a + dimensions if a < 0 else a for a in given)
    return replace(node, inputs=node.inputs[:1], attrs=attributes(perm=perm))


def _slice(graph: Graph, node: Node) -> Node:
    _counted(graph, node, 3)
    shape, begin = graph.spec(node.inputs[0]).shape, _numbers(graph, node, 1, "begin")
    size = _numbers(graph, node, 2, "size")
    if len(shape) == len(begin) == len(size):  # -1: up to the end
        ends = zip(shape, begin, size, strict=True)
        size = tuple(s - b if z == -1 else z for s, b, z in ends)
    return replace(node, inputs=node.inputs[:1], attrs=attributes(begin=begin, size=size))


def _split(graph: Graph, node: Node) -> Node:
    """SPLIT (axis, value) into equal parts, and SPLIT_V (value, sizes, axis)."""
    given = node.integer("num_splits")
    if given != len(node.outputs) or not all(node.inputs) or len(node.inputs) not in (2, 3):
        problem = f"has {len(node.inputs)} inputs and {len(node.outputs)} outputs for {given} parts"
        raise _error(graph, node, problem, "2 or 3 inputs, and an output for each part")
    source = node.inputs[1] if len(node.inputs) == 2 else node.inputs[0]
    shape = graph.spec(source).shape
    if len(node.inputs) == 2:
        axis = _axis(graph, node, _numbers(graph, node, 0, "axis"), len(shape))
        if shape[axis] % given:
            raise _error(graph, node, f"{given} parts of {shape[axis]}", "parts of one size")
        sizes = (shape[axis] // given,) * given
    else:
        axis = _axis(graph, node, _numbers(graph, node, 2, "axis"), len(shape))
        sizes = _numbers(graph, node, 1, "list of sizes", most=given)
        if sizes.count(-1) == 1:  # the rest
            rest = shape[axis] - sum(s for s in sizes if s != -1)
            sizes = tuple(rest if s == -1 else s for s in sizes)
    return replace(node, inputs=(source,), attrs=attributes(axis=axis, sizes=sizes))


class _Range(NamedTuple):
    """``length`` indices of a dimension; ``kept``: the output has the dimension, ``taken``: the input."""

    start: int
    step: int
    length: int
    kept: bool = True
    taken: bool = True


def _strided_slice(graph: Graph, node: Node) -> Node:
    """The subscript, resolved: a begin, an end and a stride for each of the input's dimensions.

    A subscript has an entry per dimension. Where its bit is set in a mask, an entry is another thing:
    ``ellipsis``: as many whole dimensions as are missing; ``new_axis``: a dimension of 1 that the
    input does not have; ``shrink_axis``: one index, whose dimension goes away; ``begin``, ``end``: from
    the start, up to the end. Dimensions behind the last entry are whole. With ``offset`` an end counts
    from its begin.
    """
    _counted(graph, node, 4)
    whats = ("begin", "end", "list of strides")
    columns = [_numbers(graph, node, i + 1, what, ("i32",)) for i, what in enumerate(whats)]
    if len({len(c) for c in columns}) != 1:
        raise _error(graph, node, f"has {[len(c) for c in columns]} entries", "as many of each")
    found = _ranges(graph, node, list(zip(*columns, strict=True)))
    taken = [r for r in found if r.taken]
    ends = [r.start + r.length * r.step for r in taken]
    values = {
        "begin": tuple(r.start for r in taken), "end": tuple(max(-1, e) for e in ends),
        "strides": tuple(r.step for r in taken),
    }  # fmt: skip
    if not all(r.kept and r.taken for r in found):
        values["shape"] = tuple(r.length for r in found if r.kept)
    return replace(node, inputs=node.inputs[:1], attrs=attributes(**values))


def _ranges(graph: Graph, node: Node, entries: list[tuple[int, ...]]) -> list[_Range]:
    """What is taken of each dimension of input and output together."""
    sizes = list(graph.spec(node.inputs[0]).shape)
    masks = {key: node.integer(f"{key}_mask") for key in ("ellipsis", "new_axis")}
    ellipses = [i for i in range(len(entries)) if masks["ellipsis"] >> i & 1]
    added = [i for i in range(len(entries)) if masks["new_axis"] >> i & 1 and i not in ellipses]
    missing = len(sizes) - (len(entries) - len(ellipses) - len(added))
    if len(ellipses) > 1 or missing < len(ellipses):
        raise _error(
            graph, node, f"has {len(entries)} entries for {len(sizes)} dimensions, {masks}",
            "no more entries than dimensions, and at most one ellipsis, of at least one dimension",
        )  # fmt: skip
    found: list[_Range] = []
    for i, (begin, end, step) in enumerate(entries):
        if i in ellipses:
            found += [_Range(0, 1, sizes.pop(0)) for _ in range(missing)]
        elif i in added:
            found.append(_Range(0, 1, 1, taken=False))
        else:
            found.append(_range(node, i, (begin, end, step), sizes.pop(0)))
            if found[-1].length < 1:
                raise _error(
                    graph, node, f"entry {i} takes {begin}:{end}:{step}",
                    "a stride that is not 0, a range that is not empty, and for a dimension that "
                    "goes away a valid index and no step backwards",
                )  # fmt: skip
    return found + [_Range(0, 1, size) for size in sizes]


def _range(node: Node, place: int, entry: tuple[int, int, int], size: int) -> _Range:
    """What entry ``place`` takes of a dimension of ``size``; a length of 0 for whatever is wrong."""
    begin, end, step = entry
    bit = {k: node.integer(f"{k}_mask") >> place & 1 for k in ("begin", "end", "shrink_axis")}
    if step == 0:
        return _Range(0, 1, 0)
    lowest, highest = (0, size) if step > 0 else (-1, size - 1)
    start = min(max(begin + size if begin < 0 else begin, lowest), highest)
    if bit["begin"]:
        start = 0 if step > 0 else size - 1
    if bit["shrink_axis"]:
        return _Range(start, 1, int(step > 0 and 0 <= start < size), kept=False)
    if node.integer("offset"):
        fits = end > 0 and step > 0 and start + end <= size and not bit["end"]
        return _Range(start, step, -(-end // step) if fits else 0)
    stop = min(max(end + size if end < 0 else end, lowest), highest)
    if bit["end"]:
        stop = highest if step > 0 else lowest
    return _Range(start, step, max(-((start - stop) // step), 0))


_MAKERS: dict[str, Callable[[Graph, Node], Node]] = {
    "reshape": _reshape,
    "slice": _slice,
    "split": _split,
    "strided_slice": _strided_slice,
    "transpose": _transpose,
}
