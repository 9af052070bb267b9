"""Small ``.onnx`` models, written node by node; nothing is checked, so that they may be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"


@dataclass
class OnnxBuilder:
    """A model in the making. Methods that add something return its name."""

    opset: int = 21
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def input(self, name: str, shape: Sequence[int | str | None], kind: str = "FLOAT") -> str:
        number = getattr(TensorProto, kind)
        self.inputs.append(helper.make_tensor_value_info(name, number, list(shape)))
        return name

    def output(self, name: str, kind: str = "FLOAT") -> str:
        number = getattr(TensorProto, kind)
        self.outputs.append(helper.make_tensor_value_info(name, number, None))
        return name

    def constant(self, name: str, values: Any, kind: Any = None) -> str:
        """An initializer; ``kind`` a numpy type, or INT4 or UINT4."""
        if isinstance(kind, str):
            flat = np.ravel(values).tolist()
            shape = np.shape(values)
            self.constants.append(helper.make_tensor(name, getattr(TensorProto, kind), shape, flat))
        else:
            self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def node(
        self, operator: str, inputs: Sequence[str], output: str | Sequence[str], domain: str = "",
        **attrs: Any,
    ) -> str:  # fmt: skip
        outputs = [output] if isinstance(output, str) else list(output)
        made = helper.make_node(operator, list(inputs), outputs, domain=domain, **attrs)
        self.nodes.append(made)
        return outputs[0]

    def scale(self, name: str, scale: Any, zero_point: Any, kind: Any) -> list[str]:
        """``name_scale`` and ``name_zero_point``, which a quantized operator names."""
        known = {c.name for c in self.constants}
        if f"{name}_scale" not in known:
            self.constant(f"{name}_scale", scale, np.float32)
            self.constant(f"{name}_zero_point", zero_point, kind)
        return [f"{name}_scale", f"{name}_zero_point"]

    def quantize(self, name: str, scale: float, zero_point: int, kind: Any = np.uint8) -> str:
        """QuantizeLinear of ``name`` to ``name_q``."""
        stated = self.scale(name, scale, zero_point, kind)
        return self.node("QuantizeLinear", [name, *stated], f"{name}_q")

    def qdq(self, name: str, scale: float, zero_point: int, kind: Any = np.uint8) -> str:
        """QuantizeLinear and DequantizeLinear of ``name``: ``name_q`` and ``name_dq``."""
        codes = self.quantize(name, scale, zero_point, kind)
        stated = [f"{name}_scale", f"{name}_zero_point"]
        return self.node("DequantizeLinear", [codes, *stated], f"{name}_dq")

    def weights(
        self, name: str, codes: np.ndarray, scale: Any, zero_point: Any = 0, axis: int = 0
    ) -> str:
        """DequantizeLinear of constant codes to ``name_dq``."""
        self.constant(f"{name}_q", codes)
        points = np.broadcast_to(np.asarray(zero_point, codes.dtype), np.shape(scale))
        stated = self.scale(name, scale, points, codes.dtype)
        inputs = [f"{name}_q", *stated]
        return self.node("DequantizeLinear", inputs, f"{name}_dq", axis=axis)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "graph", self.inputs, self.outputs, self.constants)
        domains = {n.domain for n in self.nodes} - {""}
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(d, 1) for d in sorted(domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def write(self) -> bytes:
        return self.model().SerializeToString()
