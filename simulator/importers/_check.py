"""The last step of every importer: each node meets its operator's rules and says its true shape."""

from __future__ import annotations

from simulator.errors import ModelError
from simulator.graph import Graph, Node
from simulator.ops import operator


def check_graph(graph: Graph) -> Graph:
    """``graph`` unchanged, or an error that names the node and the rule it breaks."""
    for what, names in (("input", graph.inputs), ("output", graph.outputs)):
        for name in names:
            if name in graph.constants:
                raise ModelError(graph.name, f"graph {what} {name!r} is a constant", "activations")
        if len(set(names)) != len(names):
            raise ModelError(graph.name, f"graph {what}s {list(names)}", "each one once")
    for node in graph.nodes:
        _check_node(graph, node, f"{graph.name}: {node.operator.upper()} {node.name!r}")
    return graph


def _check_node(graph: Graph, node: Node, where: str) -> None:
    for name in (*node.inputs, *node.outputs):
        spec = graph.spec(name) if name else None
        if spec and spec.bits == 8 and graph.tensors[name].quantization is None:
            raise ModelError(
                where, f"tensor {name!r} ({spec}) has no quantization parameters",
                "a scale and a zero point for every 8-bit tensor",
            )  # fmt: skip
    described = operator(node.operator)
    given = ", ".join(str(graph.spec(n)) for n in node.inputs if n)
    for rule in described.RULES:
        if not rule(graph, node):
            outputs = ", ".join(str(graph.spec(n)) for n in node.outputs)
            raise ModelError(
                where,
                f"not supported as given ({given} -> {outputs})",
                (rule.__doc__ or "").strip(),
            )
    shape, said = described.infer(graph, node), graph.spec(node.outputs[0]).shape
    if any(size < 1 for size in shape):
        raise ModelError(
            where, f"its window is larger than its padded input ({given})", "at most as large"
        )
    if shape != said:
        raise ModelError(
            where, f"output {node.outputs[0]!r} has shape {list(said)}",
            f"{list(shape)}, which follows from its inputs",
        )  # fmt: skip
