"""The vector function of PRELU and of 16-bit LEAKY_RELU: one ratio above zero, another below."""

from __future__ import annotations

from simulator.fixedpoint.rescale import RESCALE_KINDS
from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.ops import _elementwise
from simulator.ops._scaling import Scaling
from simulator.program.commands import LaneWork, Vector


def lower(graph: Graph, node: Node, positive: Scaling, negative: Scaling) -> common.Lowered:
    """A Vector whose second input, where there is one, multiplies what is below zero."""
    spec = graph.spec(node.outputs[0])
    with_alpha = len(node.inputs) > 1
    zero_alpha = graph.quantization(node.inputs[1]).zero_point if with_alpha else 0
    assert positive.kind == negative.kind
    command = Vector(
        name=node.name, operator=node.operator, function="prelu", inputs=node.inputs,
        ofmap=node.outputs[0], nest=_elementwise.elementwise_nest(spec.shape),
        parameters=(
            ("zero_point_in", graph.quantization(node.inputs[0]).zero_point),
            ("zero_point_alpha", zero_alpha), ("kind", RESCALE_KINDS[positive.kind]),
            ("multiplier_positive", positive.multiplier), ("shift_positive", positive.shift),
            ("multiplier_negative", negative.multiplier), ("shift_negative", negative.shift),
            ("zero_point_out", graph.quantization(node.outputs[0]).zero_point),
            ("clamp_min", spec.minimum), ("clamp_max", spec.maximum),
        ),
        lane=LaneWork(cycles=2, multiplies=2 if with_alpha else 1, adds=3),
    )  # fmt: skip
    return common.Lowered((command,))
