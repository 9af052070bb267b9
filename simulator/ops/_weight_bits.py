"""Weights of a quantized model in fewer bits, as a graph of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.errors import ModelError, UsageError
from simulator.graph import Graph, GraphTensor, Node
from simulator.ops._stage import Operands, operands
from simulator.tensor import QuantParams, TensorSpec

PRODUCTS = ("conv_2d", "depthwise_conv_2d", "fully_connected", "transpose_conv")
LEAST, MOST = 2, 8
_CLIPS = np.linspace(1.0, 0.3, 36)  # parts of a channel's largest weight, to try


def with_weight_bits(graph: Graph, bits: int) -> Graph:
    """``graph`` with the constant weights of its products in ``bits`` bits; those of fewer stay.

    Each channel that has a scale gets a new one, symmetric and of restricted range (codes from
    -(2**(bits - 1) - 1)): of 36 clipping points from its largest weight down to 0.3 of it the one with the
    least sum of squared errors (the MSE calibration of Gholami et al., III-C). Codes round half away from
    0; biases move to the new scales. The result is for this machine alone: no runtime takes weights of,
    say, 6 bits, so the rules that its operators have of files do not hold for it.
    """
    if not LEAST <= bits <= MOST:
        raise UsageError("weight bits", str(bits), f"{LEAST} to {MOST}")
    if graph.profile == "qonnx":
        raise UsageError(
            "weight bits", "of a QONNX model, whose thresholds stand for its weights' scales"
        )
    tensors, constants = dict(graph.tensors), dict(graph.constants)
    done: dict[str, str] = {}
    for node in graph.nodes:
        names = operands(node) if node.operator in PRODUCTS else None
        if names is None or not graph.constant(names.weights):
            continue
        _check(graph, node, names.weights)
        if graph.spec(names.weights).bits <= bits:
            continue
        if names.weights not in done:
            codes, scales = _narrowed(graph, names.weights, bits)
            old = tensors[names.weights]
            q = graph.quantization(names.weights)
            tensors[names.weights] = replace(
                old, spec=TensorSpec(old.spec.shape, f"i{bits}"),
                quantization=QuantParams(scales, (0,) * len(scales), q.axis),
            )  # fmt: skip
            constants[names.weights] = codes
            done[names.weights] = node.name
        if names.bias:
            if names.bias in done:
                raise ModelError(
                    f"{graph.name}: {node.name!r}", f"shares its bias with {done[names.bias]!r}",
                    "a bias of its own, to be brought to the new scales of the weights",
                )  # fmt: skip
            tensors[names.bias], constants[names.bias] = _bias(graph, names, tensors[names.weights])
            done[names.bias] = node.name
    return replace(graph, tensors=tensors, constants=constants)


_EXACT = 1 << 53  # of integers in float64


def _check(graph: Graph, node: Node, name: str) -> None:
    where, params = f"{graph.name}: {node.name!r}", graph.quantization(name)
    if not graph.spec(name).signed or any(params.zero_points):
        given = f"weights of {graph.spec(name).dtype}, zero point {params.zero_point}"
        raise ModelError(where, f"{given}, to be narrowed", "signed ones with zero points 0")
    others = [n for n in graph.uses(name) if n.operator not in PRODUCTS]
    if others or name in graph.outputs:
        problem = f"its weights {name!r} are used by something else, too"
        raise ModelError(where, problem, "weights of products alone, to be narrowed")


def _narrowed(graph: Graph, name: str, bits: int) -> tuple[np.ndarray, tuple[float, ...]]:
    """Codes in ``bits`` bits, and their scales."""
    params, values = graph.quantization(name), graph.constants[name]
    moved = np.moveaxis(values, params.axis, 0) if params.per_channel else values[np.newaxis]
    rows = moved.reshape(moved.shape[0], -1).astype(np.float64)
    most = 2 ** (bits - 1) - 1
    largest = np.maximum(np.abs(rows).max(axis=1), 1.0)
    best = np.full(rows.shape[0], np.inf)
    codes, steps = np.zeros_like(rows), largest / most
    for clip in _CLIPS:
        step = clip * largest / most
        found = np.clip(_half_away(rows / step[:, None]), -most, most)
        error = ((found * step[:, None] - rows) ** 2).sum(axis=1)
        better = error < best
        best[better], steps[better], codes[better] = error[better], step[better], found[better]
    fits = largest <= most  # already, exactly: nothing to be gained by another scale
    steps[fits], codes[fits] = 1.0, rows[fits]
    old = np.array(params.scales, np.float64)
    scales = tuple(float(np.float32(s)) for s in old * steps)
    shaped = codes.reshape(moved.shape)
    whole = np.moveaxis(shaped, 0, params.axis) if params.per_channel else shaped[0]
    return np.ascontiguousarray(whole, np.int8), scales


def _half_away(values: np.ndarray) -> np.ndarray:
    return np.copysign(np.floor(np.abs(values) + 0.5), values)


def _bias(graph: Graph, names: Operands, weights: GraphTensor) -> tuple[GraphTensor, np.ndarray]:
    """The bias in units of the input's scale times the weights' new one.

    One that its type no longer holds saturates. Such a bias, of a channel that only ever says one thing, is
    far beyond all codes of the ofmap either way.
    """
    old, new = graph.quantization(names.weights).scales, weights.quantization
    assert new is not None
    ratios = np.array(old, np.float64) / np.array(new.scales, np.float64)
    tensor, values = graph.tensors[names.bias], graph.constants[names.bias]
    most = min(np.iinfo(values.dtype).max, _EXACT)
    moved = _half_away(values * ratios.reshape(-1)).clip(-most, most).astype(values.dtype)
    q = tensor.quantization
    if q is not None:
        each = np.broadcast_to(np.array(q.scales, np.float64) / ratios, ratios.shape)
        scales = tuple(float(np.float32(s)) for s in each)
        q = QuantParams(scales, (0,) * len(scales), q.axis)
    return replace(tensor, quantization=q), moved
