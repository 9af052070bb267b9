"""FULLY_CONNECTED: rows of ``k`` values times weights (n, k).

LiteRT's reference kernel requantizes with ``round(double(acc) * scale)`` (float64, ties away), int8 and
uint8 alike and unlike every other operator; the same result is computed here in integers.
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.program.nest import Nest, untiled

SUMMARY = "rows times a weight matrix, with optional bias and fused activation"
COMMAND = "matmul"


def default_weight_layout(graph: Graph, node: Node) -> bool:
    """weights are a matrix in the default format"""
    return node.attr("weights_format") == "DEFAULT" and len(graph.spec(node.inputs[1]).shape) == 2


def whole_rows(graph: Graph, node: Node) -> bool:
    """the input's element count (with keep_num_dims its last dimension) fits the reduction length"""
    spec, k = graph.spec(node.inputs[0]), graph.spec(node.inputs[1]).shape[1]
    return spec.shape[-1] == k if node.integer("keep_dims") else spec.elements % k == 0


RULES = (
    common.takes(2, 3), common.constant_weights, common.eight_bit, common.per_tensor_activations,
    common.known_activation, common.known_weight_type, common.scales_along(0), common.bias_type,
    default_weight_layout, whole_rows,
)  # fmt: skip
DEVICE_RULES = (common.operands_fit_pes, common.no_weight_offset_if_folded)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    shape = graph.spec(node.inputs[0]).shape
    n, k = graph.spec(node.inputs[1]).shape
    if node.integer("keep_dims"):
        return (*shape[:-1], n)
    return (graph.spec(node.inputs[0]).elements // k, n)


def _nest_and_weights(graph: Graph, node: Node) -> tuple[Nest, np.ndarray]:
    weights = graph.constants[node.inputs[1]]
    n, k = weights.shape
    rows = graph.spec(node.inputs[0]).elements // k
    nest = untiled(out=(1, rows), n=n, k=k, ifmap=(1, rows))
    return nest, weights.T.reshape(1, 1, 1, k, n)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    nest, weights = _nest_and_weights(graph, node)
    rows = inputs[0].reshape(1, 1, nest.out_w, nest.k)
    result = common.naive_product(graph, node, rows, weights, nest, "float64_away")
    return result.reshape(infer(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    nest, weights = _nest_and_weights(graph, node)
    return common.lower_product(graph, node, device, nest, weights, "float64_away")
