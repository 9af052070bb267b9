"""FULLY_CONNECTED: rows of ``k`` values times weights (n, k).

LiteRT's reference kernel requantizes with ``round(double(acc) * scale)`` (float64, ties away), int8,
uint8 and int16 alike and unlike every other operator; the same result is computed here in integers.

Weights that the model makes are transposed by the DMA to (k, n), the order in which the array takes them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _product
from simulator.ops._movement import block
from simulator.profiles import CHOSEN, RUN, SOURCE
from simulator.program.commands import Move
from simulator.program.nest import Nest, untiled
from simulator.tensor import TensorSpec

SUMMARY = "rows times a weight matrix, with optional bias and fused activation"
COMMAND = "matmul"
PROFILES = {
    "tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN, "onnxruntime": RUN,
    "qonnx": RUN,     "power_of_two": CHOSEN, "dyadic": SOURCE,
}  # fmt: skip


def default_weight_layout(graph: Graph, node: Node) -> bool:
    """weights are a matrix in the default format"""
    return node.attr("weights_format") == "DEFAULT" and len(graph.spec(node.inputs[1]).shape) == 2


def whole_rows(graph: Graph, node: Node) -> bool:
    """the input's element count (with keep_num_dims its last dimension) fits the reduction length"""
    spec, k = graph.spec(node.inputs[0]), graph.spec(node.inputs[1]).shape[1]
    return spec.shape[-1] == k if node.integer("keep_dims") else spec.elements % k == 0


def whole_made_weights(graph: Graph, node: Node) -> bool:
    """weights that are no constant are int8 or uint8"""
    return graph.constant(node.inputs[1]) or graph.spec(node.inputs[1]).dtype in ("i8", "u8")


def known_zero_points(graph: Graph, node: Node) -> bool:
    """weights with a scale per channel have zero points 0 (in profile onnxruntime: one zero point)"""
    params = graph.quantization(node.inputs[1])
    return not params.per_channel or _product.symmetric_weights(graph, node)


RULES = (
    common.takes(2, 5), _product.constant_bias, _product.same_type, common.known_activation,
    _product.weight_types(("i8", "i8"), ("i16", "i8"), ("i8", "i4"), ("i16", "i4"), ("u8", "u8")),
    whole_made_weights, known_zero_points, _product.symmetric_sixteen_bits,
    _product.scales_along(0), _product.bias_type, default_weight_layout, whole_rows,
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape = graph.spec(node.inputs[0]).shape
    n, k = graph.spec(node.inputs[1]).shape
    if node.integer("keep_dims"):
        return (*shape[:-1], n)
    return (graph.spec(node.inputs[0]).elements // k, n)


def nest_of(graph: Graph, node: Node) -> Nest:
    n, k = graph.spec(node.inputs[1]).shape
    rows = graph.spec(node.inputs[0]).elements // k
    return untiled(out=(1, rows), n=n, k=k, ifmap=(1, rows))


def ordered(weights: np.ndarray) -> np.ndarray:
    """Weights (n, k) in the order of the nest, (1, 1, 1, k, n)."""
    return weights.T[np.newaxis, np.newaxis, np.newaxis]


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    nest = nest_of(graph, node)
    constant = graph.constant(node.inputs[1])
    weights = ordered(graph.constants[node.inputs[1]] if constant else inputs[1])
    rows = inputs[0].reshape(1, 1, nest.out_w, nest.k)
    result = _product.naive_product(graph, node, rows, weights, nest)
    return result.reshape(infer(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    nest, (x, w), y = nest_of(graph, node), node.inputs[:2], node.outputs[0]
    if graph.constant(w):
        product = _product.Product(nest, ordered(graph.constants[w]), x, y)
        return _product.lower_product(graph, node, device, product)
    made = f"{node.name}/weights"
    piece = block((nest.k, nest.n), (1, nest.k), (nest.n, 1))
    move = Move(f"{node.name}/transposed", node.operator, (w,), made, (piece,))
    lowered = _product.lower_product(graph, node, device, _product.Product(nest, made, x, y))
    spec = TensorSpec((nest.k, nest.n), graph.spec(w).dtype)
    return replace(lowered, commands=(move, *lowered.commands), tensors={made: spec})
