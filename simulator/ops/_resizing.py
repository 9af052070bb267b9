"""What the two resizings share: rules, positions along an axis, and a nest that reads the right rows."""

from __future__ import annotations

import math

import numpy as np

from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops._pooling import known_type, same_quantization
from simulator.program.commands import LaneWork, Parameters, Vector
from simulator.program.nest import Nest, untiled
from simulator.tensor import TensorSpec

# Rows an output row may read beyond the input rows in proportion to its own.
_HALO = 1


def constant_size(graph: Graph, node: Node) -> bool:
    """the size is a constant of two int32, at least 1"""
    name = node.inputs[1]
    if not graph.constant(name) or graph.spec(name).dtype != "i32":
        return False
    values = graph.constants[name].reshape(-1)
    return values.size == 2 and int(values.min()) >= 1


RULES = (
    common.takes(2, 2), common.image_input, constant_size, known_type,
    common.per_tensor_activations, same_quantization,
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    batch, _, _, channels = graph.spec(node.inputs[0]).shape
    height, width = (int(v) for v in graph.constants[node.inputs[1]].reshape(-1))
    return batch, height, width, channels


def scale(node: Node, size: int, out: int) -> np.float32:
    """Input positions from one output position to the next, as float32 kernels compute it."""
    if node.integer("align_corners") and out > 1:
        return np.float32(size - 1) / np.float32(out - 1)
    return np.float32(size) / np.float32(out)


def nest_of(shape: tuple[int, ...], out: tuple[int, ...]) -> Nest:
    """Bands of input rows (and columns) with the output rows that come of them.

    Of h input and oh output rows, h/g make oh/g for g = gcd(h, oh), with a halo of one row on either
    side: that is what a tile may be divided into. An image of coprime sizes is taken whole.
    """
    (batch, height, width, channels), (_, out_h, out_w, _) = shape, out
    rows, cols = math.gcd(height, out_h), math.gcd(width, out_w)
    stride = (height // rows, width // cols)
    return untiled(
        batch=batch, out=(rows, cols), groups=channels, n=(out_h // rows) * (out_w // cols),
        kernel=(stride[0] + 2 * _HALO, stride[1] + 2 * _HALO), stride=stride,
        pad=(_HALO, _HALO), ifmap=(height, width),
    )  # fmt: skip


def lower(
    graph: Graph, node: Node, function: str, table: np.ndarray, lane: LaneWork, *,
    parameters: Parameters = (),
) -> common.Lowered:  # fmt: skip
    """A Vector of the image and a table of positions, the output rows' before the columns'."""
    shape, out = graph.spec(node.inputs[0]).shape, infer(graph, node)
    name = f"{node.name}/positions"
    command = Vector(
        name=node.name, operator=node.operator, function=function, inputs=(node.inputs[0], name),
        ofmap=node.outputs[0], nest=nest_of(shape, out), parameters=parameters, lane=lane,
    )  # fmt: skip
    return common.Lowered(
        (command,), {name: table.astype(np.int32)}, {name: TensorSpec(table.shape, "i32")}
    )
