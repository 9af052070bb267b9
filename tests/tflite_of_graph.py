"""Graphs of one operator as a ``.tflite`` file, so that a runtime can be asked about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tflite
from layers_reductions import flexbuffer
from tflite_builder import Op, Tensor, build_model

from simulator.errors import ModelError
from simulator.graph import Graph
from simulator.importers.tflite import read_tflite

_OPTIONS = {
    "stride_h": "StrideH", "stride_w": "StrideW", "dilation_h": "DilationHFactor",
    "dilation_w": "DilationWFactor", "kernel_h": "FilterHeight", "kernel_w": "FilterWidth",
    "beta": "Beta", "block_size": "BlockSize", "squeeze_dims": "SqueezeDims",
    "pot_scale_int16": "PotScaleInt16", "alpha": "Alpha", "approximate": "Approximate",
    "adj_x": "AdjX", "adj_y": "AdjY", "align_corners": "AlignCorners",
    "half_pixel_centers": "HalfPixelCenters", "batch_dims": "BatchDims", "rank": "Rank", "num": "Num",
    "cell_clip": "CellClip", "proj_clip": "ProjClip", "time_major": "TimeMajor",
}  # fmt: skip
# Attributes of ours that a file says in inputs, in their order.
_INPUTS = {
    "transpose": ("perm",), "slice": ("begin", "size"), "strided_slice": ("begin", "end", "strides"),
    "split": ("sizes", "axis"),
}  # fmt: skip
_NAMES = {"split": "SPLIT_V", "reinterpret": "RESHAPE"}
_UNSAID = {
    "pad_top", "pad_bottom", "pad_left", "pad_right", "weights_format", "diagonal",
    "intermediate_scales", "intermediate_zero_points",
}  # fmt: skip
_DETECTION = "detection_postprocess"


class _File(NamedTuple):
    """What one graph adds to a file."""

    tensors: list[Tensor]
    op: Op


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
        elif key == "axis" and node.operator != "split":
            found["Axis"] = value
        elif key == "bias_type":
            found["QuantizedBiasType"] = getattr(tflite.TensorType, str(value))
        elif key == "same":
            found["Padding"] = int(not value)
        elif key not in (*_UNSAID, *_INPUTS.get(node.operator, ())):
            found[_OPTIONS[key]] = value
    if "pad_top" in dict(node.attrs):
        found["Padding"] = int(not same)
    if node.operator == "depthwise_conv_2d":
        x, w = (graph.spec(n).shape for n in node.inputs[:2])
        found["DepthMultiplier"] = w[3] // x[3]
    if node.operator == "split":
        found["NumSplits"] = len(node.outputs)
    if node.operator == "pack":
        found["ValuesCount"] = len(node.inputs)
    if node.operator in ("arg_max", "arg_min"):
        wide = graph.spec(node.outputs[0]).dtype == "i64"
        found["OutputType"] = tflite.TensorType.INT64 if wide else tflite.TensorType.INT32
    return found


def _said_in(graph: Graph, key: str) -> np.ndarray:
    node = graph.nodes[0]
    if (node.operator, key) == ("split", "axis"):
        return np.array(node.integer("axis"), np.int32)
    values = node.integers(key)
    return np.array([max(v, 0) for v in values] if key == "end" else values, np.int32)


def _intermediates(graph: Graph, prefix: str) -> list[Tensor]:
    """Tensors that only carry the quantization of what lies between an LSTM's gates."""
    known = dict(graph.nodes[0].attrs)
    scales = known.get("intermediate_scales", ())
    assert isinstance(scales, tuple)
    points = graph.nodes[0].integers("intermediate_zero_points") if scales else ()
    return [
        Tensor(f"{prefix}between{i}", (1,), "i16" if i < 4 else "i8", s, z)
        for i, (s, z) in enumerate(zip(scales, points, strict=True))
    ]


