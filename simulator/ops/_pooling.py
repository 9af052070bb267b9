"""What average and max pooling share."""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.program.commands import LaneWork, Vector
from simulator.program.nest import untiled


def same_quantization(graph: Graph, node: Node) -> bool:
    """input and output have the same quantization"""
    return graph.quantization(node.inputs[0]) == graph.quantization(node.outputs[0])


def known_type(graph: Graph, node: Node) -> bool:
    """input and output are int8, uint8 or int16 (in profile qonnx codes of at most 8 bits), of the same
    type"""
    first, second = (graph.spec(n) for n in (node.inputs[0], node.outputs[0]))
    narrow = graph.profile == "qonnx" and not first.real and first.bits <= 8
    return first.dtype == second.dtype and (first.dtype in ("i8", "u8", "i16") or narrow)


RULES = (
    common.takes(1, 1), common.image_input, known_type, common.per_tensor_activations,
    common.known_activation, same_quantization,
)  # fmt: skip


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    batch, height, width, channels = graph.spec(node.inputs[0]).shape
    return (
        batch,
        common.convolved_size(
            height, node.integer("kernel_h"), node.integer("stride_h"), 1,
            node.integer("pad_top"), node.integer("pad_bottom"),
        ),
        common.convolved_size(
            width, node.integer("kernel_w"), node.integer("stride_w"), 1,
            node.integer("pad_left"), node.integer("pad_right"),
        ),
        channels,
    )  # fmt: skip


def clamp_range(graph: Graph, node: Node) -> tuple[int, int]:
    """The fused activation's range in output codes."""
    output = node.outputs[0]
    return common.activation_range(
        graph.spec(output), graph.quantization(output), node.text("activation")
    )


def windows(graph: Graph, node: Node, x: np.ndarray) -> list[tuple[tuple[int, ...], list[int]]]:
    """(output index, codes of the window's taps inside the image) of every output element."""
    _, height, width, _ = x.shape
    found = []
    for b, oy, ox, c in np.ndindex(*infer(graph, node)):
        y0 = oy * node.integer("stride_h") - node.integer("pad_top")
        x0 = ox * node.integer("stride_w") - node.integer("pad_left")
        taps = [
            int(x[b, y, xx, c])
            for y in range(max(y0, 0), min(y0 + node.integer("kernel_h"), height))
            for xx in range(max(x0, 0), min(x0 + node.integer("kernel_w"), width))
        ]
        found.append(((b, oy, ox, c), taps))
    return found


def lower(graph: Graph, node: Node, function: str, lane: LaneWork) -> common.Lowered:
    batch, height, width, channels = graph.spec(node.inputs[0]).shape
    _, out_h, out_w, _ = infer(graph, node)
    low, high = clamp_range(graph, node)
    nest = untiled(
        batch=batch, out=(out_h, out_w), groups=channels,
        kernel=(node.integer("kernel_h"), node.integer("kernel_w")),
        stride=(node.integer("stride_h"), node.integer("stride_w")),
        pad=(node.integer("pad_top"), node.integer("pad_left")), ifmap=(height, width),
    )  # fmt: skip
    command = Vector(
        name=node.name, operator=node.operator, function=function, inputs=node.inputs,
        ofmap=node.outputs[0], nest=nest, parameters=(("clamp_min", low), ("clamp_max", high)),
        lane=lane,
    )  # fmt: skip
    return common.Lowered((command,))
