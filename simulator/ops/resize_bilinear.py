"""RESIZE_BILINEAR: every output pixel weighs four neighbours.

LiteRT's kernels for int8 and int16 count positions in 1/1024; those for uint8 compute in float32, the
optimised one in another order than the reference; XNNPACK has weights of 11 bits for int8 and uint8.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simulator.fixedpoint import float32, interpolation
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _resizing
from simulator.profiles import RUN, SOURCE
from simulator.program.commands import LaneWork

SUMMARY = "image of another size, interpolated linearly in both directions"
COMMAND = "vector resize_bilinear"
PROFILES = {"tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN}


def one_alignment(graph: Graph, node: Node) -> bool:
    """corners are aligned or pixel centers are at halves, not both"""
    return not (node.integer("align_corners") and node.integer("half_pixel_centers"))


RULES = (*_resizing.RULES, one_alignment)
infer = _resizing.infer


class Place(NamedTuple):
    """The two neighbours of an output position along one axis, and the weight of the upper one."""

    lower: int
    upper: int
    weight: int | np.float32


def _form(graph: Graph, node: Node) -> int:
    dtype = graph.spec(node.inputs[0]).dtype
    if graph.profile == "xnnpack" and dtype != "i16":
        return interpolation.Q11
    if dtype == "u8":
        products = graph.profile in ("ruy", "xnnpack")
        return interpolation.FLOAT32_PRODUCTS if products else interpolation.FLOAT32
    return interpolation.Q10


def _place_q10(node: Node, size: int, out: int, position: int) -> Place:
    """In 1/1024 of an input position; the division truncates."""
    span = (size, out)
    if node.integer("align_corners") and out > 1:
        span = (size - 1, out - 1)
    step = (1024 * span[0] + span[1] // 2) // span[1]
    at = position * step
    if node.integer("half_pixel_centers"):
        at += step // 2 - 512
    lower = max(math.trunc(at / 1024), 0)
    return Place(lower, min(math.trunc((at + 1023) / 1024), size - 1), at - 1024 * lower)


def _place_q11(node: Node, size: int, out: int, position: int) -> Place:
    """A float32 position within the image; its fraction in 1/2048, ties to even."""
    step = _resizing.scale(node, size, out)
    at = np.float32(position) * step
    if node.integer("half_pixel_centers"):
        at = at + (np.float32(0.5) * step - np.float32(0.5))
    at = min(max(at, np.float32(0)), np.float32(size - 1))
    lower = int(at)
    weight = int(np.rint((at - np.float32(lower)) * np.float32(2048)))
    return Place(lower, min(lower + 1, size - 1), weight)


def _place_float32(node: Node, size: int, out: int, position: int) -> Place:
    """A float32 position; half a pixel before the first one its weight is negative."""
    step = _resizing.scale(node, size, out)
    at = np.float32(position) * step
    if node.integer("half_pixel_centers"):
        at = (np.float32(position) + np.float32(0.5)) * step - np.float32(0.5)
    lower = max(math.floor(at), 0)
    return Place(lower, min(math.ceil(at), size - 1), at - np.float32(lower))


def _places(form: int, node: Node, size: int, out: int) -> list[Place]:
    place = {interpolation.Q10: _place_q10, interpolation.Q11: _place_q11}.get(form, _place_float32)
    return [place(node, size, out, position) for position in range(out)]


def _blend_integers(form: int, corners: list[int], y: int, x: int) -> int:
    one = 1024 if form == interpolation.Q10 else 2048
    shares = ((one - y) * (one - x), (one - y) * x, y * (one - x), y * x)
    total = sum(corner * share for corner, share in zip(corners, shares, strict=True))
    if form == interpolation.Q10:
        quotient = (abs(total) + one * one // 2) // (one * one)
        return quotient if total > 0 else -quotient
    return (total + one * one // 2) // (one * one)


def _blend_float32(form: int, corners: list[int], y: np.float32, x: np.float32) -> int:
    """The runtime's float32 operations in their order; the 1/2 rounds codes of 0 and above."""
    one = np.float32(1)
    tl, tr, bl, br = (np.float32(corner) for corner in corners)
    if form == interpolation.FLOAT32_PRODUCTS:
        total = tl * ((one - y) * (one - x)) + tr * ((one - y) * x)
        total = total + bl * (y * (one - x)) + br * (y * x)
    else:
        total = tl * (one - y) * (one - x) + bl * y * (one - x)
        total = total + tr * (one - y) * x + br * y * x
    return int(total + np.float32(0.5))


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    form, out = _form(graph, node), infer(graph, node)
    (_, height, width, _), image = inputs[0].shape, inputs[0]
    rows, cols = _places(form, node, height, out[1]), _places(form, node, width, out[2])
    result = np.zeros(out, np.int64)
    for b, oy, ox, c in np.ndindex(*out):
        y, x = rows[oy], cols[ox]
        corners = [int(image[b, i, j, c]) for i in y[:2] for j in x[:2]]
        if form in (interpolation.Q10, interpolation.Q11):
            result[b, oy, ox, c] = _blend_integers(form, corners, int(y.weight), int(x.weight))
        else:
            result[b, oy, ox, c] = _blend_float32(
                form, corners, np.float32(y.weight), np.float32(x.weight)
            )
    return result


def _row(form: int, place: Place) -> list[int]:
    """Neighbours, then the weights of the lower and of the upper one."""
    if form in (interpolation.Q10, interpolation.Q11):
        one = 1024 if form == interpolation.Q10 else 2048
        return [place.lower, place.upper, one - int(place.weight), int(place.weight)]
    weights = np.array([np.float32(1) - place.weight, place.weight], np.float32)
    return [place.lower, place.upper, *(int(b) for b in float32.bits_of(weights))]


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    form = _form(graph, node)
    (_, height, width, _), out = graph.spec(node.inputs[0]).shape, infer(graph, node)
    places = _places(form, node, height, out[1]) + _places(form, node, width, out[2])
    # Two blends along x and one along y, each of two products; without sharing, four products of three.
    lane = LaneWork(cycles=8, multiplies=8, adds=4)
    return _resizing.lower(
        graph, node, "resize_bilinear", np.array([_row(form, p) for p in places]), lane,
        parameters=(("form", form),),
    )  # fmt: skip
