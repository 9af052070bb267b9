"""What to compute: a graph of quantized operators, before any device is known."""

from simulator.graph.ir import Graph, GraphTensor, Node, State, attributes

__all__ = ["Graph", "GraphTensor", "Node", "State", "attributes"]