def _custom(graph: Graph) -> bytes:
    values = dict(graph.nodes[0].attrs)
    options: dict[str, Any] = {
        ("use_regular_nms" if k == "regular" else k): v for k, v in values.items()
    }
    return flexbuffer({**options, "use_regular_nms": bool(values["regular"])})


def _part(graph: Graph, same: bool, prefix: str = "") -> _File:
    """Tensors and operator of ``graph``, all names behind ``prefix``."""
    (node,) = graph.nodes
    following, states = {s.following for s in graph.states}, graph.state_names
    tensors = []
    for name, tensor in graph.tensors.items():
        if name in following:
            continue
        q = tensor.quantization
        scale = None if q is None else q.scales if q.per_channel else q.scale
        tensors.append(Tensor(
            prefix + name, tensor.spec.shape, tensor.spec.dtype, scale, q.zero_point if q else 0,
            None if name in states else graph.constants.get(name), q.axis if q else 0, name in states,
        ))  # fmt: skip
    said = []
    for key in _INPUTS.get(node.operator, ()):
        values = _said_in(graph, key)
        tensors.append(Tensor(prefix + key, values.shape, "i32", data=values))
        said.append(key)
    between = _intermediates(graph, prefix)
    options = {} if node.operator == _DETECTION else _options(graph, same)
    if node.operator == "strided_slice":
        # A file has no end before the first element: the mask says "to the end" instead.
        options["EndMask"] = sum(1 << d for d, e in enumerate(node.integers("end")) if e < 0)
    short = graph.spec(node.outputs[0]).dtype == "i16"
    newer = short and node.operator in ("softmax", "average_pool_2d", "max_pool_2d")
    outputs = [prefix + name for name in node.outputs if name not in following]
    kind = _NAMES.get(node.operator, node.operator.upper())
    custom = _custom(graph) if node.operator == _DETECTION else b""
    op = Op(
        "CUSTOM TFLite_Detection_PostProcess" if custom else kind,
        [prefix + name if name else "" for name in (*node.inputs, *said)], outputs[0], options,
        tuple(t.name for t in between), 3 if newer else None, outputs[1:], custom,
    )  # fmt: skip
    return _File([*tensors, *between], op)


def _content(graph: Graph, same: bool) -> bytes:
    part = _part(graph, same)
    return build_model(part.tensors, [part.op], graph.inputs, graph.outputs)


def _said(graph: Graph) -> tuple[Any, ...]:
    """What a graph says apart from the numbers of its tensors."""
    tensors = {name: (t.spec, t.quantization) for name, t in graph.tensors.items()}
    constants = {name: repr(values.tolist()) for name, values in graph.constants.items()}  # NaN too
    return graph.nodes, tensors, constants, graph.inputs, graph.outputs


def _reads_back(graph: Graph, same: bool) -> bool:
    try:
        return _said(read_tflite(_content(graph, same), graph.name)) == _said(graph)
    except ModelError:  # that padding gives another shape
        return False


def tflite_of(graph: Graph) -> bytes:
    """A file that reads back as ``graph``; AssertionError where none does."""
    for same in (True, False):
        if _reads_back(graph, same):
            return _content(graph, same)
    raise AssertionError(f"no file says {graph}")


def possible_files(graph: Graph) -> Iterator[bytes]:
    """Files for a graph that the importer does not read, with either padding."""
    yield from (_content(graph, same) for same in (True, False))


def tflite_of_all(graphs: Mapping[str, Graph]) -> bytes:
    """One file of several graphs side by side; each one's names stand behind its key."""
    tensors: list[Tensor] = []
    ops, inputs, outputs = [], [], []
    for prefix, graph in graphs.items():
        same = _reads_back(graph, True)
        assert same or _reads_back(graph, False), f"no file says {graph}"
        part = _part(graph, same, prefix)
        tensors += part.tensors
        ops.append(part.op)
        inputs += [prefix + name for name in graph.inputs]
        outputs += [prefix + name for name in graph.outputs]
    return build_model(tensors, ops, inputs, outputs)
