"""Ranges of all tensors of a float graph over samples, and the scales that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from simulator.graph import Graph
from simulator.quantization.float_graph import batches, run_float
from simulator.quantization.scheme import ACTIVATION_BITS, Scheme
from simulator.quantizers._scales import ruled
from simulator.quantizers.ranges import limits
from simulator.tensor import QuantParams

# Kernels of these operators copy or average codes and never rescale them.
_SAME_SCALE = ("max_pool_2d", "average_pool_2d", "reshape", "transpose", "concatenation", "pad")
# What the runtimes' kernels demand of an int8 output.
_FIXED = {
    "softmax": QuantParams((1 / 256,), (-128,)), "logistic": QuantParams((1 / 256,), (-128,)),
    "tanh": QuantParams((1 / 128,), (0,)),
}  # fmt: skip
_VALUES_KEPT = 1 << 18  # of a tensor


def activation_params(
    graph: Graph, x: np.ndarray, scheme: Scheme, given: QuantParams | None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, QuantParams]:  # fmt: skip
    """int8 parameters of every tensor that is not constant, from its values for samples ``x``.

    ``given``: those of the input, where its samples are codes. Tensors that an operator copies or averages
    codes between share one range.
    """
    kept = _values(graph, x, progress)
    leader = shared_ranges(graph)
    found: dict[str, QuantParams] = {}
    if given is not None:
        found[leader[graph.inputs[0]]] = given
    for node in graph.nodes:
        if node.operator in _FIXED:
            found.setdefault(leader[node.outputs[0]], _FIXED[node.operator])
    members: dict[str, list[np.ndarray]] = {}
    for name, values in kept.items():
        members.setdefault(leader[name], []).append(values)
    for name, parts in members.items():
        if name not in found:
            found[name] = _params(np.concatenate(parts), scheme)
    return {name: found[leader[name]] for name in kept}


class ActivationRange(NamedTuple):
    """``params``: those of int8 codes; the codes there are."""

    params: QuantParams
    low: int = -128
    high: int = 127

    @property
    def bits(self) -> int:
        return (self.high - self.low).bit_length()

    @property
    def signed(self) -> bool:
        """Whether they are codes of signed numbers, rather than unsigned ones less 128."""
        return self.low != -128


def narrow_ranges(
    graph: Graph, x: np.ndarray, scheme: Scheme, given: QuantParams | None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, ActivationRange]:  # fmt: skip
    """As :func:`activation_params`, of ``scheme.activation_bits`` about a zero point of 0, unsigned where
    nothing is negative; the input and the output have 8 bits."""
    kept = _values(graph, x, progress)
    leader = shared_ranges(graph)
    end = graph.nodes[-1]  # what a last softmax is given counts as the output
    last = leader[end.inputs[0] if end.operator == "softmax" else graph.outputs[0]]
    first = leader[graph.inputs[0]]
    members: dict[str, list[np.ndarray]] = {}
    for name, values in kept.items():
        members.setdefault(leader[name], []).append(values)
    found = {}
    for name, parts in members.items():
        if name == first and given is not None:
            found[name] = ActivationRange(given)
            continue
        bits = ACTIVATION_BITS if name in (first, last) else scheme.activation_bits
        found[name] = _about_zero(np.concatenate(parts), bits, scheme)
    return {name: found[leader[name]] for name in kept}


def _about_zero(values: np.ndarray, bits: int, scheme: Scheme) -> ActivationRange:
    signed = bool(values.min() < 0)
    low, high = limits(scheme.activation_limits, values, bits, signed)
    steps = (1 << (bits - signed)) - 1
    (scale,) = ruled(np.array([max(-low, high) / steps]), scheme.scale)
    if signed:
        return ActivationRange(QuantParams((float(scale),), (0,)), -steps, steps)
    return ActivationRange(QuantParams((float(scale),), (-128,)), -128, steps - 128)


def _values(
    graph: Graph, x: np.ndarray, progress: Callable[[int], object] | None
) -> dict[str, np.ndarray]:
    """Of every tensor its extremes and evenly many of its other values."""
    names = (*graph.inputs, *(node.outputs[0] for node in graph.nodes))
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for part in batches(graph, x):
        for name, values in run_float(graph, part, names).items():
            flat = values.reshape(-1)
            share = max(1, _VALUES_KEPT * part.shape[0] // x.shape[0])
            step = -(-flat.size // share)
            kept[name] += [flat[::step], np.array([flat.min(), flat.max()], np.float32)]
        if progress is not None:
            progress(part.shape[0])
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def shared_ranges(graph: Graph) -> dict[str, str]:
    """Tensor -> one of those it shares its range with."""
    leader = {n: n for n in (*graph.inputs, *(node.outputs[0] for node in graph.nodes))}

    def found(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for node in graph.nodes:
        if node.operator in _SAME_SCALE:
            for name in node.inputs:
                if name in leader:
                    leader[found(name)] = found(node.outputs[0])
    return {name: found(name) for name in leader}


def _params(values: np.ndarray, scheme: Scheme) -> QuantParams:
    return params_between(
        *limits(scheme.activation_limits, values, ACTIVATION_BITS, False), scheme.scale
    )


def params_between(low: float, high: float, rule: str) -> QuantParams:
    """int8 parameters of numbers from ``low`` to ``high`` and of 0, which is exact; the scale as ``rule``
    allows it."""
    low, high = min(low, 0.0), max(high, 0.0)
    steps = (1 << ACTIVATION_BITS) - 1
    least = -(1 << (ACTIVATION_BITS - 1))
    (scale,) = ruled(np.array([(high - low) / steps]), rule)
    point = np.clip(np.rint(least - low / float(scale)), least, least + steps)
    return QuantParams((float(scale),), (int(point),))
