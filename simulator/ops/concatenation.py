"""CONCATENATION: tensors one after another along an axis.

uint8 inputs with a scale or zero point of their own are brought to the output's, in float32 as the
reference does it: ``round(q * s + b) + z`` with ``s = s_in * (1 / s_out)`` and ``b = -z_in * s``, ties away
from zero. That is a function of 256 codes, so it becomes a table.
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _movement as move
from simulator.ops.add import elementwise_nest
from simulator.profiles import RUN
from simulator.program.commands import Command, LaneWork, Move, Vector
from simulator.tensor import TensorSpec

SUMMARY = "tensors one after another along an axis"
COMMAND = "move, and vector lookup for uint8 inputs of other scales"
PROFILES = {"tflite": RUN}
DATA = slice(None)


def shapes_fit(graph: Graph, node: Node) -> bool:
    """all inputs have as many dimensions, at least one, and the same size along all but the axis"""
    shapes = [graph.spec(n).shape for n in node.inputs]
    axis = move.axis_of(node.integer("axis"), len(shapes[0]))
    return axis >= 0 and len({(len(s), move.along(s, axis, 1)) for s in shapes}) == 1


def no_activation(graph: Graph, node: Node) -> bool:
    """the fused activation is NONE"""
    return node.text("activation") == "NONE"


def types_fit(graph: Graph, node: Node) -> bool:
    """inputs and output have the same type (i8, u8, i16, i32, i64 or f32) and, of i8 and i16, the same
    quantization; uint8 tensors have one scale each"""
    if graph.spec(node.outputs[0]).dtype != "u8":
        return move.same_elements(DATA)(graph, node)
    tensors = [graph.tensors[n] for n in (*node.inputs, *node.outputs)]
    params = [t.quantization for t in tensors]
    single = all(q is not None and not q.per_channel for q in params)
    return {t.spec.dtype for t in tensors} == {"u8"} and (single or not any(params))


def rescale_defined(graph: Graph, node: Node) -> bool:
    """no uint8 input's scale is more than 2**22 times the output's (beyond, C++ does not say what comes
    out)"""
    if not any(_rescaled(graph, node, name) for name in node.inputs):
        return True
    most = 2.0**22 * graph.quantization(node.outputs[0]).scale
    return all(graph.quantization(name).scale <= most for name in node.inputs)


RULES = (
    move.counted(1, move.MOST_INPUTS), shapes_fit, no_activation, types_fit, rescale_defined,
    move.moves_activations(DATA),
)  # fmt: skip


def _axis(graph: Graph, node: Node) -> int:
    return move.axis_of(node.integer("axis"), len(graph.spec(node.inputs[0]).shape))


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    axis = _axis(graph, node)
    shapes = [graph.spec(n).shape for n in node.inputs]
    return move.along(shapes[0], axis, sum(s[axis] for s in shapes))


def _rescaled(graph: Graph, node: Node, name: str) -> bool:
    """Whether codes of ``name`` mean something else in the output."""
    same = graph.tensors[name].quantization == graph.tensors[node.outputs[0]].quantization
    return graph.spec(name).dtype == "u8" and not same


def _code(graph: Graph, node: Node, name: str, code: int) -> int:
    """One code of input ``name`` as a code of the output."""
    source, target = graph.quantization(name), graph.quantization(node.outputs[0])
    scale = np.float32(source.scale) * (np.float32(1) / np.float32(target.scale))
    bias = np.float32(-source.zero_point) * scale
    value = np.float32(code) * scale + bias
    return min(max(common.round_half_away(float(value)) + target.zero_point, 0), 255)


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    values = move.all_values(graph, node.inputs, inputs)
    for place, name in enumerate(node.inputs):
        if _rescaled(graph, node, name):
            codes = (_code(graph, node, name, int(v)) for v in values[place].reshape(-1))
            values[place] = np.fromiter(codes, np.uint8).reshape(values[place].shape)
    return np.concatenate(values, _axis(graph, node))


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    axis, made = _axis(graph, node), infer(graph, node)
    across = move.strides(made)
    commands: list[Command] = []
    tensors: dict[str, TensorSpec] = {}
    constants: dict[str, np.ndarray] = {}
    sources, pieces, start = [], [], 0
    for place, name in enumerate(node.inputs):
        spec, source = graph.spec(name), name
        if _rescaled(graph, node, name):
            source, table = f"{node.name}/rescaled_{place}", f"{node.name}/table_{place}"
            codes = [_code(graph, node, name, code) for code in range(256)]
            constants[table] = np.array(codes, np.uint8)
            tensors |= {source: spec, table: TensorSpec((256,), "u8")}
            commands.append(Vector(
                name=source, operator=node.operator, function="lookup", inputs=(name, table),
                ofmap=source, nest=elementwise_nest(spec.shape), parameters=(),
                lane=LaneWork(cycles=1, multiplies=0, adds=0, lookups=1),
            ))  # fmt: skip
        offset = start * across[axis]
        pieces.append(
            move.block(spec.shape, move.strides(spec.shape), across, source=place)._replace(
                ofmap_offset=offset
            )
        )
        sources.append(source)
        start += spec.shape[axis]
    commands.append(
        Move(node.name, node.operator, tuple(sources), node.outputs[0], tuple(pieces))
    )  # fmt: skip
    return common.Lowered(tuple(commands), constants, tensors)
