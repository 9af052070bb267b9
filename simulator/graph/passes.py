"""Graph to graph, each pass a function: valid in, valid out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from simulator.graph.ir import Attributes, Graph, Node, State, attributes

# Operators whose attribute ``activation`` clamps the output, which a following RELU can join.
_CLAMPING = {
    "conv_2d", "depthwise_conv_2d", "fully_connected", "add", "average_pool_2d", "max_pool_2d",
}  # fmt: skip
_RELUS = {"relu": "RELU", "relu6": "RELU6", "relu_n1_to_1": "RELU_N1_TO_1"}


# The values of a node's outputs where all that it computes with is constant, else None; and a node as its
# operator wants it, of one as its file holds it. Of operators and files themselves this room knows nothing.
Evaluate = Callable[[Graph, Node], list[np.ndarray] | None]
Rewrite = Callable[[Graph, Node], Node]


def canonicalize(
    graph: Graph, evaluate: Evaluate | None = None, rewrite: Rewrite | None = None
) -> Graph:
    """All passes, in order; constants are folded as far as ``evaluate`` can."""
    graph = drop_dead(graph)
    if evaluate:
        graph = fold_constants(graph, evaluate, rewrite)
    return drop_dead(fuse_activation(explicit_padding(graph)))


def fold_constants(graph: Graph, evaluate: Evaluate, rewrite: Rewrite | None = None) -> Graph:
    """Rewrite every node, and evaluate those that ``evaluate`` finds to depend on constants alone.

    One after another, since what a node is may depend on a constant that one before it makes.
    """
    constants = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        names = [n for n in (*node.inputs, *node.outputs) if n]
        tensors = {n: graph.tensors[n] for n in names}
        inputs = [n for n in dict.fromkeys(node.inputs) if n]
        known = {n: constants[n] for n in inputs if n in constants and n not in graph.state_names}
        made = tuple(n for n in inputs if n not in known)
        # Of a node alone, whatever was folded before it is a constant, and made nowhere.
        alone = Graph(graph.name, graph.profile, tensors, known, (node,), made, node.outputs)
        if rewrite:
            node = rewrite(alone, node)
        values = evaluate(alone, node)
        if values is None:
            nodes.append(node)
            continue
        for name, value in zip(node.outputs, values, strict=True):
            constants[name] = np.ascontiguousarray(value, graph.spec(name).container)
    return replace(graph, constants=constants, nodes=tuple(nodes))


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """(before, after) of TensorFlow's SAME: the output has ceil(size / stride) positions."""
    reach = (kernel - 1) * dilation + 1
    total = max(((size + stride - 1) // stride - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def explicit_padding(graph: Graph) -> Graph:
    """Replace ``padding=SAME|VALID`` by rows and columns before and after."""

    def rewrite(node: Node) -> Node:
        values = dict(node.attrs)
        if "padding" not in values:
            return node
        _, height, width, _ = graph.spec(node.inputs[0]).shape
        kind = values.pop("padding")
        if "kernel_h" in values:
            kernel = node.integer("kernel_h"), node.integer("kernel_w")
        else:
            kernel = graph.spec(node.inputs[1]).shape[1:3]
        top = bottom = left = right = 0
        if kind == "SAME":
            dilation_h = node.integer("dilation_h") if "dilation_h" in values else 1
            dilation_w = node.integer("dilation_w") if "dilation_w" in values else 1
            top, bottom = same_padding(height, kernel[0], node.integer("stride_h"), dilation_h)
            left, right = same_padding(width, kernel[1], node.integer("stride_w"), dilation_w)
        pads = attributes(pad_top=top, pad_bottom=bottom, pad_left=left, pad_right=right)
        return replace(node, attrs=tuple(sorted((*values.items(), *pads))))

    return replace(graph, nodes=tuple(rewrite(n) for n in graph.nodes))


def fuse_activation(graph: Graph) -> Graph:
    """Join a RELU to the operator before it where that cannot change a bit.

    It cannot when the operator clamps its output anyway, nothing else reads the tensor between, and
    both tensors have the same quantization: then the RELU is a second clamp.
    """
    nodes = list(graph.nodes)
    kept_values = {*graph.outputs, *(state.following for state in graph.states)}
    joined: list[str] = []
    for relu in graph.nodes:
        if relu.operator not in _RELUS:
            continue
        source, target = relu.inputs[0], relu.outputs[0]
        makers = [n for n in nodes if source in n.outputs]
        if not makers or makers[0].operator not in _CLAMPING or source in kept_values:
            continue
        maker = makers[0]
        same = graph.tensors[source].quantization == graph.tensors[target].quantization
        if maker.attr("activation") != "NONE" or not same or len(graph.uses(source)) > 1:
            continue
        fused = replace(
            maker, outputs=(target,), attrs=_with(maker.attrs, activation=_RELUS[relu.operator])
        )
        nodes[nodes.index(maker)] = fused
        nodes.remove(relu)
        joined.append(source)
    return replace(graph, nodes=tuple(nodes), fused=(*graph.fused, *joined))


def _with(attrs: Attributes, **values: str) -> Attributes:
    return tuple(sorted({**dict(attrs), **values}.items()))


def drop_dead(graph: Graph) -> Graph:
    """Leave out operators, constants and tensors that no output depends on."""
    live = _live_states(graph)
    needed = {*graph.outputs, *(state.following for state in live)}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            kept.append(node)
            needed |= set(node.inputs)
    needed |= set(graph.inputs)
    kept_outputs = {name for node in kept for name in node.outputs}
    used = needed | kept_outputs
    constants: dict[str, np.ndarray] = {k: v for k, v in graph.constants.items() if k in needed}
    tensors = {k: v for k, v in graph.tensors.items() if k in used}
    return replace(
        graph, tensors=tensors, constants=constants, nodes=tuple(reversed(kept)), states=live
    )


def _live_states(graph: Graph) -> tuple[State, ...]:
    """States that some output depends on, now or in a later inference."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    following = {state.name: state.following for state in graph.states}
    reached: set[str] = set()
    waiting = list(graph.outputs)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += makers[name].inputs if name in makers else ()
            waiting += [following[name]] if name in following else ()
    return tuple(state for state in graph.states if state.name in reached)
