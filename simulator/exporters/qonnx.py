"""QONNX files: a float network between quantizers of any width, for weights and activations alike.

Activations have zero points of 0 but for the input, so that sums and means of them are quantized as QONNX's
own tools expect; a softmax at the very end, which no quantizer can follow, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from simulator.exporters import ActivationQuantizer
from simulator.exporters._onnx_parts import WEIGHT_ORDERS, NumberParts, kernel_of, moved
from simulator.graph import Graph, Node
from simulator.quantizers import Quantized

_DOMAIN = "qonnx.custom_op.general"
_OPSETS, _IR_VERSION = {"": 13, _DOMAIN: 1}, 8
_NUMBERS = "numbers"  # the input before its quantizer


class _Writer(NumberParts):
    def __init__(
        self, graph: Graph, layers: Mapping[str, tuple[Quantized, np.ndarray | None]],
        activations: Mapping[str, ActivationQuantizer],
    ) -> None:  # fmt: skip
        super().__init__(graph)
        self.layers, self.activations = layers, activations

    def write(self) -> bytes:
        (name,) = self.graph.inputs
        self.quantized(name, _NUMBERS, name)
        for node in self.kept_nodes:
            if node.operator not in _WRITERS:
                problem = "is not written to QONNX files"
                raise self.error(node, problem, ", ".join(sorted(_WRITERS)))
            _WRITERS[node.operator](self, node)
        last = self.kept_nodes[-1].outputs[0]
        ends = [self.described(_NUMBERS, name)], [self.described(last, last)]
        return self.model(*ends, _OPSETS, _IR_VERSION).SerializeToString()

    def quant(
        self, output: str, value: str, scales: np.ndarray, point: int, bits: int, signed: bool,
        narrow: bool,
    ) -> str:  # fmt: skip
        given = [
            value, self.constant(f"{output}/scale", scales.astype(np.float32)),
            self.constant(f"{output}/zero point", np.array(point, np.float32)),
            self.constant(f"{output}/bits", np.array(bits, np.float32)),
        ]  # fmt: skip
        return self.add(
            "Quant", given, output, domain=_DOMAIN, signed=int(signed), narrow=int(narrow),
            rounding_mode="ROUND",
        )  # fmt: skip

    def quantized(self, output: str, value: str, tensor: str) -> str:
        """``value`` as codes of ``tensor``."""
        q = self.activations[tensor]
        narrow = q.signed and q.zero_point == 0
        return self.quant(output, value, np.array(q.scale), q.zero_point, q.bits, q.signed, narrow)

    def made(self, node: Node, value: str) -> None:
        """The output of ``node``: ``value`` after its activation, quantized."""
        output = node.outputs[0]
        self.quantized(output, self.activated(node, value), output)


def write_qonnx(
    graph: Graph, layers: Mapping[str, tuple[Quantized, np.ndarray | None]],
    activations: Mapping[str, ActivationQuantizer],
) -> bytes:  # fmt: skip
    """Float ``graph``, norms folded, as the bytes of a QONNX file.

    ``layers``: symmetric uniform weights and the float32 bias, if any, of each product by name;
    ``activations``: the quantizers of the input and of every output.
    """
    return _Writer(graph, layers, activations).write()


def _product(w: _Writer, node: Node) -> None:
    found, bias = w.layers[node.name]
    output = node.outputs[0]
    real = found.real.astype(np.float32).transpose(WEIGHT_ORDERS[node.operator])
    shape = (-1, *([1] * (real.ndim - 1))) if found.scales.size > 1 else ()
    name, scales = f"{output}/weights", found.scales.reshape(shape)
    numbers = w.constant(f"{name}/numbers", real)
    given = [node.inputs[0], w.quant(name, numbers, scales, 0, found.coding.bits, True, False)]
    if bias is not None:
        given.append(w.constant(f"{output}/bias", bias.astype(np.float32)))
    if node.operator == "fully_connected":
        w.made(node, w.add("Gemm", given, f"{output}/sums", transB=1))
    else:
        w.made(node, w.add("Conv", given, f"{output}/sums", **w.convolved(node)))


def _add(w: _Writer, node: Node) -> None:
    w.made(node, w.add("Add", list(node.inputs), f"{node.outputs[0]}/sum"))


def _max_pool(w: _Writer, node: Node) -> None:
    given, kernel = [node.inputs[0]], kernel_of(node)
    w.add("MaxPool", given, node.outputs[0], kernel_shape=kernel, **moved(node))


def _average_pool(w: _Writer, node: Node) -> None:
    given, output = [node.inputs[0]], f"{node.outputs[0]}/mean"
    w.made(node, w.add("AveragePool", given, output, kernel_shape=kernel_of(node), **moved(node)))


def _mean(w: _Writer, node: Node) -> None:
    w.over_images(node)
    output = node.outputs[0]
    value = w.add("GlobalAveragePool", [node.inputs[0]], f"{output}/mean")
    if node.integer("keep_dims"):
        w.made(node, value)
        return
    kept = w.quantized(f"{output}/kept", value, output)
    target = w.constant(f"{output}/shape", np.array(w.graph.spec(output).shape, np.int64))
    w.add("Reshape", [kept, target], output)


_WRITERS: dict[str, Callable[[_Writer, Node], None]] = {
    "conv_2d": _product, "depthwise_conv_2d": _product, "fully_connected": _product, "add": _add,
    "max_pool_2d": _max_pool, "average_pool_2d": _average_pool, "mean": _mean,
    "reshape": lambda w, node: w.reshaped(node, node.inputs[0]),
    "concatenation": lambda w, node: w.joined(node, list(node.inputs)),
    "transpose": lambda w, node: w.transposed(node, node.inputs[0]),
}  # fmt: skip
