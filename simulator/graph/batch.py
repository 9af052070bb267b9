"""A model over several samples at once: the first axis of every activation grows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.errors import ModelError
from simulator.graph.ir import Graph, Node

# Operators that treat what lies along the first axis apart, at least where that axis has size 1.
_APART = (
    "conv_2d", "depthwise_conv_2d", "transpose_conv", "fully_connected", "average_pool_2d",
    "max_pool_2d", "add", "sub", "mul", "maximum", "minimum", "prelu", "leaky_relu", "hard_swish",
    "logistic", "tanh", "softmax", "relu", "relu6", "relu_n1_to_1", "gelu", "exp", "rsqrt", "quantize",
    "dequantize", "resize_bilinear", "resize_nearest_neighbor", "reshape", "mean", "sum", "concatenation",
    "pad", "padv2", "batch_matmul",
)  # fmt: skip


def with_batch(graph: Graph, samples: int) -> Graph:
    """``graph`` for ``samples`` inputs at once, along the first axis of all activations.

    Errors: a model with variables, with activations of another first size than 1, or with an operator that
    may look across the first axis.
    """
    where = f"{graph.name} with {samples} samples at once"
    if graph.states:
        raise ModelError(
            where, "keeps values from one sample to the next", "a model without variables"
        )
    for name, tensor in graph.tensors.items():
        shape = tensor.spec.shape
        if not graph.constant(name) and (not shape or shape[0] != 1):
            raise ModelError(
                where, f"tensor {name!r} has shape {list(shape)}", "a first axis of size 1"
            )
    for node in graph.nodes:
        if node.operator not in _APART or _first_axis_used(graph, node):
            raise ModelError(
                f"{where}: {node.operator.upper()} {node.name!r}", "may mix samples",
                ", ".join(_APART) + ", not along the first axis",
            )  # fmt: skip
    tensors = {
        name: t if graph.constant(name) else replace(
            t, spec=replace(t.spec, shape=(samples, *t.spec.shape[1:]))
        )
        for name, t in graph.tensors.items()
    }  # fmt: skip
    nodes = tuple(_stretched(node, samples) for node in graph.nodes)
    return replace(graph, tensors=tensors, nodes=nodes)


def _first_axis_used(graph: Graph, node: Node) -> bool:
    """Whether the node joins, reduces or pads along the first axis."""
    rank = len(graph.spec(node.inputs[0]).shape)
    if node.operator == "concatenation":
        return node.integer("axis") % rank == 0
    if node.operator in ("mean", "sum"):
        return 0 in np.atleast_1d(graph.constants[node.inputs[1]]) % rank
    if node.operator in ("pad", "padv2"):
        return bool(graph.constants[node.inputs[1]].reshape(-1, 2)[0].any())
    return False


def _stretched(node: Node, samples: int) -> Node:
    """A shape that an attribute states grows as well."""
    if node.operator != "reshape":
        return node
    shape = (samples, *node.integers("shape")[1:])
    return replace(node, attrs=tuple((k, shape if k == "shape" else v) for k, v in node.attrs))
