"""RESIZE_NEAREST_NEIGHBOR: every output pixel is a copy of one input pixel."""

from __future__ import annotations

import math

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _resizing
from simulator.profiles import RUN, SOURCE
from simulator.program.commands import LaneWork

SUMMARY = "image of another size, each pixel the nearest of the input's"
COMMAND = "vector resize_nearest"
PROFILES = {"tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN}
RULES = _resizing.RULES
infer = _resizing.infer


def _places(node: Node, size: int, out: int) -> list[int]:
    """The input position of each output position along one axis; the scale and product are float32."""
    scale = _resizing.scale(node, size, out)
    offset = np.float32(0.5 if node.integer("half_pixel_centers") else 0.0)
    found = []
    for position in range(out):
        exact = float((np.float32(position) + offset) * scale)
        place = (
            common.round_half_away(exact) if node.integer("align_corners") else math.floor(exact)
        )
        found.append(min(place, size - 1))
    return found


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (_, height, width, _), out = inputs[0].shape, infer(graph, node)
    rows, cols = _places(node, height, out[1]), _places(node, width, out[2])
    result = np.zeros(out, np.int64)
    for b, y, x, c in np.ndindex(*out):
        result[b, y, x, c] = inputs[0][b, rows[y], cols[x], c]
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    (_, height, width, _), out = graph.spec(node.inputs[0]).shape, infer(graph, node)
    table = np.array(_places(node, height, out[1]) + _places(node, width, out[2]))
    return _resizing.lower(
        graph, node, "resize_nearest", table, LaneWork(cycles=1, multiplies=0, adds=0)
    )
