"""Which tensors an LSTM has, and what they must be.

The operator has 20 or 24 inputs, most of them optional; a gate's tensors come in the order of ``GATES``.
Without an input gate the LSTM is coupled: as much enters a cell as is forgotten.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.errors import ModelError
from simulator.fixedpoint.lstm import GATE_SCALE, cell_log2
from simulator.graph import Graph, Node

INPUT, FORGET, CELL, OUTPUT = GATES = range(4)
# The operator's inputs: the first of a kind that every gate has, and others.
X, WEIGHTS, RECURRENT, BIAS, NORM = 0, 1, 5, 12, 20
PROJECTION, PROJECTION_BIAS, STATE, CELL_STATE = 16, 17, 18, 19
_PEEPHOLES = {INPUT: 9, FORGET: 10, OUTPUT: 11}
# Scales that float32 quotients can neither make infinite nor zero.
_SMALLEST, _LARGEST = 2.0**-60, 2.0**60


class Sizes(NamedTuple):
    batch: int
    time: int
    inputs: int
    cells: int
    outputs: int


def at(node: Node, place: int) -> str:
    """The name of the input at ``place``, '' where there is none."""
    return node.inputs[place] if place < len(node.inputs) else ""


def peephole(node: Node, gate: int) -> str:
    return at(node, _PEEPHOLES[gate]) if gate in _PEEPHOLES else ""


def gates_of(node: Node) -> tuple[int, ...]:
    """The gates there are."""
    return tuple(g for g in GATES if at(node, WEIGHTS + g))


def looking_gates(node: Node) -> tuple[int, ...]:
    """The gates that look at the cell state through peepholes."""
    return tuple(g for g in _PEEPHOLES if peephole(node, g))


def normalized(node: Node) -> bool:
    return bool(at(node, NORM + FORGET))


def projected(node: Node) -> bool:
    """Whether the hidden state is projected to the output."""
    return bool(at(node, PROJECTION))


def sizes(graph: Graph, node: Node) -> Sizes:
    first, second, inputs = graph.spec(node.inputs[X]).shape
    batch, time = (second, first) if node.integer("time_major") else (first, second)
    cells, outputs = graph.spec(at(node, RECURRENT + FORGET)).shape
    return Sizes(batch, time, inputs, cells, outputs)


def _intermediate_scales(node: Node) -> list[float]:
    """Scales of the gates' pre-activations and of the hidden state."""
    found = dict(node.attrs).get("intermediate_scales", ())
    return [float(s) for s in found] if isinstance(found, tuple) else []


def hidden_quantization(node: Node) -> tuple[float, int]:
    """Scale and zero point of the hidden state."""
    return _intermediate_scales(node)[-1], node.integers("intermediate_zero_points")[-1]


def gate_scale(node: Node, gate: int) -> float:
    """Scale of a gate's pre-activation: the file's where it is normalized."""
    return _intermediate_scales(node)[gate] if normalized(node) else GATE_SCALE


def _constant(graph: Graph, name: str, dtype: str, *shape: int) -> bool:
    """Whether it is a constant of this type and shape; unless a bias, of one scale and zero point 0."""
    if not name or not graph.constant(name) or graph.spec(name).shape != shape:
        return False
    params = graph.tensors[name].quantization
    symmetric = params is not None and len(params.scales) == 1 and params.zero_points == (0,)
    return graph.spec(name).dtype == dtype and (symmetric or dtype == "i32")


def tanh_activation(graph: Graph, node: Node) -> bool:
    """the fused activation is TANH"""
    return node.attr("activation") == "TANH"


def full_recurrence(graph: Graph, node: Node) -> bool:
    """recurrent weights are whole matrices, not diagonals"""
    return not node.integer("diagonal")


def whole_gates(graph: Graph, node: Node) -> bool:
    """there are all four gates, or all but the input gate, of whose tensors there is none then"""
    inputs = (WEIGHTS, RECURRENT, BIAS, NORM, _PEEPHOLES[INPUT])
    gates = gates_of(node)
    return gates == tuple(GATES) or (
        gates == (FORGET, CELL, OUTPUT) and not any(at(node, place) for place in inputs)
    )


