"""SOFTMAX over the last dimension.

The reference kernels take 8-bit codes through gemmlowp's fixed point and 16-bit codes through two tables
with interpolation; LiteRT's optimised kernel, which XNNPACK's profile runs too, sums a table of float32
exponentials of 8-bit codes.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint import float32
from simulator.fixedpoint.softmax import input_scaling
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _softmax_naive as naive
from simulator.ops import _softmax_tables as tables
from simulator.profiles import RUN, SOURCE
from simulator.program.commands import LaneWork, Parameters, Vector
from simulator.program.nest import untiled
from simulator.tensor import TensorSpec

SUMMARY = "softmax over the last dimension"
COMMAND = "vector softmax"
PROFILES = {"tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN}
_TYPES = (("i8", "i8"), ("u8", "u8"), ("i8", "i16"), ("i16", "i16"))


def known_types(graph: Graph, node: Node) -> bool:
    """int8 becomes int8 or int16, uint8 becomes uint8, int16 becomes int16"""
    return tuple(graph.spec(n).dtype for n in (node.inputs[0], node.outputs[0])) in _TYPES


def unit_output(graph: Graph, node: Node) -> bool:
    """the output has scale 1/256 and the smallest code as zero point"""
    params, spec = graph.quantization(node.outputs[0]), graph.spec(node.outputs[0])
    return spec.bits != 8 or (params.scale == 1 / 256 and params.zero_point == spec.minimum)


def unit_output_of_16_bits(graph: Graph, node: Node) -> bool:
    """an int16 output has scale 1/65536 within 0.1 % (a converter may write 1/65535) and zero point -32768;
    of an int16 input, 1/32768 and 0"""
    params, spec = graph.quantization(node.outputs[0]), graph.spec(node.outputs[0])
    of_int16 = graph.spec(node.inputs[0]).bits == 16
    scale, zero_point = (1 / 32768, 0) if of_int16 else (1 / 65536, -32768)
    near = abs(params.scale / scale - 1) < 1e-3  # the reference takes the scale for granted
    return spec.bits != 16 or (near and params.zero_point == zero_point)


def zero_point_of_16_bits(graph: Graph, node: Node) -> bool:
    """an int16 input has zero point 0"""
    name = node.inputs[0]
    return graph.spec(name).bits != 16 or graph.quantization(name).zero_point == 0


def scale_within_reach(graph: Graph, node: Node) -> bool:
    """beta times the input's scale is above 2**-26, so that a code is at least one step of Q5.26"""
    name = node.inputs[0]
    step = node.real("beta") * graph.quantization(name).scale
    return graph.spec(name).bits == 16 or step > 2.0**-26


def differences_of_32_bits(graph: Graph, node: Node) -> bool:
    """beta times the scale of an int16 input is below 4, so that its scaled differences have 32 bits"""
    name = node.inputs[0]
    return graph.spec(name).bits != 16 or node.real("beta") * graph.quantization(name).scale < 4


RULES = (
    common.takes(1, 1), known_types, common.per_tensor_activations, unit_output,
    unit_output_of_16_bits, zero_point_of_16_bits, scale_within_reach,
    differences_of_32_bits,
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def _in_float32(graph: Graph, node: Node) -> bool:
    return graph.profile in ("ruy", "xnnpack") and graph.spec(node.inputs[0]).bits == 8


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    spec, scale = graph.spec(node.outputs[0]), graph.quantization(node.inputs[0]).scale
    rows = inputs[0].reshape(-1, inputs[0].shape[-1])
    beta = node.real("beta")
    if _in_float32(graph, node):
        words = tables.exponentials(scale, beta)
        found = [naive.float32_row(row, words, spec) for row in rows]
    elif graph.spec(node.inputs[0]).dtype == "i16":
        numbers = tables.interpolated_scaling(scale, beta)
        found = [naive.interpolated_row(row, numbers, tables.interpolated()) for row in rows]
    else:
        found = [naive.fixed_row(row, input_scaling(beta, scale), spec) for row in rows]
    return np.array(found, np.int64).reshape(inputs[0].shape)


def _command(
    graph: Graph, node: Node, function: str, numbers: Parameters, lane: LaneWork,
    table: np.ndarray | None = None,
) -> common.Lowered:  # fmt: skip
    """A Vector over rows; ``table`` is a further input of int32."""
    spec = graph.spec(node.inputs[0])
    depth, name = spec.shape[-1], f"{node.name}/table"
    rows = spec.elements // depth
    command = Vector(
        name=node.name, operator=node.operator, function=function,
        inputs=node.inputs if table is None else (*node.inputs, name), ofmap=node.outputs[0],
        # A row is one indivisible reduction: k = n = depth.
        nest=untiled(out=(1, rows), n=depth, k=depth, ifmap=(1, rows)),
        parameters=numbers, lane=lane,
    )  # fmt: skip
    if table is None:
        return common.Lowered((command,))
    return common.Lowered((command,), {name: table}, {name: TensorSpec(table.shape, "i32")})


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    spec, scale = graph.spec(node.outputs[0]), graph.quantization(node.inputs[0]).scale
    beta, ends = node.real("beta"), (("minimum", spec.minimum), ("maximum", spec.maximum))
    if _in_float32(graph, node):
        mantissa, exponent = float32.pair_of(graph.quantization(node.outputs[0]).scale)
        numbers = (("scale_mantissa", mantissa), ("scale_exponent", exponent), *ends)
        # Maximum 1, look-up and sum 2, reciprocal 2 per row (taken per element), product and rounding 2.
        lane = LaneWork(cycles=7, multiplies=3, adds=4, lookups=1)
        words = float32.bits_of(tables.exponentials(scale, beta))
        return _command(graph, node, "softmax_float", numbers, lane, words)
    if graph.spec(node.inputs[0]).dtype == "i16":
        multiplier, shift = tables.interpolated_scaling(scale, beta)
        # Maximum 1, scaling 1, interpolation 3 (two neighbours and a slope), sum 1, product 1.
        lane = LaneWork(cycles=7, multiplies=3, adds=5, lookups=2)
        table = np.concatenate(tables.interpolated())
        return _command(
            graph, node, "softmax_interpolated", (("multiplier", multiplier), ("shift", shift)),
            lane, table,
        )  # fmt: skip
    multiplier, shift, smallest = input_scaling(beta, scale)
    numbers = (("multiplier", multiplier), ("shift", shift), ("smallest", smallest), *ends)
    # Counted from the reference: maximum 1, scaling 1, exponential 5 + up to 7 factors, sum 1,
    # reciprocal 7 per row (taken per element), product 1; the exponential is evaluated twice.
    return _command(graph, node, "softmax", numbers, LaneWork(cycles=35, multiplies=32, adds=20))
