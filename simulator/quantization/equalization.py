"""What is done to a float graph before it is quantized: batch norms folded, channels equalized."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simulator.errors import ModelError
from simulator.graph import Graph, GraphTensor, Node
from simulator.graph.passes import drop_dead, fuse_activation
from simulator.tensor import TensorSpec

PRODUCTS = ("conv_2d", "depthwise_conv_2d", "fully_connected")
# What a positive factor of a channel passes through.
_HOMOGENEOUS = ("relu", "max_pool_2d", "average_pool_2d", "mean")
_ROUNDS = 40
_ENOUGH = 1e-3
_MOST_FACTOR = 1e3


def output_axis(node: Node) -> int:
    """The axis of a product's weights that counts output channels."""
    return 3 if node.operator == "depthwise_conv_2d" else 0


class Norm(NamedTuple):
    """A batch norm, and the weights and bias of the product before it, as they are without it."""

    weights: np.ndarray
    bias: np.ndarray
    gain: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float


def norms_of(graph: Graph) -> dict[str, Norm]:
    """The batch norms of ``graph`` by name, which is that of the folded product."""
    found = {}
    for norm in (n for n in graph.nodes if n.operator == "batch_normalization"):
        maker = next(n for n in graph.nodes if norm.inputs[0] in n.outputs)
        weights, name = graph.constants[maker.inputs[1]], (*maker.inputs, "")[2]
        gain, beta, mean, variance = (graph.constants[n] for n in norm.inputs[1:])
        bias = graph.constants[name] if name else np.zeros_like(gain)
        found[norm.name] = Norm(weights, bias, gain, beta, mean, variance, norm.real("epsilon"))
    return found


def fold_batch_norms(graph: Graph) -> Graph:
    """Every batch norm in the weights and bias of the product before it (``W' = g W / sqrt(var + eps)``,
    ``b' = g (b - mean) / sqrt(var + eps) + beta``)."""
    tensors, constants, nodes = dict(graph.tensors), dict(graph.constants), list(graph.nodes)
    for norm in [n for n in graph.nodes if n.operator == "batch_normalization"]:
        source = norm.inputs[0]
        maker = next((n for n in nodes if source in n.outputs), None)
        alone = sum(source in n.inputs for n in nodes) == 1 and source not in graph.outputs
        known = dict(maker.attrs).get("activation", "NONE") if maker else ""
        if maker is None or maker.operator not in PRODUCTS or not alone or known != "NONE":
            where = f"{graph.name}: BATCH_NORMALIZATION {norm.name!r}"
            raise ModelError(where, "does not directly follow a product", "folded norms")
        gain, beta, mean, variance = (constants[n].astype(np.float64) for n in norm.inputs[1:])
        gain = gain / np.sqrt(variance + norm.real("epsilon"))
        name, bias = maker.inputs[1], (*maker.inputs, "")[2]
        shape = [1] * constants[name].ndim
        shape[output_axis(maker)] = -1
        before = constants[bias].astype(np.float64) if bias else 0.0
        folded = f"{norm.name}/bias"
        weights = f"{norm.name}/weights"  # of its own: another layer may share the old ones
        tensors[weights] = replace(tensors[name], name=weights, key=weights)
        constants[weights] = (constants[name] * gain.reshape(shape)).astype(np.float32)
        tensors[folded] = GraphTensor(folded, TensorSpec(gain.shape, "f32"), None, folded)
        constants[folded] = ((before - mean) * gain + beta).astype(np.float32)
        fused = replace(
            maker, name=norm.name, inputs=(maker.inputs[0], weights, folded), outputs=norm.outputs
        )
        nodes[nodes.index(maker)] = fused
        nodes.remove(norm)
    folded = replace(graph, tensors=tensors, constants=constants, nodes=tuple(nodes))
    # A ReLU behind the norm can join the product now.
    return drop_dead(fuse_activation(folded))


class _Pair(NamedTuple):
    """Two products whose channels meet, one for one."""

    first: Node
    second: Node


