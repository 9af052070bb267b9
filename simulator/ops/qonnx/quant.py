"""QONNX's Quant, BipolarQuant and Trunc of float32 numbers: codes of any width, on the host."""

from __future__ import annotations

import math

import numpy as np

from simulator.fixedpoint.quantizer import ROUNDING_NAMES
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops.add import elementwise_nest
from simulator.profiles import RUN
from simulator.program.commands import Vector
from simulator.tensor import TensorSpec

SUMMARY = "float32 numbers to codes of any width: clamped first, then rounded"
COMMAND = "host quant"
PROFILES = {"qonnx": RUN}


def numbers_in(graph: Graph, node: Node) -> bool:
    """the input is float32, the output codes of one scale"""
    made = graph.tensors[node.outputs[0]]
    params = made.quantization
    one = params is not None and not params.per_channel
    return graph.spec(node.inputs[0]).real and not made.spec.real and one


RULES = (common.takes(1, 1), numbers_in)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def _divisors(node: Node) -> tuple[float, ...]:
    value = node.attr("divisors")
    assert isinstance(value, tuple)
    return tuple(float(v) for v in value)


def _rounded(y: float, rounding: str) -> float:
    """The rounding modes by their definitions, ties told by exact comparison."""
    down, up = math.floor(y), math.ceil(y)
    away, towards = (up, down) if y > 0 else (down, up)
    match rounding:
        case "ROUND" | "HALF_EVEN":
            return round(y)
        case "CEIL":
            return up
        case "FLOOR":
            return down
        case "UP":
            return away
        case "DOWN":
            return towards
    if abs(y - towards) == 0.5:
        return away if rounding == "HALF_UP" else towards
    return round(y)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    spec, point = graph.spec(node.outputs[0]), graph.quantization(node.outputs[0]).zero_point
    low, high = node.integer("minimum"), node.integer("maximum")
    first, *others = _divisors(node)
    result = np.zeros(inputs[0].shape, np.int64)
    for i in np.ndindex(*result.shape):
        y = inputs[0][i] / np.float32(first)
        if spec.bipolar:
            result[i] = 1 if y >= 0 else -1
            continue
        y = y + np.float32(point)
        for divisor in others:
            y = np.float32(round(float(y))) / np.float32(divisor)
        clamped = min(max(float(y), low), high) if node.integer("clamps") else float(y)
        result[i] = _rounded(clamped, node.text("rounding"))
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    spec, divisors = graph.spec(node.outputs[0]), f"{node.name}/divisors"
    values = np.array(_divisors(node), np.float32)
    command = Vector(
        name=node.name, operator=node.operator, function="quant",
        inputs=(node.inputs[0], divisors), ofmap=node.outputs[0], nest=elementwise_nest(spec.shape),
        parameters=(
            ("minimum", node.integer("minimum")), ("maximum", node.integer("maximum")),
            ("clamps", node.integer("clamps")),
            ("rounding", ROUNDING_NAMES.index(node.text("rounding"))),
            ("zero_point", graph.quantization(node.outputs[0]).zero_point),
            ("bipolar", int(spec.bipolar)),
        ),
        lane=common.REQUANTIZE_LANE,
    )  # fmt: skip
    tensors = {divisors: TensorSpec(values.shape, "f32")}
    return common.Lowered((command,), {divisors: values}, tensors=tensors)
