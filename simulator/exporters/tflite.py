"""TensorFlow Lite files, through the ``tflite`` schema package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tflite

from simulator.errors import ModelError
from simulator.exporters._tflite_file import ModelWriter, Quantization
from simulator.graph import Graph, Node
from simulator.graph.passes import same_padding
from simulator.tensor import QuantParams

_SAME, _VALID = tflite.Padding.SAME, tflite.Padding.VALID


class _Form(NamedTuple):
    """Options table of an operator, and the first version of it that knows int8 and scales of channels."""

    version: int
    options: str
    fields: Callable[[_Writer, Node], dict[str, Any]]


class _Writer:
    """One graph being written; lives for one call of :func:`write_tflite`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.file = ModelWriter("main", graph.name)
        self.index: dict[str, int] = {}

    def write(self) -> bytes:
        for name in self.graph.inputs:
            self.index[name] = self._activation(name)
        for node in self.graph.nodes:
            self._node(node)
        places = [
            [self.index[n] for n in names] for names in (self.graph.inputs, self.graph.outputs)
        ]
        return self.file.to_bytes(*places)

    def error(self, node: Node, problem: str, allowed: str) -> ModelError:
        return ModelError(
            f"{self.graph.name}: {node.operator.upper()} {node.name!r}", problem, allowed
        )

    def _activation(self, name: str) -> int:
        spec, q = self.graph.spec(name), self.graph.quantization(name)
        if spec.dtype != "i8":
            raise ModelError(f"{self.graph.name}: {name!r}", f"is {spec}", "int8 activations")
        return self.file.add_activation(name, spec.shape, _stated(q))

    def _constant(self, name: str) -> int:
        tensor, values = self.graph.tensors[name], self.graph.constants[name]
        stated = _stated(tensor.quantization) if tensor.quantization else None
        coding = tensor.coding
        if coding is None:
            return self.file.add_constant(name, values, stated)
        assert stated is not None
        if coding.table or coding.group or coding.bits != 4:
            form = "from a table" if coding.table else f"in {coding.bits} bits"
            form = "in groups" if coding.group else form
            raise ModelError(
                f"{self.graph.name}: {name!r}", f"weights {form} are nothing a .tflite file can say",
                "8 or 4 bits, or an .onnx file",
            )  # fmt: skip
        return self.file.add_nibbles(name, values, stated)

    def _node(self, node: Node) -> None:
        if node.operator not in _FORMS:
            raise self.error(node, "is not written to .tflite files", ", ".join(sorted(_FORMS)))
        form = _FORMS[node.operator]
        fields = form.fields(self, node)
        inputs = list(node.inputs)
        if fields.get("Padding", _SAME) is None:
            inputs[0] = self._padded(node)
            fields["Padding"] = _VALID
        for name in inputs:
            if name not in self.index:
                self.index[name] = self._constant(name)
        places = [self.index[name] for name in inputs]
        if node.operator == "reshape":
            shape = np.array(self.graph.spec(node.outputs[0]).shape, np.int32)
            places.append(self.file.add_constant(f"{node.outputs[0]}/shape", shape))
        if node.operator == "transpose":
            perm = np.array(node.integers("perm"), np.int32)
            places.append(self.file.add_constant(f"{node.outputs[0]}/perm", perm))
        output = node.outputs[0]
        self.index[output] = self._activation(output)
        code = getattr(tflite.BuiltinOperator, node.operator.upper())
        self.file.add_operator(
            code, form.version, places, [self.index[output]], form.options, fields
        )

    def _padded(self, node: Node) -> str:
        """The name of the padded input of a convolution whose padding is neither SAME nor VALID."""
        source, name = node.inputs[0], f"{node.outputs[0]}/padded"
        pads = [node.integer(f"pad_{side}") for side in ("top", "bottom", "left", "right")]
        n, h, w, c = self.graph.spec(source).shape
        amounts = np.array([[0, 0], pads[:2], pads[2:], [0, 0]], np.int32)
        shape = (n, h + sum(pads[:2]), w + sum(pads[2:]), c)
        index = self.file.add_activation(name, shape, _stated(self.graph.quantization(source)))
        given = [self.index[source], self.file.add_constant(f"{name}/amounts", amounts)]
        self.file.add_operator(tflite.BuiltinOperator.PAD, 2, given, [index], "PadOptions", {})
        self.index[name] = index
        return name


def write_tflite(graph: Graph) -> bytes:
    """``graph``, of int8 activations, as the bytes of a ``.tflite`` file."""
    return _Writer(graph).write()