def equalize(graph: Graph) -> Graph:
    """Cross-layer equalization (Nagel et al., Data-Free Quantization, arXiv 1906.04721): factors
    ``s = sqrt(r1 r2) / r2`` that give the channels where two products meet the same range on both sides.

    Only where nothing but a ReLU or a pooling stands between them, and nothing else reads what does: a
    ReLU6 does not let a factor through. In float32 the graph computes what it did before.
    """
    pairs = [_Pair(a, b) for a in graph.nodes if (b := _partner(graph, a)) is not None]
    constants = dict(graph.constants)
    for _ in range(_ROUNDS):
        farthest = 1.0
        for pair in pairs:
            factors = _factors(constants, pair)
            farthest = max(farthest, float(np.abs(np.log(factors)).max()) + 1.0)
            _move(constants, pair, factors)
        if farthest - 1.0 < _ENOUGH:
            break
    return replace(graph, constants=constants)


def _partner(graph: Graph, node: Node) -> Node | None:
    """The product that alone reads what ``node`` makes, with the same channels."""
    if node.operator not in PRODUCTS:
        return None
    current = node
    while True:
        name = current.outputs[0]
        users = graph.uses(name)
        if len(users) != 1 or name in graph.outputs or not _lets_through(current):
            return None
        current = users[0]
        if current.operator in PRODUCTS:
            break
        flat = (
            current.operator == "reshape"
            and graph.spec(name).elements == graph.spec(name).shape[-1]
        )
        if current.operator not in _HOMOGENEOUS and not flat:
            return None
    if name != current.inputs[0] or len(graph.uses(current.inputs[1])) > 1:
        return None
    if len(graph.uses(node.inputs[1])) > 1 or _in_channels(graph, current) != _out_channels(
        graph, node
    ):
        return None
    return current


def _lets_through(node: Node) -> bool:
    return dict(node.attrs).get("activation", "NONE") in ("NONE", "RELU")


def _out_channels(graph: Graph, node: Node) -> int:
    return graph.spec(node.inputs[1]).shape[output_axis(node)]


def _in_channels(graph: Graph, node: Node) -> int:
    """Of weights whose input channels can be scaled one by one; 0 of others."""
    shape, channels = graph.spec(node.inputs[1]).shape, graph.spec(node.inputs[0]).shape[-1]
    if node.operator == "depthwise_conv_2d":
        return shape[3] if shape[3] == channels else 0
    return shape[-1] if shape[-1] == channels else 0


def _input_axis(node: Node) -> int:
    return 3 if node.operator in ("depthwise_conv_2d", "conv_2d") else 1


def _largest(values: np.ndarray, axis: int) -> np.ndarray:
    return np.abs(np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)).max(axis=1)


def _factors(constants: dict[str, np.ndarray], pair: _Pair) -> np.ndarray:
    """What each channel is divided by in the first product, and multiplied by in the second."""
    one = _largest(constants[pair.first.inputs[1]], output_axis(pair.first)).astype(np.float64)
    two = _largest(constants[pair.second.inputs[1]], _input_axis(pair.second)).astype(np.float64)
    alive = (one > 0) & (two > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.where(alive, np.sqrt(one * two) / two, 1.0)
    return np.clip(factors, 1 / _MOST_FACTOR, _MOST_FACTOR)


def _move(constants: dict[str, np.ndarray], pair: _Pair, factors: np.ndarray) -> None:
    first, second = pair
    for name, axis, by in (
        (first.inputs[1], output_axis(first), 1 / factors),
        (second.inputs[1], _input_axis(second), factors),
    ):
        shape = [1] * constants[name].ndim
        shape[axis] = -1
        constants[name] = (constants[name] * by.reshape(shape)).astype(np.float32)
    if len(first.inputs) > 2 and first.inputs[2]:
        bias = first.inputs[2]
        constants[bias] = (constants[bias] / factors).astype(np.float32)