def gate_weights(graph: Graph, node: Node) -> bool:
    """weights of the gates are int8 constants of one scale and zero point 0, cells x inputs and
    cells x outputs"""
    name = at(node, RECURRENT + FORGET)
    if not name or len(graph.spec(name).shape) != 2:
        return False
    s = sizes(graph, node)
    return all(
        _constant(graph, at(node, WEIGHTS + g), "i8", s.cells, s.inputs)
        and _constant(graph, at(node, RECURRENT + g), "i8", s.cells, s.outputs)
        for g in gates_of(node)
    )


def gate_biases(graph: Graph, node: Node) -> bool:
    """every gate has a bias, an int32 constant with one number per cell"""
    cells = sizes(graph, node).cells
    return all(_constant(graph, at(node, BIAS + g), "i32", cells) for g in gates_of(node))


def gate_peepholes(graph: Graph, node: Node) -> bool:
    """peepholes are int16 constants of one scale and zero point 0, for all gates but the cell gate or for
    none; with them there are as many outputs as cells, or fewer and a batch of one"""
    gates, s = looking_gates(node), sizes(graph, node)
    if not gates:
        return True
    # With fewer outputs than cells the runtime reads one batch's cells for another's.
    fits = s.outputs == s.cells or (s.outputs < s.cells and s.batch == 1)
    return (
        fits
        and gates == tuple(g for g in gates_of(node) if g != CELL)
        and all(_constant(graph, peephole(node, g), "i16", s.cells) for g in gates)
    )


def gate_norms(graph: Graph, node: Node) -> bool:
    """weights of layer normalization are int16 constants of one scale and zero point 0, one number per
    cell, for all gates or for none"""
    cells, names = sizes(graph, node).cells, [at(node, NORM + g) for g in gates_of(node)]
    return not any(names) or all(_constant(graph, name, "i16", cells) for name in names)


def known_projection(graph: Graph, node: Node) -> bool:
    """the projection is an int8 constant of one scale and zero point 0, outputs x cells, its bias int32;
    without one there are as many outputs as cells"""
    s, bias = sizes(graph, node), at(node, PROJECTION_BIAS)
    if not projected(node):
        return s.outputs == s.cells and not bias
    known = not bias or _constant(graph, bias, "i32", s.outputs)
    return known and _constant(graph, at(node, PROJECTION), "i8", s.outputs, s.cells)


def known_intermediates(graph: Graph, node: Node) -> bool:
    """five intermediate tensors give the scales of the gates, used where they are normalized, and of the
    hidden state, whose zero point is an int8 code"""
    if len(_intermediate_scales(node)) != len(GATES) + 1:
        return False
    hidden, zero_point = hidden_quantization(node)
    scales = [hidden, *(gate_scale(node, g) for g in gates_of(node))]
    return -128 <= zero_point <= 127 and all(_SMALLEST < s < _LARGEST for s in scales)


def known_activations(graph: Graph, node: Node) -> bool:
    """input and output are int8 of one scale"""
    names = (node.inputs[X], node.outputs[0])
    params = [graph.tensors[name].quantization for name in names]
    return all(graph.spec(name).dtype == "i8" for name in names) and all(
        q is not None and not q.per_channel for q in params
    )


def known_states(graph: Graph, node: Node) -> bool:
    """the states are variables: of the output, int8, batch x outputs, quantized like the output; of the
    cells, int16, batch x cells, of zero point 0 and a scale that is a power of two, 2**-15 to 2**-9"""
    output, cell, s = at(node, STATE), at(node, CELL_STATE), sizes(graph, node)
    params = graph.tensors[cell].quantization if cell else None
    if not {output, cell} <= graph.state_names or params is None or params.zero_points != (0,):
        return False
    try:
        cell_log2(params.scale)
    except ModelError:
        return False
    specs = [(graph.spec(n).dtype, graph.spec(n).shape) for n in (output, cell)]
    return specs == [("i8", (s.batch, s.outputs)), ("i16", (s.batch, s.cells))] and (
        graph.tensors[output].quantization == graph.tensors[node.outputs[0]].quantization
    )


RULES = (
    known_activations, tanh_activation, full_recurrence, whole_gates, gate_weights, gate_biases,
    gate_peepholes, gate_norms, known_projection, known_intermediates, known_states,
)  # fmt: skip
