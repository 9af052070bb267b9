"""The last step of every importer: each node meets its operator's rules and says its true shape."""

from __future__ import annotations

from simulator.errors import ModelError
from simulator.graph import Graph, Node
from simulator.ops import operator_of, output_shapes


def check_graph(graph: Graph) -> Graph:
    """``graph`` unchanged, or an error that names the node and the rule it breaks."""
    for what, names in (("input", graph.inputs), ("output", graph.outputs)):
        for name in names:
            if graph.constant(name):
                raise ModelError(graph.name, f"graph {what} {name!r} is a constant", "activations")
        if len(set(names)) != len(names):
            raise ModelError(graph.name, f"graph {what}s {list(names)}", "each one once")
    for node in graph.nodes:
        _check_node(graph, node, f"{graph.name}: {node.operator.upper()} {node.name!r}")
    return graph


def _check_node(graph: Graph, node: Node, where: str) -> None:
    described = operator_of(graph, node)
    given = ", ".join(str(graph.spec(n)) for n in node.inputs if n)
    for rule in described.RULES:
        if not rule(graph, node):
            outputs = ", ".join(str(graph.spec(n)) for n in node.outputs if n)
            floats = any(graph.spec(n).real for n in node.inputs if n)
            advice = " (quantize the model first)" if floats else ""
            raise ModelError(
                where,
                f"not supported as given ({given} -> {outputs})",
                (rule.__doc__ or "").strip() + advice,
            )
    shapes = output_shapes(graph, node)
    if len(shapes) != len(node.outputs):
        raise ModelError(where, f"has {len(node.outputs)} outputs", str(len(shapes)))
    for name, shape in zip(node.outputs, shapes, strict=True):
        said = graph.spec(name).shape if name else shape
        if any(size < 1 for size in shape):
            raise ModelError(
                where, f"its window is larger than its padded input ({given})", "at most as large"
            )
        if shape != said:
            raise ModelError(
                where, f"output {name!r} has shape {list(said)}",
                f"{list(shape)}, which follows from its inputs",
            )  # fmt: skip
