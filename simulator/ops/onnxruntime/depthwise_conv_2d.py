"""DEPTHWISE_CONV_2D whose input may have a zero point made at run time."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import depthwise_conv_2d as base
from simulator.ops._product import Product
from simulator.ops.onnxruntime import _moving_zero
from simulator.profiles import RUN

SUMMARY = base.SUMMARY
COMMAND = base.COMMAND
PROFILES = {"onnxruntime": RUN}
RULES = _moving_zero.rules(base.RULES)
infer = base.infer


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    nest, weights = base.nest_and_weights(graph, node)
    return _moving_zero.naive(graph, node, inputs, weights, nest)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    nest, weights = base.nest_and_weights(graph, node)
    product = Product(nest, weights, node.inputs[0], node.outputs[0])
    return _moving_zero.lower(graph, node, device, product)
