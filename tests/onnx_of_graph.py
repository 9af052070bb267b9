"""Graphs of one operator as an ``.onnx`` file, so that ONNX Runtime can be asked about them.

Products are the quantized operators that the runtime makes of a QDQ graph; the others stand between
DequantizeLinear and QuantizeLinear, and the runtime joins them as it does for its users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx_builder import MICROSOFT, OnnxBuilder

from simulator.graph import Graph, Node

_KINDS = {
    "i8": "INT8", "u8": "UINT8", "i16": "INT16", "i32": "INT32", "i64": "INT64", "f32": "FLOAT"
}  # fmt: skip
# Operators on images, whose tensors of four axes are NCHW in a file.
_IMAGES = (
    "conv_2d", "depthwise_conv_2d", "average_pool_2d", "max_pool_2d", "resize_bilinear",
    "resize_nearest_neighbor",
)  # fmt: skip
_NCHW, _NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
_BOUNDS = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
_NAMED = {
    "abs": "Abs", "add": "Add", "div": "Div", "elu": "Elu", "exp": "Exp", "hard_sigmoid": "HardSigmoid",
    "hard_swish": "HardSwish", "leaky_relu": "LeakyRelu", "logistic": "Sigmoid", "mul": "Mul",
    "neg": "Neg", "prelu": "PRelu", "sqrt": "Sqrt", "sub": "Sub", "tanh": "Tanh",
}  # fmt: skip
# Operators that the runtime makes one with the codes around them, and what it makes.
_JOINED = {"add": "QLinearAdd", "mul": "QLinearMul"}


def _unsigned(graph: Graph) -> bool:
    """Whether the runtime has int8 codes as uint8 ones, which is what the file says then."""
    return bool(dict(graph.nodes[0].attrs).get("unsigned", 0))


def in_file(graph: Graph, values: np.ndarray) -> np.ndarray:
    """Values of ours as the file has them."""
    if _unsigned(graph):
        values = (values ^ np.int8(-128)).view(np.uint8)
    return values.transpose(_NCHW) if graph.name in _IMAGES else values


def as_ours(graph: Graph, values: np.ndarray) -> np.ndarray:
    """Values of the file as we have them."""
    if _unsigned(graph):
        values = (values ^ np.uint8(128)).view(np.int8)
    return values.transpose(_NHWC) if graph.name in _IMAGES else values


def onnx_of_all(graphs: Mapping[str, Graph]) -> bytes:
    """One file of several graphs side by side; each one's names stand behind its key."""
    builder = OnnxBuilder()
    for prefix, graph in graphs.items():
        _Part(builder, graph, prefix).write()
    return builder.write()


