"""RESIZE_BILINEAR of float32 numbers as ONNX Runtime's Resize (linear): four products, summed in order.

Positions are float32; where both neighbours are one pixel each weighs 1/2. An image that keeps its size is
copied. Codes are resized as numbers:
the runtime joins no linear Resize to what is around it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.fixedpoint.float32 import bits_of
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.ops import _resizing
from simulator.ops.add import elementwise_nest
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Vector
from simulator.tensor import TensorSpec

SUMMARY = "image of another size, interpolated linearly in both directions"
COMMAND = "host float_resize; a move at the same size"
PROFILES = {"onnxruntime": RUN}


def numbers(graph: Graph, node: Node) -> bool:
    """input and output are float32"""
    return all(graph.spec(n).real for n in (node.inputs[0], node.outputs[0]))


RULES = (common.takes(2, 2), common.image_input, _resizing.constant_size, numbers)
infer = _resizing.infer


class Place(NamedTuple):
    """Neighbours of an output position along one axis, and the weight of each."""

    lower: int
    upper: int
    weights: tuple[np.float32, np.float32]


def position(node: Node, size: int, out: int, place: int) -> np.float32:
    """Where output ``place`` lies in the input; the ratio of the sizes is float32."""
    ratio, at = np.float32(out) / np.float32(size), np.float32(place)
    if node.integer("align_corners"):
        found = np.float32(0) if out == 1 else at * np.float32(size - 1) / np.float32(out - 1)
    elif node.integer("half_pixel_centers"):
        found = (at + np.float32(0.5)) / ratio - np.float32(0.5)
    else:
        found = at / ratio
    return found


def _place(node: Node, size: int, out: int, place: int) -> Place:
    at = position(node, size, out, place)
    at = max(np.float32(0), min(at, np.float32(size - 1)))
    lower = min(int(at), size - 1)
    upper = min(lower + 1, size - 1)
    if lower == upper:
        return Place(lower, upper, (np.float32(0.5), np.float32(0.5)))
    return Place(lower, upper, (abs(at - np.float32(upper)), abs(at - np.float32(lower))))


def _places(node: Node, size: int, out: int) -> list[Place]:
    return [_place(node, size, out, place) for place in range(out)]


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (image,), out = inputs, infer(graph, node)
    rows, cols = _places(node, image.shape[1], out[1]), _places(node, image.shape[2], out[2])
    if image.shape == out:
        return image
    result = np.zeros(out, np.float32)
    for b, oy, ox, c in np.ndindex(*out):
        y, x = rows[oy], cols[ox]
        total = x.weights[0] * y.weights[0] * image[b, y.lower, x.lower, c]
        total = total + x.weights[1] * y.weights[0] * image[b, y.lower, x.upper, c]
        total = total + x.weights[0] * y.weights[1] * image[b, y.upper, x.lower, c]
        result[b, oy, ox, c] = total + x.weights[1] * y.weights[1] * image[b, y.upper, x.upper, c]
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    shape, out = graph.spec(node.inputs[0]).shape, infer(graph, node)
    if shape == out:
        return move.renamed(graph, node)
    _, height, width, _ = shape
    places = _places(node, height, out[1]) + _places(node, width, out[2])
    table = np.array(
        [[p.lower, p.upper, *bits_of(np.array(p.weights)).tolist()] for p in places], np.int32
    )
    name = f"{node.name}/positions"
    command = Vector(
        name=node.name, operator=node.operator, function="float_resize",
        inputs=(node.inputs[0], name), ofmap=node.outputs[0], nest=elementwise_nest(out),
        parameters=(), lane=LaneWork(cycles=8, multiplies=8, adds=3),
    )  # fmt: skip
    return common.Lowered((command,), {name: table}, {name: TensorSpec(table.shape, "i32")})
