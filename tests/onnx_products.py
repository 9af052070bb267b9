"""Products for ONNX Runtime, and the same products as graphs of ours (profile ``onnxruntime``).

Layouts differ: ONNX has images NCHW and weights OIHW, matrices of weights (k, n); ours are NHWC, OHWI and
(n, k). A layer here is said in ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from simulator.graph import Graph, GraphTensor, Node, attributes
from simulator.graph.ir import Attributes
from simulator.importers._check import check_graph
from simulator.tensor import QuantParams, TensorSpec


@dataclass(frozen=True)
class Coded:
    """A tensor's shape, type and quantization; ``values`` of a constant."""

    shape: tuple[int, ...]
    dtype: str
    scale: np.ndarray | np.float32
    zero_point: int
    values: np.ndarray | None = None
    axis: int = 0

    def tensor(self, name: str) -> GraphTensor:
        scales = tuple(float(s) for s in np.atleast_1d(self.scale))
        params = QuantParams(scales, (self.zero_point,) * len(scales), self.axis)
        return GraphTensor(name, TensorSpec(self.shape, self.dtype), params, name)

    def points(self) -> np.ndarray:
        """The zero point as ONNX has it: as many as scales."""
        return np.full(np.shape(self.scale), self.zero_point, TensorSpec((), self.dtype).container)


@dataclass(frozen=True)
class OnnxLayer:
    """``y`` None: the output takes the sums."""

    operator: str
    x: Coded
    w: Coded
    y: Coded | None
    y_shape: tuple[int, ...]
    bias: np.ndarray | None = None
    attrs: Attributes = ()

    def graph(self) -> Graph:
        """Our graph of one node; weights that are no constant are an input ``w``."""
        tensors = {"x": self.x.tensor("x"), "w": self.w.tensor("w")}
        tensors["y"] = GraphTensor("y", TensorSpec(self.y_shape, "i32"), None, "y")
        if self.y is not None:
            tensors["y"] = self.y.tensor("y")
        constants = {} if self.w.values is None else {"w": self.w.values}
        inputs: tuple[str, ...] = ("x", "w")
        if self.bias is not None:
            spec = TensorSpec(self.bias.shape, "i32")
            tensors["b"] = GraphTensor("b", spec, None, "b")
            constants["b"] = self.bias.astype(np.int32)
            inputs = ("x", "w", "b")
        node = Node("y", self.operator, inputs, ("y",), self.attrs)
        given = ("x",) if self.w.values is not None else ("x", "w")
        return check_graph(Graph("onnx", "onnxruntime", tensors, constants, (node,), given, ("y",)))

    def number(self, key: str) -> int:
        value = dict(self.attrs)[key]
        assert isinstance(value, int)
        return value


def convolution(activation: str = "NONE", **values: int) -> Attributes:
    """Attributes of a convolution; strides and dilations are 1 and pads 0 where nothing is said."""
    defaults = {
        "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "pad_top": 0,
        "pad_bottom": 0, "pad_left": 0, "pad_right": 0,
    }  # fmt: skip
    return attributes(activation=activation, **{**defaults, **values})


DENSE = attributes(activation="NONE", weights_format="DEFAULT", keep_dims=1)
MATRICES = attributes(adj_x=0, adj_y=0)


def _to_onnx(values: np.ndarray) -> np.ndarray:
    """NHWC to NCHW, OHWI to OIHW."""
    return values.transpose(0, 3, 1, 2)


class OnnxRunner:
    """One layer in ONNX Runtime."""

    def __init__(self, layer: OnnxLayer) -> None:
        self.onnx: Any = pytest.importorskip("onnx")
        self.runtime: Any = pytest.importorskip("onnxruntime")
        self.layer = layer
        self.image = layer.operator in ("conv_2d", "depthwise_conv_2d")
        helper = self.onnx.helper
        constants = self._constants()
        inputs = [self._value("x", layer.x)]
        if layer.w.values is None:
            inputs.append(self._value("w", layer.w))
        output = helper.make_tensor_value_info("y", self._type("i32"), None)
        if layer.y is not None:
            output = helper.make_tensor_value_info("y", self._type(layer.y.dtype), None)
        numbers = [self.onnx.numpy_helper.from_array(v, k) for k, v in constants.items()]
        node = self._node()
        graph = helper.make_graph([node], "layer", inputs, [output], numbers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        self.session = self.runtime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def _type(self, dtype: str) -> int:
        names = {"i8": "INT8", "u8": "UINT8", "i32": "INT32"}
        return getattr(self.onnx.TensorProto, names[dtype])

    def _value(self, name: str, coded: Coded) -> Any:
        return self.onnx.helper.make_tensor_value_info(name, self._type(coded.dtype), None)

    def _constants(self) -> dict[str, np.ndarray]:
        layer = self.layer
        found = {"xz": layer.x.points(), "wz": layer.w.points()}
        if layer.y is None:  # ConvInteger takes one zero point for all
            found["wz"] = found["wz"].reshape(-1)[:1].reshape(())
        if layer.w.values is not None:
            found["w"] = layer.w.values
            if layer.operator == "depthwise_conv_2d":
                found["w"] = layer.w.values.transpose(3, 0, 1, 2)  # 1HWO to O1HW
            elif self.image:
                found["w"] = _to_onnx(layer.w.values)
            elif layer.operator == "fully_connected":
                found["w"] = layer.w.values.T
        if layer.y is not None:
            found |= {"xs": layer.x.scale, "ws": layer.w.scale, "ys": layer.y.scale}
            found["yz"] = layer.y.points()
        if layer.bias is not None:
            found["b"] = layer.bias.astype(np.int32)
        return {k: np.ascontiguousarray(v).reshape(np.shape(v)) for k, v in found.items()}

    def _node(self) -> Any:
        layer, make = self.layer, self.onnx.helper.make_node
        given = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
        if layer.y is None:
            given = ["x", "w", "xz", "wz"]
        if not self.image:
            return make("QLinearMatMul" if layer.y else "MatMulInteger", given, ["y"])
        sides = ("top", "left", "bottom", "right")
        groups = layer.x.shape[3]
        if layer.operator == "conv_2d":
            groups //= layer.w.shape[3]
        return make(
            "QLinearConv" if layer.y else "ConvInteger",
            [*given, *(["b"] if layer.bias is not None else [])], ["y"], group=groups,
            strides=[layer.number(f"stride_{a}") for a in "hw"],
            dilations=[layer.number(f"dilation_{a}") for a in "hw"],
            pads=[layer.number(f"pad_{side}") for side in sides],
        )  # fmt: skip

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output of every sample, in our layout."""
        found = []
        for sample in range(inputs["x"].shape[0]):
            values = {name: v[sample] for name, v in inputs.items()}
            if self.image:
                values["x"] = _to_onnx(values["x"])
            (y,) = self.session.run(None, values)
            found.append(y.transpose(0, 2, 3, 1) if self.image else y)
        return np.stack(found)