class _Part:
    """One graph being written into a file."""

    def __init__(self, builder: OnnxBuilder, graph: Graph, prefix: str) -> None:
        self.b, self.graph, self.prefix = builder, graph, prefix
        self.node: Node = graph.nodes[0]

    def write(self) -> None:
        for name in self.graph.inputs:
            shape = self.graph.spec(name).shape
            order = _NCHW if self.graph.name in _IMAGES else range(len(shape))
            self.b.input(self.prefix + name, [shape[i] for i in order], self.kind(name))
        _WRITERS.get(self.node.operator, _Part.plain)(self)
        for name in self.graph.outputs:
            self.b.output(self.prefix + name, self.kind(name))

    def kind(self, name: str) -> str:
        return "UINT8" if _unsigned(self.graph) else _KINDS[self.graph.spec(name).dtype]

    def constant(self, name: str, values: Any, kind: Any = None) -> str:
        return self.b.constant(self.prefix + name, values, kind)

    def add(
        self, operator: str, inputs: list[str], output: str, domain: str = "", **attrs: Any
    ) -> str:
        return self.b.node(operator, inputs, self.prefix + output, domain, **attrs)

    def stated(self, name: str) -> list[str]:
        """The scale and zero point of a tensor."""
        q, spec = self.graph.quantization(name), self.graph.spec(name)
        scales = np.array(q.scales if q.per_channel else q.scale, np.float32)
        point, container = q.zero_point, spec.container
        if _unsigned(self.graph):
            point, container = point + 128, np.dtype(np.uint8)
        points = np.broadcast_to(np.array(point, container), scales.shape)
        return self.b.scale(self.prefix + name, scales, points, container)

    def source(self, name: str, order: tuple[int, ...] | None = None) -> str:
        """A tensor as it stands; of constants, in ``order``."""
        values = self.graph.constants.get(name)
        if values is not None:
            return self.constant(name, values if order is None else values.transpose(order))
        return self.prefix + name

    def real(self, name: str) -> str:
        """A tensor as numbers: dequantized, where it is codes."""
        source = self.source(name)
        if self.graph.tensors[name].quantization is None:
            return source
        return self.add("DequantizeLinear", [source, *self.stated(name)], f"{name}_dq")

    def made(self, numbers: str, name: str = "y") -> None:
        """The output: ``numbers``, quantized where it is codes."""
        if self.graph.tensors[name].quantization is None:
            self.add("Identity", [numbers], name)
        else:
            self.add("QuantizeLinear", [numbers, *self.stated(name)], name)

    def held(self, numbers: str, activation: str) -> str:
        """``numbers`` within the bounds of an activation."""
        if activation not in _BOUNDS:
            return numbers
        low, high = _BOUNDS[activation]
        if high is None:
            return self.add("Relu", [numbers], "held")
        kind = np.dtype(np.float32)
        if self.graph.tensors[self.node.outputs[0]].quantization is None:
            kind = self.graph.spec(self.node.outputs[0]).container
        bounds = [self.constant("low", low, kind), self.constant("high", high, kind)]
        return self.add("Clip", [numbers, *bounds], "held")

    def finish(self, numbers: str) -> None:
        """The output of ``numbers``: codes first, then the activation, which would keep the runtime from
        joining the operator."""
        activation = str(dict(self.node.attrs).get("activation", "NONE"))
        if activation in _BOUNDS and self.graph.tensors["y"].quantization is not None:
            codes = self.add("QuantizeLinear", [numbers, *self.stated("y")], "unheld")
            self.finish_codes(codes)
            return
        self.made(self.held(numbers, activation))

    def finish_codes(self, codes: str) -> None:
        """The output of codes made by a quantized operator."""
        activation = str(dict(self.node.attrs).get("activation", "NONE"))
        if activation not in _BOUNDS:
            self.b.nodes[-1].output[0] = f"{self.prefix}y"
            return
        numbers = self.add("DequantizeLinear", [codes, *self.stated("y")], "unheld_dq")
        self.made(self.held(numbers, activation))

    def plain(self) -> None:
        """Operators that a file has under another name, with attributes of the same names."""
        attrs: dict[str, Any] = {k: v for k, v in self.node.attrs if k in ("alpha", "beta")}
        if self.held_after() and self.node.operator in _JOINED:
            self.joined()
            return
        inputs = [self.real(name) for name in self.node.inputs]
        self.finish(self.add(_NAMED[self.node.operator], inputs, "made", **attrs))

    def activation(self) -> None:
        self.made(self.held(self.real("x"), self.node.operator.upper()))

    def clip(self) -> None:
        """Between the numbers that its bounds stand for."""
        q = self.graph.quantization("x")
        steps = [self.node.integer(key) - q.zero_point for key in ("clamp_min", "clamp_max")]
        bounds = [
            self.constant(f"bound{i}", np.float32(n) * np.float32(q.scale))
            for i, n in enumerate(steps)
        ]
        self.made(self.add("Clip", [self.real("x"), *bounds], "made"))

    def quantize(self) -> None:
        self.made(self.real("x"))

    def dynamic_quantize(self) -> None:
        outputs = [self.prefix + name for name in self.node.outputs]
        self.b.node("DynamicQuantizeLinear", [self.source("x")], outputs)

    def softmax(self) -> None:
        assert dict(self.node.attrs)["beta"] == 1.0
        self.made(self.add("Softmax", [self.real("x")], "made", axis=-1))

    def mean(self) -> None:
        """Of codes the operator that the runtime makes of GlobalAveragePool, on NCHW."""
        if self.graph.tensors["x"].quantization is not None:
            turned = self.add("Transpose", [self.source("x")], "turned", perm=_NCHW)
            inputs = [turned, *self.stated("x"), *self.stated("y")]
            made = self.add("QLinearGlobalAveragePool", inputs, "made", MICROSOFT, channels_last=0)
            shape = self.constant("shape", np.array(self.graph.spec("y").shape, np.int64))
            self.add("Reshape", [made, shape], "y")
            return
        axes = self.constant("axes", self.graph.constants["axes"].astype(np.int64))
        keep = self.node.integer("keep_dims")
        self.made(self.add("ReduceMean", [self.real("x"), axes], "made", keepdims=keep))

    def window(self) -> dict[str, Any]:
        known = dict(self.node.attrs)
        found = {
            "pads": [known[f"pad_{side}"] for side in ("top", "left", "bottom", "right")],
            "strides": [known["stride_h"], known["stride_w"]],
        }
        if "dilation_h" in known:
            found["dilations"] = [known["dilation_h"], known["dilation_w"]]
        return found

    def held_after(self) -> bool:
        """Whether an activation follows 8-bit codes: the runtime joins nothing then."""
        activation = str(dict(self.node.attrs).get("activation", "NONE"))
        return activation in _BOUNDS and self.graph.spec("y").dtype in ("i8", "u8")

    def joined(self) -> None:
        """The quantized operator itself."""
        operands = [part for n in self.node.inputs for part in (self.source(n), *self.stated(n))]
        operator = _JOINED[self.node.operator]
        inputs = [*operands, *self.stated("y")]
        self.finish_codes(self.add(operator, inputs, "made", MICROSOFT))

    def pool(self) -> None:
        kernel = [self.node.integer("kernel_h"), self.node.integer("kernel_w")]
        attrs: dict[str, Any] = {"kernel_shape": kernel, **self.window()}
        operator = "MaxPool"
        if self.node.operator == "average_pool_2d":
            operator, counted = "AveragePool", dict(self.node.attrs).get("count_include_pad", 0)
            attrs["count_include_pad"] = counted
        self.finish(self.add(operator, [self.real("x")], "made", **attrs))

    def resize(self) -> None:
        known = dict(self.node.attrs)
        x, y = (self.graph.spec(name).shape for name in ("x", "y"))
        sizes = self.constant("sizes", np.array([x[0], x[3], y[1], y[2]], np.int64))
        places = "align_corners" if known["align_corners"] else "asymmetric"
        places = "half_pixel" if known["half_pixel_centers"] else places
        attrs: dict[str, Any] = {"coordinate_transformation_mode": places, "mode": "linear"}
        if self.node.operator == "resize_nearest_neighbor":
            attrs |= {
                "mode": "nearest",
                "nearest_mode": known.get("nearest_mode", "round_prefer_floor"),
            }
        self.made(self.add("Resize", [self.real("x"), "", "", sizes], "made", **attrs))

    def convolution(self) -> None:
        depthwise = self.node.operator == "depthwise_conv_2d"
        x, w = (self.graph.spec(name).shape for name in self.node.inputs[:2])
        weights = self.source("w", (3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        bias = [self.source("b")] if "b" in self.graph.constants else []
        inputs = [
            self.source("x"), *self.stated("x"), weights, *self.stated("w"), *self.stated("y"), *bias
        ]  # fmt: skip
        groups = x[3] if depthwise else x[3] // w[3]
        self.finish_codes(
            self.add("QLinearConv", inputs, "made", group=groups, **self.window())
        )  # fmt: skip

    def dense(self) -> None:
        bias = self.source("b") if "b" in self.graph.constants else ""
        inputs = [
            self.source("x"), *self.stated("x"), self.source("w"), *self.stated("w"), bias,
            *self.stated("y"),
        ]  # fmt: skip
        self.finish_codes(self.add("QGemm", inputs, "made", MICROSOFT, transB=1))

    def matrices(self) -> None:
        names = []
        for name, key in zip("xw", ("adj_x", "adj_y"), strict=True):
            rank = len(self.graph.spec(name).shape)
            turned = [*range(rank - 2), rank - 1, rank - 2]
            source = self.source(name)
            if self.node.integer(key):
                source = self.add("Transpose", [source], f"{name}_turned", perm=turned)
            names.append(source)
        inputs = [names[0], *self.stated("x"), names[1], *self.stated("w"), *self.stated("y")]
        self.finish_codes(self.add("QLinearMatMul", inputs, "made"))


_WRITERS: dict[str, Callable[[_Part], None]] = {
    "average_pool_2d": _Part.pool, "batch_matmul": _Part.matrices, "clip": _Part.clip,
    "conv_2d": _Part.convolution, "depthwise_conv_2d": _Part.convolution,
    "dequantize": _Part.quantize, "dynamic_quantize": _Part.dynamic_quantize,
    "fully_connected": _Part.dense, "mean": _Part.mean, "quantize": _Part.quantize,
    **dict.fromkeys(("relu", "relu6", "relu_n1_to_1"), _Part.activation),
    **dict.fromkeys(("resize_bilinear", "resize_nearest_neighbor"), _Part.resize),
    "softmax": _Part.softmax,
}  # fmt: skip
