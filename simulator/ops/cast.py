"""CAST: numbers, not what they stand for, in another type.

From float32 to integers: the fraction is cut off, what does not fit becomes the nearest integer that does,
and what is not a number the largest. From integers to narrower ones: the upper bits are cut off. To
float32: the nearest, ties to even. (A runtime of 2023 leaves some of these undefined in C++; these are
LiteRT 2's definitions.)
"""

from __future__ import annotations

import math

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.profiles import RUN
from simulator.program.commands import LaneWork
from simulator.tensor import TensorSpec

SUMMARY = "the same numbers in another element type"
COMMAND = "host cast, or none (the tensor gets a second name) where the type stays"
PROFILES = {"tflite": RUN}
DATA = slice(0, 1)


def known_types(graph: Graph, node: Node) -> bool:
    """input and output are i8, u8, i16, i32, i64 or f32"""
    names = (node.inputs[0], node.outputs[0])
    return all(graph.spec(n).dtype in move.ELEMENTS for n in names)


RULES = (move.counted(1, 1), known_types, move.moves_activations(DATA))


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def _integer(value: int | float, spec: TensorSpec) -> int:
    """One number as a code of ``spec``."""
    if isinstance(value, int):
        return (value - spec.minimum) % 2**spec.bits + spec.minimum
    if math.isnan(value) or value >= spec.maximum:
        return spec.maximum
    return max(math.trunc(value), spec.minimum) if value > spec.minimum else spec.minimum


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    (x,), spec = inputs, graph.spec(node.outputs[0])
    result = np.zeros(x.shape, spec.container)
    for i in np.ndindex(*x.shape):
        value = x[i].item()
        # numpy takes a Python integer to float32 in one rounding.
        result[i] = np.float32(value) if spec.real else _integer(value, spec)
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    if graph.spec(node.inputs[0]).dtype == graph.spec(node.outputs[0]).dtype:
        return move.renamed(graph, node)
    lane = LaneWork(cycles=1, multiplies=0, adds=1)  # to float32: as much as normalizing a sum
    return move.on_host(node, "cast", infer(graph, node), (), lane)
