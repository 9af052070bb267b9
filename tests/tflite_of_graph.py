"""A graph of one operator as a ``.tflite`` file, so that a runtime can be asked about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite
from tflite_builder import Op, Tensor, build_model

from simulator.errors import ModelError
from simulator.graph import Graph
from simulator.importers.tflite import read_tflite

_OPTIONS = {
    "stride_h": "StrideH", "stride_w": "StrideW", "dilation_h": "DilationHFactor",
    "dilation_w": "DilationWFactor", "kernel_h": "FilterHeight", "kernel_w": "FilterWidth",
    "beta": "Beta", "block_size": "BlockSize", "squeeze_dims": "SqueezeDims",
    "pot_scale_int16": "PotScaleInt16", "alpha": "Alpha", "approximate": "Approximate",
}  # fmt: skip
# Attributes of ours that a file says in inputs, in their order.
_INPUTS = {
    "transpose": ("perm",), "slice": ("begin", "size"), "strided_slice": ("begin", "end", "strides"),
}  # fmt: skip
_UNSAID = {"pad_top", "pad_bottom", "pad_left", "pad_right", "weights_format"}


def _options(graph: Graph, same: bool) -> dict[str, Any]:
    (node,) = graph.nodes
    found: dict[str, Any] = {}
    for key, value in node.attrs:
        if key == "activation":
            found["FusedActivationFunction"] = getattr(tflite.ActivationFunctionType, str(value))
        elif key == "shape":
            found["NewShape"] = list(node.integers("shape"))
        elif key == "mode":
            found["Mode"] = getattr(tflite.MirrorPadMode, str(value))
        elif key == "keep_dims":
            field = "KeepNumDims" if node.operator == "fully_connected" else "KeepDims"
            found[field] = bool(value)
        elif key not in (*_UNSAID, *_INPUTS.get(node.operator, ())):
            found[_OPTIONS[key]] = value
    if "pad_top" in dict(node.attrs):
        found["Padding"] = int(not same)
    if node.operator == "depthwise_conv_2d":
        x, w = (graph.spec(n).shape for n in node.inputs[:2])
        found["DepthMultiplier"] = w[3] // x[3]
    return found


def _said_in(graph: Graph, key: str) -> tuple[int, ...]:
    values = graph.nodes[0].integers(key)
    return tuple(max(v, 0) for v in values) if key == "end" else values


def _content(graph: Graph, same: bool) -> bytes:
    (node,) = graph.nodes
    tensors = []
    for name, tensor in graph.tensors.items():
        q = tensor.quantization
        scale = None if q is None else q.scales if q.per_channel else q.scale
        tensors.append(Tensor(
            name, tensor.spec.shape, tensor.spec.dtype, scale, q.zero_point if q else 0,
            graph.constants.get(name), q.axis if q else 0,
        ))  # fmt: skip
    said = []
    for key in _INPUTS.get(node.operator, ()):
        values = np.array(_said_in(graph, key), np.int32)
        tensors.append(Tensor(key, values.shape, "i32", data=values))
        said.append(key)
    options = _options(graph, same)
    if node.operator == "strided_slice":
        # A file has no end before the first element: the mask says "to the end" instead.
        options["EndMask"] = sum(1 << d for d, e in enumerate(node.integers("end")) if e < 0)
    op = Op(node.operator.upper(), [*node.inputs, *said], node.outputs[0], options)
    return build_model(tensors, [op], graph.inputs, graph.outputs)


def _said(graph: Graph) -> tuple[Any, ...]:
    """What a graph says apart from the numbers of its tensors."""
    tensors = {name: (t.spec, t.quantization) for name, t in graph.tensors.items()}
    constants = {name: values.tolist() for name, values in graph.constants.items()}
    return graph.nodes, tensors, constants, graph.inputs, graph.outputs


def tflite_of(graph: Graph) -> bytes:
    """A file that reads back as ``graph``; AssertionError where none does."""
    for same in (True, False):
        content = _content(graph, same)
        try:
            if _said(read_tflite(content, graph.name)) == _said(graph):
                return content
        except ModelError:  # that padding gives another shape
            continue
    raise AssertionError(f"no file says {graph}")
