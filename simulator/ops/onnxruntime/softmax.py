"""SOFTMAX of 8-bit codes as QLinearSoftmax.

A table has exp of every difference to the maximum, scaled so that a row's sum cannot overflow; a row is
summed in float32 from its first element on; ``rint(f32(f32(t * floor(1 / sy)) / sum)) + zy``. Where the
runtime leaves a softmax in float32 it is computed as this here, with 1 / sy for its floor.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.fixedpoint.float32 import bits_of, pair_of
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops._stage import runtime_in_float
from simulator.ops.onnxruntime._functions import one_type
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Vector
from simulator.program.nest import untiled
from simulator.tensor import TensorSpec

SUMMARY = "softmax over the last dimension"
COMMAND = "vector softmax_quotient"
PROFILES = {"onnxruntime": RUN}
_MARGIN = 5.0  # of the logarithm of the largest sum below that of the largest float32


def plain(graph: Graph, node: Node) -> bool:
    """beta is 1"""
    return dict(node.attrs).get("beta", 1.0) == 1.0


def output_below_one(graph: Graph, node: Node) -> bool:
    """the output's scale is at most 1"""
    return graph.quantization(node.outputs[0]).scale <= 1.0


def finite_products(graph: Graph, node: Node) -> bool:
    """1 / (output scale) times the largest exponential is a float32: a row of one element overflows in the
    runtime, whose codes are then no softmax"""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(_table(graph, node)[255] * _factor(graph, node)))


RULES = (common.takes(1, 1), one_type, plain, output_below_one, finite_products)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def _table(graph: Graph, node: Node) -> np.ndarray:
    """Entry 255 - d: exp(-d * scale) times a power of e that is the same for all; (256,) float32."""
    scale = float(np.float32(graph.quantization(node.inputs[0]).scale))
    depth = infer(graph, node)[-1]
    room = math.log(float(np.finfo(np.float32).max) / depth) - _MARGIN
    shift = max(0.0, room) / scale
    with np.errstate(under="ignore"):
        return np.array([math.exp((i - 255 + shift) * scale) for i in range(256)], np.float32)


def _factor(graph: Graph, node: Node) -> np.float32:
    inverse = np.float32(1) / np.float32(graph.quantization(node.outputs[0]).scale)
    return inverse if runtime_in_float(node) else np.float32(math.floor(float(inverse)))


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    spec, zero = graph.spec(node.outputs[0]), graph.quantization(node.outputs[0]).zero_point
    table, factor = _table(graph, node), _factor(graph, node)
    rows = inputs[0].reshape(-1, inputs[0].shape[-1])
    result = np.zeros(rows.shape, np.int64)
    for r, row in enumerate(rows):
        entries = [table[255 + int(v) - int(row.max())] for v in row]
        total = np.float32(0)
        for entry in entries:
            total = total + entry
        for c, entry in enumerate(entries):
            code = int(np.rint(entry * factor / total)) + zero
            result[r, c] = min(max(code, spec.minimum), spec.maximum)
    return result.reshape(inputs[0].shape)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    spec, name = graph.spec(node.inputs[0]), f"{node.name}/table"
    depth = spec.shape[-1] if spec.shape else 1
    rows, made = spec.elements // depth, graph.spec(node.outputs[0])
    mantissa, exponent = pair_of(_factor(graph, node))
    command = Vector(
        name=node.name, operator=node.operator, function="softmax_quotient",
        inputs=(*node.inputs, name), ofmap=node.outputs[0],
        # A row is one indivisible reduction: k = n = depth.
        nest=untiled(out=(1, rows), n=depth, k=depth, ifmap=(1, rows)),
        parameters=(
            ("factor_mantissa", mantissa), ("factor_exponent", exponent),
            ("zero_point_out", graph.quantization(node.outputs[0]).zero_point),
            ("clamp_min", made.minimum), ("clamp_max", made.maximum),
        ),
        # Maximum 1, look-up and sum 2, product, division and rounding 4.
        lane=LaneWork(cycles=7, multiplies=2, adds=3, lookups=1),
    )  # fmt: skip
    table = bits_of(_table(graph, node))
    return common.Lowered((command,), {name: table}, {name: TensorSpec(table.shape, "i32")})
