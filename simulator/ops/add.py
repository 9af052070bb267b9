"""ADD of two tensors of the same shape, as TensorFlow Lite's reference computes it.

Both inputs are shifted left by 20 bits, brought to a common scale (twice the larger one), added, and
brought to the output's scale; three double-rounding requantizations.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.requantize import quantize_multiplier
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.program.commands import LaneWork, Vector
from simulator.program.nest import Nest, untiled

SUMMARY = "element-wise sum of two tensors of one shape, with fused activation"
COMMAND = "vector add"

LEFT_SHIFT = 20


def two_activations(graph: Graph, node: Node) -> bool:
    """both inputs are activations, not constants"""
    return len(common.activations(graph, node)) == 2


def same_shape(graph: Graph, node: Node) -> bool:
    """both inputs have the same shape (no broadcasting)"""
    return graph.spec(node.inputs[0]).shape == graph.spec(node.inputs[1]).shape


RULES = (
    common.takes(2, 2), two_activations, same_shape, common.eight_bit, common.per_tensor_activations,
    common.known_activation,
)  # fmt: skip
DEVICE_RULES = (common.needs_function("add"),)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def _scales(graph: Graph, node: Node) -> tuple[float, float, float]:
    """Real multipliers of the inputs and of the sum."""
    s1, s2 = (graph.quantization(n).scale for n in node.inputs)
    twice = 2 * max(s1, s2)
    out = float(np.float32(2**LEFT_SHIFT) * np.float32(graph.quantization(node.outputs[0]).scale))
    return s1 / twice, s2 / twice, twice / out


def elementwise_nest(shape: tuple[int, ...]) -> Nest:
    """A nest over the elements of ``shape``: channels as groups, what is before them as rows."""
    channels = shape[-1] if shape else 1
    image = shape[-3:-1] if len(shape) >= 3 else (1, shape[0] if len(shape) == 2 else 1)
    batch = 1
    for size in shape[:-3]:
        batch *= size
    return untiled(
        batch=batch, out=(image[0], image[1]), groups=channels, ifmap=(image[0], image[1])
    )


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    first, second, out_scale = _scales(graph, node)
    z1, z2 = (graph.quantization(n).zero_point for n in node.inputs)
    params = graph.quantization(node.outputs[0])
    low, high = common.activation_range(
        graph.spec(node.outputs[0]), params, node.text("activation")
    )
    result = np.zeros(inputs[0].shape, np.int64)
    for i in np.ndindex(*result.shape):
        a = common.naive_requantize("", (int(inputs[0][i]) - z1) * 2**LEFT_SHIFT, first)
        b = common.naive_requantize("", (int(inputs[1][i]) - z2) * 2**LEFT_SHIFT, second)
        total = common.naive_requantize("", a + b, out_scale) + params.zero_point
        result[i] = min(max(total, low), high)
    return result


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    params = graph.quantization(node.outputs[0])
    low, high = common.activation_range(
        graph.spec(node.outputs[0]), params, node.text("activation")
    )
    (m1, e1), (m2, e2), (mo, eo) = (quantize_multiplier(s) for s in _scales(graph, node))
    command = Vector(
        name=node.name, operator=node.operator, function="add", inputs=node.inputs,
        ofmap=node.outputs[0], nest=elementwise_nest(graph.spec(node.outputs[0]).shape),
        parameters=(
            ("zero_point_1", graph.quantization(node.inputs[0]).zero_point),
            ("zero_point_2", graph.quantization(node.inputs[1]).zero_point),
            ("left_shift", LEFT_SHIFT),
            ("multiplier_1", m1), ("shift_1", e1), ("multiplier_2", m2), ("shift_2", e2),
            ("multiplier_out", mo), ("shift_out", eo), ("zero_point_out", params.zero_point),
            ("clamp_min", low), ("clamp_max", high),
        ),
        lane=LaneWork(cycles=3, multiplies=3, adds=4),
    )  # fmt: skip
    return common.Lowered(command)
