"""What element-wise operators share: nests, shapes that broadcast, types, and clamps.

An operand smaller than the output is read again along the dimensions where it has size 1, as numpy does;
the operand's own shape says how.
"""

from __future__ import annotations

import numpy as np

from simulator.graph import Graph, Node
from simulator.ops import _common as common
from simulator.program.nest import Nest, untiled

CODES = ("i8", "u8", "i16")
NUMBERS = ("i32", "i64", "f32")


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


def two_inputs(graph: Graph, node: Node) -> bool:
    """it has two inputs, of which at most one is a constant"""
    return len(node.inputs) == 2 and all(node.inputs) and bool(common.activations(graph, node))


def one_type(*types: str) -> common.Rule:
    """The rule that inputs and output have one type, of these."""

    def rule(graph: Graph, node: Node) -> bool:
        found = {graph.spec(n).dtype for n in (*node.inputs, node.outputs[0])}
        return len(found) == 1 and found <= set(types)

    rule.__doc__ = f"inputs and output have the same type: {', '.join(types)}"
    return rule


def quantized_codes(graph: Graph, node: Node) -> bool:
    """codes of 8 or 16 bits have one scale and one zero point, int16 codes the zero point 0"""
    for name in (*node.inputs, node.outputs[0]):
        spec, params = graph.spec(name), graph.tensors[name].quantization
        if spec.dtype not in CODES:
            continue
        if params is None or params.per_channel or (spec.dtype == "i16" and params.zero_point):
            return False
    return True


def broadcasts(graph: Graph, node: Node) -> bool:
    """the inputs' shapes broadcast: from the last on, dimensions are equal or one of them is 1"""
    pairs = zip(*(reversed(graph.spec(n).shape) for n in node.inputs), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


def binary_shape(graph: Graph, node: Node) -> tuple[int, ...]:
    """Shape of the output of two inputs that broadcast."""
    return np.broadcast_shapes(*(graph.spec(n).shape for n in node.inputs))


def first_shape(graph: Graph, node: Node) -> tuple[int, ...]:
    """Shape of the first input."""
    return graph.spec(node.inputs[0]).shape


def operands(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The values of all inputs, constants from the graph, each broadcast to the output's shape."""
    given = iter(inputs)
    found = [graph.constants[n] if graph.constant(n) else next(given) for n in node.inputs]
    return [np.broadcast_to(v, binary_shape(graph, node)) for v in found]


def scales(graph: Graph, node: Node) -> list[float]:
    """The inputs' scales."""
    return [graph.quantization(n).scale for n in node.inputs]


def ratios(graph: Graph, node: Node) -> list[float]:
    """Each input's scale by the output's, in float32."""
    s_out = np.float32(graph.quantization(node.outputs[0]).scale)
    return [float(np.float32(s) / s_out) for s in scales(graph, node)]


def eight_bits(graph: Graph, node: Node) -> bool:
    """Whether the output is int8 or uint8: XNNPACK takes no wider codes."""
    return graph.spec(node.outputs[0]).dtype in ("i8", "u8")


def clamp(graph: Graph, node: Node, by_xnnpack: bool = False) -> tuple[int, int]:
    """Smallest and largest output code, with the fused activation."""
    name = node.outputs[0]
    spec, params = graph.spec(name), graph.quantization(name)
    return common.activation_range(spec, params, node.text("activation"), even=by_xnnpack)


_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "NONE": (None, None), "RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0),
}  # fmt: skip


def real_bounds(activation: str) -> tuple[float | None, float | None]:
    """What a fused activation clamps a number to; None for no bound."""
    return _BOUNDS[activation]
