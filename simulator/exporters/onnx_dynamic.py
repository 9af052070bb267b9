"""ONNX files of dynamic quantization: every product finds the range of its own input as it runs.

``DynamicQuantizeLinear`` makes uint8 codes, their scale and their zero point; ``ConvInteger`` and
``MatMulInteger`` sum products of codes; what lies between two products is float32. This is the form that
ONNX Runtime's own dynamic quantization writes. A softmax at the very end is left out: its exponential is no
operator of a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from simulator.exporters._onnx_parts import (
    WEIGHT_ORDERS,
    NumberParts,
    as_unsigned,
    kernel_of,
    moved,
    saturates,
)
from simulator.graph import Graph, Node
from simulator.quantizers import Quantized

_OPSETS, _IR_VERSION = {"": 17}, 8


class _Writer(NumberParts):
    def __init__(
        self, graph: Graph, layers: Mapping[str, tuple[Quantized, np.ndarray | None]]
    ) -> None:
        super().__init__(graph)
        self.layers = layers
        self.codes: dict[str, tuple[str, str, str]] = {}  # tensor -> codes, scale, zero point
        self.known = set(graph.inputs)  # tensors that there are as float32

    def write(self) -> bytes:
        for node in self.kept_nodes:
            if node.operator not in _WRITERS:
                problem = "is not written with ranges made at run time"
                raise self.error(node, problem, ", ".join(sorted(_WRITERS)))
            _WRITERS[node.operator](self, node)
            if node.operator != "max_pool_2d":
                self.known.add(node.outputs[0])
        (name,), last = self.graph.inputs, self.real(self.kept_nodes[-1].outputs[0])
        ends = [self.described(name, name)], [self.described(last, last)]
        model = self.model(*ends, _OPSETS, _IR_VERSION)
        onnx.checker.check_model(model)
        return model.SerializeToString()

    def codes_of(self, name: str) -> tuple[str, str, str]:
        """A tensor's codes, scale and zero point, made once for all products that read it."""
        if name not in self.codes:
            made = f"{name}/codes", f"{name}/scale", f"{name}/zero point"
            self.nodes.append(helper.make_node("DynamicQuantizeLinear", [name], list(made)))
            self.codes[name] = made
        return self.codes[name]

    def real(self, name: str) -> str:
        """A tensor as float32, of which there may be no more than codes."""
        if name in self.known:
            return name
        codes, scale, point = self.codes[name]
        parts = [
            self.add("Cast", [part], f"{part} real", to=TensorProto.FLOAT)
            for part in (codes, point)
        ]
        above = self.add("Sub", parts, f"{name}/above zero")
        self.known.add(name)
        return self.add("Mul", [above, scale], name)

    def finished(self, node: Node, value: str) -> None:
        """The output of ``node``: ``value``, just made, after its activation, if it has one."""
        output = node.outputs[0]
        kind = str(dict(node.attrs).get("activation", "NONE"))
        if kind == "NONE":
            self.nodes[-1].output[0] = output
        elif kind == "RELU":
            self.add("Relu", [value], output)
        else:
            self.clipped(value, kind, output)


def write_dynamic(graph: Graph, layers: Mapping[str, tuple[Quantized, np.ndarray | None]]) -> bytes:
    """Float ``graph``, norms folded, as the bytes of an ``.onnx`` file.

    ``layers``: symmetric weights and the float32 bias, if any, of each product by name.
    """
    return _Writer(graph, layers).write()


def _product(w: _Writer, node: Node) -> None:
    found, bias = w.layers[node.name]
    output, dense = node.outputs[0], node.operator == "fully_connected"
    codes, scale, point = w.codes_of(node.inputs[0])
    weights, weight_point = _levels(w, node, found)
    given = [codes, weights, point, weight_point]
    shape = (1, -1) if dense else (1, -1, 1, 1)
    if dense:
        sums = w.add("MatMulInteger", given, f"{output}/sums")
    else:
        sums = w.add("ConvInteger", given, f"{output}/sums", **w.convolved(node))
    real = w.add("Cast", [sums], f"{output}/sums real", to=TensorProto.FLOAT)
    scales = found.scales.reshape(shape if found.scales.size > 1 else ())
    factor = w.constant(f"{output}/weights scale", scales.astype(np.float32))
    unit = w.add("Mul", [scale, factor], f"{output}/unit")
    value = w.add("Mul", [real, unit], f"{output}/products")
    if bias is not None:
        added = w.constant(f"{output}/bias", bias.astype(np.float32).reshape(shape))
        value = w.add("Add", [value, added], f"{output}/with bias")
    w.finished(node, value)


def _levels(w: _Writer, node: Node, found: Quantized) -> tuple[str, str]:
    """Weights in the file's order, and their zero point: large ones as uint8 with zero point 128."""
    order = WEIGHT_ORDERS[node.operator]
    if node.operator == "fully_connected":
        order = order[::-1]  # MatMulInteger has no transposed operand
    levels, point = found.levels.transpose(order), np.array(0, np.int8)
    if saturates(levels):
        levels, point = as_unsigned(levels), as_unsigned(point)
    name = f"{node.outputs[0]}/weights"
    return w.constant(name, levels), w.constant(f"{name} zero point", point)


def _add(w: _Writer, node: Node) -> None:
    given = [w.real(name) for name in node.inputs]
    w.finished(node, w.add("Add", given, f"{node.outputs[0]}/sum"))


def _max_pool(w: _Writer, node: Node) -> None:
    """Of codes, which are ordered as the numbers are; what is made of them has their scale."""
    codes, *stated = w.codes_of(node.inputs[0])
    output = node.outputs[0]
    kernel = kernel_of(node)
    made = w.add("MaxPool", [codes], f"{output}/codes", kernel_shape=kernel, **moved(node))
    w.codes[output] = made, stated[0], stated[1]


def _average_pool(w: _Writer, node: Node) -> None:
    shape, kernel = w.graph.spec(node.inputs[0]).shape, kernel_of(node)
    if kernel != list(shape[1:3]):
        raise w.error(node, f"averages windows of {kernel}", f"whole images, {list(shape[1:3])}")
    _mean_of_image(w, node)


def _mean(w: _Writer, node: Node) -> None:
    w.over_images(node)
    _mean_of_image(w, node)


def _mean_of_image(w: _Writer, node: Node) -> None:
    """By ReduceMean, whose order of summing is known; that of the runtime's GlobalAveragePool is not."""
    output = node.outputs[0]
    given = [w.real(node.inputs[0])]
    value = w.add("ReduceMean", given, f"{output}/mean", axes=[2, 3], keepdims=1)
    made = w.graph.spec(output).shape
    if len(made) == 4:
        w.finished(node, value)
        return
    target = w.constant(f"{output}/shape", np.array(made, np.int64))
    w.finished(node, w.add("Reshape", [value, target], f"{output}/row"))


_WRITERS: dict[str, Callable[[_Writer, Node], object]] = {
    "conv_2d": _product, "depthwise_conv_2d": _product, "fully_connected": _product, "add": _add,
    "max_pool_2d": _max_pool, "average_pool_2d": _average_pool, "mean": _mean,
    "reshape": lambda w, node: w.reshaped(node, w.real(node.inputs[0])),
    "transpose": lambda w, node: w.transposed(node, w.real(node.inputs[0])),
    "concatenation": lambda w, node: w.joined(node, [w.real(name) for name in node.inputs]),
    "pad": lambda w, node: w.padded(node, w.real(node.inputs[0])),
    "relu": lambda w, node: w.add("Relu", [w.real(node.inputs[0])], node.outputs[0]),
}  # fmt: skip
