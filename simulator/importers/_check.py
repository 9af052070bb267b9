"""The last step of every importer: each node meets its operator's rules and says its true shape."""

from __future__ import annotations

from simulator.errors import ModelError
from simulator.graph import Graph
from simulator.ops import operator


def check_graph(graph: Graph) -> Graph:
    """``graph`` unchanged, or an error that names the node and the rule it breaks."""
    for node in graph.nodes:
        where = f"{graph.name}: {node.operator.upper()} {node.name!r}"
        described = operator(node.operator)
        for rule in described.RULES:
            if not rule(graph, node):
                given = ", ".join(str(graph.spec(n)) for n in node.inputs if n)
                outputs = ", ".join(str(graph.spec(n)) for n in node.outputs)
                raise ModelError(where, f"not supported as given ({given} -> {outputs})",
                                 (rule.__doc__ or "").strip())  # fmt: skip
        shape, said = described.infer(graph, node), graph.spec(node.outputs[0]).shape
        if shape != said:
            raise ModelError(
                where, f"output {node.outputs[0]!r} has shape {list(said)}", f"{list(shape)}"
            )
    return graph