def _stated(q: QuantParams) -> Quantization:
    return Quantization(np.array(q.scales, np.float32), np.array(q.zero_points, np.int64), q.axis)


def _activation(node: Node) -> dict[str, Any]:
    known = str(dict(node.attrs).get("activation", "NONE"))
    return {"FusedActivationFunction": getattr(tflite.ActivationFunctionType, known)}


def _padding(w: _Writer, node: Node, kernel: tuple[int, ...]) -> dict[str, Any]:
    """Strides and padding; padding None where a file has no word for it."""
    known = dict(node.attrs)
    size = w.graph.spec(node.inputs[0]).shape[1:3]
    given = [
        tuple(node.integer(f"pad_{s}") for s in pair)
        for pair in (("top", "bottom"), ("left", "right"))
    ]
    steps = node.integer("stride_h"), node.integer("stride_w")
    apart = [node.integer(f"dilation_{s}") if f"dilation_{s}" in known else 1 for s in "hw"]
    same = [same_padding(*four) for four in zip(size, kernel, steps, apart, strict=True)]
    found = None
    if not any(any(p) for p in given):
        found = _VALID
    elif given == same:
        found = _SAME
    return {"Padding": found, "StrideH": steps[0], "StrideW": steps[1]}


def _convolution(w: _Writer, node: Node) -> dict[str, Any]:
    shape = w.graph.spec(node.inputs[1]).shape
    fields = {**_padding(w, node, shape[1:3]), **_activation(node)}
    fields |= {f"Dilation{side}Factor": node.integer(f"dilation_{side.lower()}") for side in "HW"}
    if node.operator == "depthwise_conv_2d":
        fields["DepthMultiplier"] = shape[3] // w.graph.spec(node.inputs[0]).shape[3]
    return fields


def _dense(w: _Writer, node: Node) -> dict[str, Any]:
    return {**_activation(node), "KeepNumDims": bool(node.integer("keep_dims"))}


def _pool(w: _Writer, node: Node) -> dict[str, Any]:
    kernel = node.integer("kernel_h"), node.integer("kernel_w")
    fields = {**_padding(w, node, kernel), **_activation(node)}
    if fields["Padding"] is None:
        raise w.error(node, "has padding of its own", "SAME or VALID padding in a .tflite file")
    return {**fields, "FilterHeight": kernel[0], "FilterWidth": kernel[1]}


def _mean(w: _Writer, node: Node) -> dict[str, Any]:
    return {"KeepDims": bool(node.integer("keep_dims"))}


def _concatenation(w: _Writer, node: Node) -> dict[str, Any]:
    return {**_activation(node), "Axis": node.integer("axis")}


def _softmax(w: _Writer, node: Node) -> dict[str, Any]:
    return {"Beta": node.real("beta")}


def _reshape(w: _Writer, node: Node) -> dict[str, Any]:
    return {"NewShape": list(w.graph.spec(node.outputs[0]).shape)}


def _binary(w: _Writer, node: Node) -> dict[str, Any]:
    return _activation(node)


def _nothing(w: _Writer, node: Node) -> dict[str, Any]:
    return {}


_FORMS = {
    "conv_2d": _Form(3, "Conv2DOptions", _convolution),
    "depthwise_conv_2d": _Form(3, "DepthwiseConv2DOptions", _convolution),
    "fully_connected": _Form(4, "FullyConnectedOptions", _dense),
    "average_pool_2d": _Form(2, "Pool2DOptions", _pool),
    "max_pool_2d": _Form(2, "Pool2DOptions", _pool),
    "mean": _Form(2, "ReducerOptions", _mean),
    "add": _Form(2, "AddOptions", _binary),
    "sub": _Form(2, "SubOptions", _binary),
    "mul": _Form(2, "MulOptions", _binary),
    "reshape": _Form(1, "ReshapeOptions", _reshape),
    "transpose": _Form(2, "TransposeOptions", _nothing),
    "softmax": _Form(2, "SoftmaxOptions", _softmax),
    "concatenation": _Form(2, "ConcatenationOptions", _concatenation),
    "pad": _Form(2, "PadOptions", _nothing),
    "relu": _Form(2, "", _nothing),
    "relu6": _Form(2, "", _nothing),
    "relu_n1_to_1": _Form(1, "", _nothing),
    "logistic": _Form(2, "", _nothing),
    "tanh": _Form(2, "", _nothing),
    "hard_swish": _Form(1, "HardSwishOptions", _nothing),
}  # fmt: skip
