"""CLIP of codes: held between two codes, whatever they stand for."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops.add import elementwise_nest
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Vector

SUMMARY = "codes held between two codes"
COMMAND = "vector clip"
PROFILES = {"onnxruntime": RUN}


def same_codes(graph: Graph, node: Node) -> bool:
    """input and output are integers of one type and, if they have a scale, of one quantization"""
    source, target = (graph.tensors[n] for n in (node.inputs[0], node.outputs[0]))
    alike = source.spec.dtype == target.spec.dtype and source.quantization == target.quantization
    return alike and not source.spec.real


def bounds_within_type(graph: Graph, node: Node) -> bool:
    """the bounds are codes of the type, the lower one not above the upper one"""
    spec = graph.spec(node.outputs[0])
    return spec.minimum <= node.integer("clamp_min") <= node.integer("clamp_max") <= spec.maximum


RULES = (common.takes(1, 1), same_codes, bounds_within_type)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    low, high = node.integer("clamp_min"), node.integer("clamp_max")
    held = [min(max(v, low), high) for v in inputs[0].reshape(-1).tolist()]
    return np.array(held, np.int64).reshape(inputs[0].shape)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    command = Vector(
        name=node.name, operator=node.operator, function="clip", inputs=node.inputs,
        ofmap=node.outputs[0], nest=elementwise_nest(infer(graph, node)),
        parameters=tuple((key, node.integer(key)) for key in ("clamp_min", "clamp_max")),
        lane=LaneWork(cycles=1, multiplies=0, adds=0),
    )  # fmt: skip
    return common.Lowered((command,))
