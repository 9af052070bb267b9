"""FULLY_CONNECTED whose input may have a zero point made at run time."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import fully_connected as base
from simulator.ops._product import Product
from simulator.ops.onnxruntime import _moving_zero
from simulator.profiles import RUN

SUMMARY = base.SUMMARY
COMMAND = base.COMMAND
PROFILES = {"onnxruntime": RUN}


def constant_if_moving(graph: Graph, node: Node) -> bool:
    """beside a zero point made at run time the weights are a constant"""
    return not _moving_zero.zero_point_of(node) or graph.constant(node.inputs[1])


RULES = (*_moving_zero.rules(base.RULES), constant_if_moving)
infer = base.infer


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    if not _moving_zero.zero_point_of(node):
        return base.reference(graph, node, inputs)
    nest = base.nest_of(graph, node)
    weights = base.ordered(graph.constants[node.inputs[1]])
    rows = [inputs[0].reshape(1, 1, nest.out_w, nest.k), *inputs[1:]]
    return _moving_zero.naive(graph, node, rows, weights, nest).reshape(infer(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    if not _moving_zero.zero_point_of(node):
        return base.lower(graph, node, device)
    weights = base.ordered(graph.constants[node.inputs[1]])
    product = Product(base.nest_of(graph, node), weights, node.inputs[0], node.outputs[0])
    return _moving_zero.lower(graph, node, device, product)
