"""What the writers of ``.onnx`` files share: nodes and constants, windows, and what only moves values.

Tensors of rank 4 are images, NHWC in a graph and NCHW in a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from simulator.errors import ModelError
from simulator.graph import Graph, Node

NCHW = (0, 3, 1, 2)
_NHWC = (0, 2, 3, 1)
# Our axes of a product's weights in the file's order.
WEIGHT_ORDERS = {
    "conv_2d": (0, 3, 1, 2), "depthwise_conv_2d": (3, 0, 1, 2), "fully_connected": (0, 1)
}  # fmt: skip
_LARGEST_SIGNED = 64  # of which two times 255 fit 16 bits
_ENDS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}


class Parts:
    """One file being written; lives for one call of a writer."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def add(self, kind: str, inputs: list[str], output: str, **attrs: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attrs))
        return output

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(values.copy("C"), name))
        return name

    def clipped(self, value: str, kind: str, output: str) -> str:
        """``value`` between the ends of a ReLU that has two."""
        ends = [self.constant(f"bound {b:g}", np.array(b, np.float32)) for b in _ENDS[kind]]
        return self.add("Clip", [value, *ends], output)

    def activated(self, node: Node, value: str) -> str:
        """``value``, of ``node``, after its activation; itself where it has none."""
        output = node.outputs[0]
        kind = str(dict(node.attrs).get("activation", "NONE"))
        if kind == "RELU":
            return self.add("Relu", [value], f"{output}/relu")
        return value if kind == "NONE" else self.clipped(value, kind, f"{output}/clip")

    def model(
        self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto],
        opsets: dict[str, int], ir_version: int,
    ) -> onnx.ModelProto:  # fmt: skip
        made = helper.make_graph(
            self.nodes, self.graph.name, inputs, outputs, list(self.constants.values())
        )
        return helper.make_model(
            made, opset_imports=[helper.make_opsetid(*opset) for opset in opsets.items()],
            ir_version=ir_version, producer_name="npusim",
        )  # fmt: skip

    def error(self, node: Node, problem: str, allowed: str) -> ModelError:
        return ModelError(
            f"{self.graph.name}: {node.operator.upper()} {node.name!r}", problem, allowed
        )

    def over_images(self, node: Node) -> None:
        """An error unless a mean is that of whole images."""
        shape = self.graph.spec(node.inputs[0]).shape
        over = sorted(int(a) % len(shape) for a in self.graph.constants[node.inputs[1]].reshape(-1))
        if len(shape) != 4 or over != [1, 2]:
            problem = f"is over axes {over} of {list(shape)}"
            raise self.error(node, problem, "rows and columns of images")


class NumberParts(Parts):
    """Of a file whose values are float32 numbers between operators."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        # An input that its file has NCHW is one here too, and what brings it to our order is nothing.
        self.turned = {
            n.inputs[0] for n in graph.nodes
            if n.operator == "transpose" and n.inputs[0] in graph.inputs and n.integers("perm") == _NHWC
        }  # fmt: skip

    @property
    def kept_nodes(self) -> Sequence[Node]:
        """All but a softmax at the very end, which changes no class."""
        nodes = self.graph.nodes
        return nodes[:-1] if nodes[-1].operator == "softmax" else nodes

    def described(self, name: str, tensor: str) -> onnx.ValueInfoProto:
        """An input or output ``name`` that is ``tensor`` of the graph."""
        shape = self.graph.spec(tensor).shape
        moved = len(shape) == 4 and tensor not in self.turned
        ordered = [shape[a] for a in NCHW] if moved else list(shape)
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ordered)

    def transposed(self, node: Node, source: str) -> None:
        if node.inputs[0] not in self.turned:
            problem = f"by {list(node.integers('perm'))}"
            raise self.error(node, problem, "of an input, to channels last")
        self.add("Identity", [source], node.outputs[0])

    def reshaped(self, node: Node, source: str) -> None:
        """Of an image of one pixel any order will do; others are brought to ours first."""
        output = node.outputs[0]
        before, after = (self.graph.spec(n).shape for n in (node.inputs[0], output))
        if len(before) == 4 and before[1:3] != (1, 1):
            source = self.add("Transpose", [source], f"{output}/ours", perm=list(_NHWC))
        target = self.constant(f"{output}/shape", np.array(after, np.int64))
        if len(after) == 4:
            made = self.add("Reshape", [source, target], f"{output}/image")
            self.add("Transpose", [made], output, perm=list(NCHW))
        else:
            self.add("Reshape", [source, target], output)

    def joined(self, node: Node, sources: list[str]) -> None:
        """A concatenation."""
        rank, axis = len(self.graph.spec(node.outputs[0]).shape), node.integer("axis")
        axis %= rank
        place = NCHW.index(axis) if rank == 4 else axis
        self.add("Concat", sources, node.outputs[0], axis=place)

    def padded(self, node: Node, source: str) -> None:
        """Zeros around an image."""
        amounts = self.graph.constants[node.inputs[1]].astype(np.int64)
        if amounts.shape[0] == 4:
            amounts = amounts[list(NCHW)]
        name = self.constant(f"{node.outputs[0]}/amounts", amounts.T.reshape(-1))
        self.add("Pad", [source, name], node.outputs[0])

    def convolved(self, node: Node) -> dict[str, Any]:
        """Attributes of a convolution."""
        known = dict(node.attrs)
        x, weights = (self.graph.spec(n).shape for n in node.inputs[:2])
        groups = x[3] if node.operator == "depthwise_conv_2d" else x[3] // weights[3]
        dilations = [int(known.get(f"dilation_{side}", 1)) for side in "hw"]  # type: ignore[arg-type]
        kernel = list(weights[1:3])
        return {"group": groups, "kernel_shape": kernel, "dilations": dilations, **moved(node)}


def saturates(levels: np.ndarray) -> bool:
    """Whether int8 ``levels`` are too large beside uint8 codes: on processors without VNNI, ONNX Runtime
    sums two products of uint8 by int8 in 16 bits, which products of uint8 by uint8 it does not."""
    return bool(np.abs(levels.astype(np.int16)).max() > _LARGEST_SIGNED)


def as_unsigned(levels: np.ndarray) -> np.ndarray:
    """int8 numbers as the uint8 ones with a zero point that is 128 more."""
    return (levels.astype(np.int16) + 128).astype(np.uint8)


def moved(node: Node) -> dict[str, Any]:
    """How a window moves over an image."""
    return {
        "pads": [node.integer(f"pad_{side}") for side in ("top", "left", "bottom", "right")],
        "strides": [node.integer("stride_h"), node.integer("stride_w")],
    }


def kernel_of(node: Node) -> list[int]:
    """Rows and columns of a pooling's window."""
    return [node.integer("kernel_h"), node.integer("kernel_w")]
