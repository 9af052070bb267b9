"""RESIZE_NEAREST_NEIGHBOR as ONNX Runtime's Resize (nearest), which moves codes.

Positions are float32; where it rounds them, those within a millionth of a half are taken for halves
(1.32.0, by run).
"""

from __future__ import annotations

import math

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.ops import _resizing
from simulator.ops.onnxruntime.resize_bilinear import position
from simulator.profiles import RUN
from simulator.program.commands import LaneWork

SUMMARY = "image of another size, each pixel the nearest of the input's"
COMMAND = "vector resize_nearest; host resize_nearest for numbers"
PROFILES = {"onnxruntime": RUN}
_HALF = 1e-6
_MODES = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def known_mode(graph: Graph, node: Node) -> bool:
    """the nearest pixel is found by floor, ceil, round_prefer_floor or round_prefer_ceil"""
    return dict(node.attrs).get("nearest_mode", _MODES[2]) in _MODES


RULES = (
    common.takes(2, 2), common.image_input, _resizing.constant_size,
    move.same_elements(slice(0, 1)), known_mode,
)  # fmt: skip
infer = _resizing.infer


def _places(node: Node, size: int, out: int) -> list[int]:
    """The input position of each output position along one axis."""
    mode, found = dict(node.attrs).get("nearest_mode", _MODES[2]), []
    for place in range(out):
        at = float(position(node, size, out, place)) if size != out else float(place)
        down = math.floor(at)
        if mode == "ceil":
            nearest = math.ceil(at)
        elif mode == "floor":
            nearest = down
        elif abs(at - down - 0.5) < _HALF:
            nearest = down if mode == "round_prefer_floor" else down + 1
        else:
            nearest = math.floor(at + 0.5)
        found.append(min(max(nearest, 0), size - 1))
    return found


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (image,), out = inputs, infer(graph, node)
    rows, cols = _places(node, image.shape[1], out[1]), _places(node, image.shape[2], out[2])
    return image[:, rows][:, :, cols]


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    (_, height, width, _), out = graph.spec(node.inputs[0]).shape, infer(graph, node)
    table = np.array(_places(node, height, out[1]) + _places(node, width, out[2]))
    return _resizing.lower(
        graph, node, "resize_nearest", table, LaneWork(cycles=1, multiplies=0, adds=0)
    )
