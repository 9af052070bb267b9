"""SVDF with 8-bit activations and a 16-bit state: a convolution over time, one inference a time step.

Each unit has ``rank`` filters. A filter weighs the input (the newest entry of its memory) and then its
memory, entry by entry; the unit is the sum over its filters. The memory is the state: it moves by one
entry each time. RELU must be asked for, yet nothing is cut but by the type: so it is in the runtime.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.fixedpoint.requantize import quantize_multiplier
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops._recurrent import Code, Product, product
from simulator.profiles import RUN, SOURCE
from simulator.program.commands import Move, Piece
from simulator.program.nest import untiled
from simulator.tensor import TensorSpec

SUMMARY = "rank-limited filters over a memory of past inputs, 8-bit with a 16-bit state"
COMMAND = "matmul, move, matmul"
# The same in TensorFlow Lite Micro: tflite-micro's ``svdf_common.cc``.
PROFILES = {"tflite": RUN, "ruy": RUN, "xnnpack": RUN, "tflite_micro": SOURCE}

_X, _FEATURE, _TIME, _BIAS, _STATE = range(5)


def known_types(graph: Graph, node: Node) -> bool:
    """input, output and feature weights are int8, the weights over time and the state int16; all have one
    scale, weights and state zero point 0"""
    names = [*(node.inputs[i] for i in (_X, _FEATURE, _TIME, _STATE)), node.outputs[0]]
    params = [graph.tensors[name].quantization for name in names if name]
    if any(q is None or q.per_channel for q in params) or len(params) < len(names):
        return False
    types = [graph.spec(name).dtype for name in names]
    symmetric = all(graph.quantization(name).zero_point == 0 for name in names[1:4])
    return types == ["i8", "i8", "i16", "i16", "i8"] and symmetric


def asks_for_relu(graph: Graph, node: Node) -> bool:
    """the fused activation is RELU"""
    return node.attr("activation") == "RELU"


def constant_filters(graph: Graph, node: Node) -> bool:
    """the weights are constants, filters x inputs and filters x memory, the filters a multiple of the
    rank; the bias, if there is one, is an int32 constant with one number per unit"""
    feature, time, bias = (node.inputs[i] for i in (_FEATURE, _TIME, _BIAS))
    if not (graph.constant(feature) and graph.constant(time)):
        return False
    filters, inputs = graph.spec(feature).shape
    units, rest = divmod(filters, node.integer("rank"))
    if bias and not graph.constant(bias):
        return False
    spec = graph.spec(bias) if bias else TensorSpec((units,), "i32")
    fits = graph.spec(time).shape[0] == filters and graph.spec(node.inputs[_X]).shape[1] == inputs
    return fits and units > 0 and rest == 0 and (spec.dtype, spec.shape) == ("i32", (units,))


def variable_state(graph: Graph, node: Node) -> bool:
    """the state is a variable, batch x (filters times memory)"""
    state = node.inputs[_STATE]
    filters, memory = graph.spec(node.inputs[_TIME]).shape
    shape = (graph.spec(node.inputs[_X]).shape[0], filters * memory)
    return state in graph.state_names and graph.spec(state).shape == shape


RULES = (common.takes(5, 5), known_types, asks_for_relu, constant_filters, variable_state)


def infer(graph: Graph, node: Node) -> list[tuple[int, ...]]:
    filters, memory = graph.spec(node.inputs[_TIME]).shape
    batch = graph.spec(node.inputs[_X]).shape[0]
    return [(batch, filters // node.integer("rank")), (batch, filters * memory)]


def _scales(graph: Graph, node: Node) -> tuple[float, float]:
    """Real multipliers of the features and of the output: products and quotients of float32."""
    source, feature, time, state = (
        np.float32(graph.quantization(node.inputs[i]).scale) for i in (_X, _FEATURE, _TIME, _STATE)
    )
    output = np.float32(graph.quantization(node.outputs[0]).scale)
    return float(source * feature / state), float(state * time / output)


def _bias(graph: Graph, node: Node, units: int) -> np.ndarray:
    name = node.inputs[_BIAS]
    return graph.constants[name].astype(np.int64) if name else np.zeros(units, np.int64)


def _naive(total: int, real: float) -> int:
    """Double rounding of a sum of 32 bits that wraps."""
    multiplier, shift = quantize_multiplier(real)
    wrapped = (total + 2**31) % 2**32 - 2**31
    shifted = (wrapped * 2 ** max(shift, 0) + 2**31) % 2**32 - 2**31
    high = (2 * shifted * multiplier + 2**31) // 2**32
    divisor = 2 ** max(-shift, 0)
    magnitude = (2 * abs(high) + divisor) // (2 * divisor) if divisor > 1 else abs(high)
    return -magnitude if high < 0 else magnitude


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    first, second = _scales(graph, node)
    zero, params = (
        graph.quantization(node.inputs[_X]).zero_point,
        graph.quantization(node.outputs[0]),
    )
    feature, time = (graph.constants[node.inputs[i]].astype(object) for i in (_FEATURE, _TIME))
    (filters, memory), rank = time.shape, node.integer("rank")
    batch = inputs[0].shape[0]
    state = inputs[1].astype(object).reshape(batch, filters, memory)
    result = np.zeros((batch, filters // rank), np.int64)
    bias = _bias(graph, node, filters // rank)
    for b in range(batch):
        for f in range(filters):
            newest = _naive(int((feature[f] * (inputs[0][b].astype(object) - zero)).sum()), first)
            state[b, f] = [*state[b, f, 1:], min(max(newest, -(2**15)), 2**15 - 1)]
        for unit in range(filters // rank):
            own = slice(unit * rank, (unit + 1) * rank)
            total = int(bias[unit]) + int((time[own] * state[b, own]).sum())
            result[b, unit] = min(max(_naive(total, second) + params.zero_point, -128), 127)
    return [result, state.reshape(batch, -1).astype(np.int64)]


def _memory(batch: int, filters: int, memory: int) -> tuple[Piece, ...]:
    """The state (source 0) moved by one entry, the features (source 1) behind it."""
    rows, steps = (batch, filters), (filters * memory, memory)
    newest = Piece(1, (*rows, 1), 0, (filters, 1, 1), memory - 1, (*steps, 1))
    older = Piece(0, (*rows, memory - 1), 1, (*steps, 1), 0, (*steps, 1))
    return (older, newest) if memory > 1 else (newest,)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    batch, inputs = graph.spec(node.inputs[_X]).shape
    filters, memory = graph.spec(node.inputs[_TIME]).shape
    units, depth = filters // node.integer("rank"), node.integer("rank") * memory
    first, second = (quantize_multiplier(real) for real in _scales(graph, node))
    params = graph.quantization(node.outputs[0])
    feature, of_feature = product(f"{node.name}/feature", node, device, Product(
        untiled(out=(1, batch), n=filters, k=inputs, ifmap=(1, batch)),
        graph.constants[node.inputs[_FEATURE]].T.reshape(1, 1, 1, inputs, filters), 8,
        np.zeros(filters, np.int64), [first] * filters,
        graph.quantization(node.inputs[_X]).zero_point,
    ), Code(0, -(1 << 15), (1 << 15) - 1))  # fmt: skip
    # Each unit is a group: its filters' memories lie side by side.
    time, of_time = product(f"{node.name}/time", node, device, Product(
        untiled(out=(1, batch), groups=units, k=depth, ifmap=(1, batch)),
        graph.constants[node.inputs[_TIME]].reshape(units, 1, 1, depth, 1), 16,
        _bias(graph, node, units), [second] * units, 0,
    ), Code(params.zero_point, -128, 127))  # fmt: skip
    newest, state, following = f"{node.name}/feature", node.inputs[_STATE], node.outputs[1]
    shift = Move(
        f"{node.name}/memory", node.operator, (state, newest), following,
        _memory(batch, filters, memory),
    )  # fmt: skip
    commands = (
        replace(feature, name=newest, ifmap=node.inputs[_X], ofmap=newest), shift,
        replace(time, name=node.name, ifmap=following, ofmap=node.outputs[0]),
    )  # fmt: skip
    made = {newest: TensorSpec((batch, filters), "i16")}
    return common.Lowered(commands, {**of_feature, **of_time}, made)
