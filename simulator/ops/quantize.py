"""QUANTIZE of 8-bit codes: from one scale, zero point or signedness to another."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _rescale

SUMMARY = "8-bit codes to another scale, zero point or signedness"
COMMAND = "vector rescale"


def integer_codes(graph: Graph, node: Node) -> bool:
    """input and output are int8 or uint8 (a float input is quantized outside the device)"""
    return all(graph.spec(n).dtype in ("i8", "u8") for n in (node.inputs[0], node.outputs[0]))


RULES = (common.takes(1, 1), integer_codes, common.per_tensor_activations)
DEVICE_RULES = (common.needs_function("rescale"),)
infer = _rescale.infer


def _arguments(graph: Graph, node: Node) -> tuple[float, int, int]:
    real = graph.quantization(node.inputs[0]).scale / graph.quantization(node.outputs[0]).scale
    spec = graph.spec(node.outputs[0])
    return real, spec.minimum, spec.maximum


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return _rescale.reference(graph, node, inputs[0], *_arguments(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    return _rescale.lower(graph, node, *_arguments(graph, node))
