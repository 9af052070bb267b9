"""Rules of operators on codes of any width."""

from __future__ import annotations

from simulator.graph import Graph, Node
from simulator.ops import _common as common


def any_codes_to_numbers(graph: Graph, node: Node) -> bool:
    """the input is codes of any width or sums with one zero point, the output float32"""
    source = graph.tensors[node.inputs[0]]
    if source.spec.real or source.quantization is None:
        return False
    return len(set(source.quantization.zero_points)) == 1 and graph.spec(node.outputs[0]).real


RULES = (common.takes(1, 1), any_codes_to_numbers)
