"""MEAN: of codes over whole images as QLinearGlobalAveragePool; of float32 numbers as ReduceMean.

ReduceMean divides a sum by the count. Over the last axes the sum is Eigen's: two packets of four
elements that take turns, from the first element on that lies on a multiple of 16 bytes; then what is
before and after. Over the first axes it goes row by row. Both are in the order of the file's axes. Other
orders are not known. Means of codes over whole images that the runtime leaves in float32 are computed here
as QLinearGlobalAveragePool.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _reduction
from simulator.ops.onnxruntime._functions import eight_bit_codes
from simulator.ops.onnxruntime._global_mean import global_codes, lower_global
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Vector

SUMMARY = "mean over given axes: codes over height and width to another scale, or float32 numbers"
COMMAND = "vector reduce; host float_mean for numbers"
PROFILES = {"onnxruntime": RUN}
_PACKET = 4


def image_or_numbers(graph: Graph, node: Node) -> bool:
    """it is over height and width of 8-bit codes of one type, NHWC, with one scale each; or of float32
    numbers"""
    names = (node.inputs[0], node.outputs[0])
    if all(graph.spec(n).real for n in names):
        return True
    one_type = len({graph.spec(n).dtype for n in names}) == 1
    image = len(graph.spec(names[0]).shape) == 4 and _reduction.axes(graph, node) == (1, 2)
    return one_type and image and all(eight_bit_codes(graph, n) for n in names)


def known_order(graph: Graph, node: Node) -> bool:
    """float32 numbers are summed over the last axes, or over the first ones, of the model file's order"""
    return not graph.spec(node.inputs[0]).real or _layout(graph, node) is not None


RULES = (
    common.takes(2, 2), _reduction.constant_axes, image_or_numbers, _reduction.few_enough, known_order
)  # fmt: skip
infer = _reduction.infer


def _layout(graph: Graph, node: Node) -> tuple[tuple[int, ...], bool] | None:
    """The file's order of our axes, and whether the reduced ones are its last; None if they are neither
    its last nor its first. Axes of 1 that stay do not count before all others."""
    tensor, reduced = graph.tensors[node.inputs[0]], _reduction.axes(graph, node)
    order = tensor.file_axes or tuple(range(len(tensor.spec.shape)))
    alone = [tensor.spec.shape[a] == 1 and a not in reduced for a in order]
    leading = alone.index(False) if False in alone else 0
    kinds = [a in reduced for a in order[leading:]]
    if kinds == sorted(kinds):
        return order, True
    return (order, False) if kinds == sorted(kinds, reverse=True) else None


def _rows(graph: Graph, node: Node, x: np.ndarray) -> tuple[np.ndarray, list[int], bool]:
    """(rows, reduced) in the file's order, the kept axes of ours in that order, and how they are summed."""
    layout = _layout(graph, node)
    assert layout is not None
    order, last = layout
    reduced = _reduction.axes(graph, node)
    kept = [a for a in order if a not in reduced]
    along = [a for a in order if a in reduced]
    return x.transpose(*kept, *along).reshape(-1, math.prod(x.shape[a] for a in along)), kept, last


def _eigen(row: np.ndarray, place: int) -> np.float32:
    """The sum of a row that begins ``place`` elements after a multiple of 16 bytes."""
    start = min(-place % _PACKET, row.size)
    whole = start + (row.size - start) // _PACKET * _PACKET
    pairs = start + (row.size - start) // (2 * _PACKET) * (2 * _PACKET)
    if whole == start:
        rest, total = list(row[1:]), row[0]
    else:
        first = row[start : start + _PACKET]
        if whole - start > _PACKET:
            second = row[start + _PACKET : start + 2 * _PACKET]
            for i in range(start + 2 * _PACKET, pairs, 2 * _PACKET):
                first = first + row[i : i + _PACKET]
                second = second + row[i + _PACKET : i + 2 * _PACKET]
            first = first + second
            if whole > pairs:
                first = first + row[pairs : pairs + _PACKET]
        total = (first[0] + first[2]) + (first[1] + first[3])
        rest = [*row[:start], *row[whole:]]
    for value in rest:
        total = total + value
    return np.float32(total)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (x,), shape = inputs, infer(graph, node)
    if not graph.spec(node.inputs[0]).real:
        return global_codes(graph, node, x, (1, 2)).reshape(shape)
    rows, kept, last = _rows(graph, node, x)
    means = np.zeros(len(rows), np.float32)
    for i, row in enumerate(rows):
        total = np.float32(0)
        if last:
            total = _eigen(row, i * row.size)
        else:
            for value in row:
                total = total + value
        means[i] = total / np.float32(row.size)
    in_file_order = means.reshape([x.shape[a] for a in kept])
    return in_file_order.transpose(np.argsort(kept)).reshape(shape)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    if not graph.spec(node.inputs[0]).real:
        return lower_global(graph, node, (1, 2))
    layout = _layout(graph, node)
    assert layout is not None
    order, last = layout
    count, reduced = _reduction.reduced_elements(graph, node), _reduction.axes(graph, node)
    shape = graph.spec(node.inputs[0]).shape
    outer = math.prod(shape) // count
    command = Vector(
        name=node.name, operator=node.operator, function="float_mean", inputs=node.inputs[:1],
        ofmap=node.outputs[0], nest=_reduction.View(outer, count, 1).nest,
        parameters=(
            ("last", int(last)), ("dimensions", len(order)),
            *((f"order_{d}", a) for d, a in enumerate(order)),
            *((f"reduced_{a}", int(a in reduced)) for a in range(len(order))),
        ),
        lane=LaneWork(cycles=count + 1, multiplies=1, adds=count),
    )  # fmt: skip
    return common.Lowered((command,))
