"""Post-training quantization: a float graph and samples to a quantized graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from simulator.coding import Coding
from simulator.errors import DataError, UsageError
from simulator.exporters import ActivationQuantizer, dynamic_bytes, qonnx_bytes
from simulator.graph import Graph, GraphTensor, Node
from simulator.importers import onnx_graph
from simulator.quantization.adaround import Moments, adaround, moments
from simulator.quantization.calibration import (
    ActivationRange,
    activation_params,
    narrow_ranges,
    params_between,
)
from simulator.quantization.equalization import PRODUCTS, equalize, fold_batch_norms, output_axis
from simulator.quantization.float_graph import apply, columns, float_model
from simulator.quantization.scheme import UNIFORM, Scheme
from simulator.quantizers import Quantized, quantize
from simulator.quantizers._form import rows_of, shaped
from simulator.tensor import QuantParams, TensorSpec
from simulator.workload import samples_as

Progress = Callable[[int], object]
# Samples that roundings and biases are fitted to, of those given.
_FITTED_SAMPLES = 256
_COLUMNS_AT_ONCE = 1 << 24
_LARGEST_BIAS = float(1 << 30)


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The quantized weights of one product, and its float32 bias (None: none)."""

    node: Node
    quantizer: str
    weights: Quantized
    bias: np.ndarray | None
    error: float  # sum of squared errors of the weights over that of the weights


@dataclass(frozen=True, eq=False)
class PostTraining:
    """``graph``, quantized, and what became of every layer. ``content``: the file that it was read from,
    where ranges are made at run time."""

    graph: Graph
    float_graph: Graph
    layers: tuple[LayerWeights, ...]
    content: bytes = b""


def prepared(graph: Graph, scheme: Scheme) -> Graph:
    """The float graph that is quantized: norms folded, channels equalized where ``scheme`` says so."""
    graph = fold_batch_norms(float_model(graph))
    return equalize(graph) if scheme.equalize else graph


def quantize_model(
    graph: Graph, x: np.ndarray, scheme: Scheme, profile: str, given: QuantParams | None = None,
    progress: Progress | None = None,
) -> PostTraining:  # fmt: skip
    """``graph``, float32, calibrated on real ``x`` (samples, ...), in the arithmetic of ``profile``.

    ``given``: the input's parameters where samples are codes of them. ``progress`` is called with the
    number of samples just looked at.
    """
    if x.shape[0] == 0 or not np.isfinite(x).all():
        given_ = "no samples" if x.shape[0] == 0 else "NaN or infinity"
        raise DataError("samples to calibrate with", given_, "finite samples, at least one")
    for what, asked, usual in (
        ("form", scheme.form, "standard"), ("ranges", scheme.ranges, "static")
    ):  # fmt: skip
        if asked != usual and profile != "onnxruntime":
            raise UsageError(f"{what} {asked}", f"in profile {profile}", "an .onnx file")
    graph = prepared(graph, scheme)
    if scheme.form == "qonnx":
        ranges = narrow_ranges(graph, x, scheme, given, progress)
        layers = _layers(graph, x[:_FITTED_SAMPLES], scheme, ranges)
        return _qonnx(graph, layers, ranges)
    params = activation_params(graph, x, scheme, given, progress)
    ranges = {name: ActivationRange(found) for name, found in params.items()}
    layers = _layers(graph, x[:_FITTED_SAMPLES], scheme, ranges)
    if scheme.ranges == "dynamic":
        return _dynamic(graph, layers)
    return PostTraining(assemble(graph, layers, params, profile), graph, tuple(layers.values()))


def _dynamic(graph: Graph, layers: dict[str, LayerWeights]) -> PostTraining:
    """Ranges made at run time are what files say, and no graph of ours: it is read from one."""
    for layer in layers.values():
        if layer.weights.coding != Coding(8) or layer.weights.zero_points.any():
            given = f"{layer.quantizer} weights of {layer.weights.coding.bits} bits"
            raise UsageError("ranges dynamic", given, "symmetric ones of 8 bits")
    content = dynamic_bytes(graph, {k: (v.weights, v.bias) for k, v in layers.items()})
    made = onnx_graph(content, graph.name)
    return PostTraining(made, graph, tuple(layers.values()), content)


def _qonnx(
    graph: Graph, layers: dict[str, LayerWeights], ranges: dict[str, ActivationRange]
) -> PostTraining:
    """Likewise, since the arithmetic of such a file is in how it is read."""
    for layer in layers.values():
        coding = layer.weights.coding
        if coding.table or coding.group or layer.weights.zero_points.any():
            allowed = ", ".join(name for name in UNIFORM if name != "asymmetric")
            raise UsageError("form qonnx", f"{layer.quantizer} weights", allowed)
    activations = {}
    for name, found in ranges.items():
        scale, point = found.params.scale, found.params.zero_point
        shift = 0 if found.signed else 128
        activations[name] = ActivationQuantizer(scale, point + shift, found.bits, found.signed)
    content = qonnx_bytes(graph, {k: (v.weights, v.bias) for k, v in layers.items()}, activations)
    made = onnx_graph(content, graph.name)
    return PostTraining(made, graph, tuple(layers.values()), content)


# --- weights -----------------------------------------------------------------------------------------


def _layers(
    graph: Graph, x: np.ndarray, scheme: Scheme, ranges: dict[str, ActivationRange]
) -> dict[str, LayerWeights]:
    """Every product in order, fitted to inputs as the layers before it give them once quantized."""
    products = [node for node in graph.nodes if node.operator in PRODUCTS]
    known = [node.outputs[0] for node in products]
    for name in scheme.layer_bits:
        if name not in known:
            raise UsageError("layer bits", f"there is no layer {name!r}", ", ".join(known))
    edges = {products[0].name, products[-1].name} if products else set()
    fitted = scheme.rounding == "adaround" or scheme.correct_bias
    if not fitted:
        return {n.name: _nearest(graph, n, scheme, n.name in edges) for n in products}
    spec = graph.spec(graph.inputs[0])
    exact = {graph.inputs[0]: samples_as(x, spec.shape[1:], "samples").astype(np.float32)}
    given = {n: _as_codes(v, ranges[n]) for n, v in exact.items()}
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    done: dict[str, LayerWeights] = {}
    for i, node in enumerate(graph.nodes):
        replaced = given
        if node.operator in PRODUCTS:
            layer = _nearest(graph, node, scheme, node.name in edges)
            if scheme.rounding == "adaround" and layer.quantizer in UNIFORM:
                layer = _rounded(graph, layer, exact[node.inputs[0]], given[node.inputs[0]])
            if scheme.correct_bias:
                layer = _corrected(graph, layer, exact[node.inputs[0]], given[node.inputs[0]])
            done[node.name] = layer
            replaced = {**given, node.inputs[1]: layer.weights.real.astype(np.float32)}
            if layer.bias is not None and len(node.inputs) > 2:
                replaced[node.inputs[2]] = layer.bias
        made = apply(graph, node, replaced)
        exact[node.outputs[0]] = apply(graph, node, exact)
        given[node.outputs[0]] = _as_codes(made, ranges[node.outputs[0]])
        for name in {*node.inputs} & set(exact):
            if last[name] == i:
                del exact[name], given[name]
    return done


def _codes(values: np.ndarray, of: ActivationRange) -> np.ndarray:
    """int8 codes of ``values``, as float32."""
    params = of.params
    return np.clip(np.rint(values / np.float32(params.scale)) + params.zero_point, of.low, of.high)


def _as_codes(values: np.ndarray, of: ActivationRange) -> np.ndarray:
    """``values`` as codes of ``of`` stand for them."""
    params = of.params
    steps = _codes(values, of) - params.zero_point
    return (steps * np.float32(params.scale)).astype(np.float32)


def _nearest(graph: Graph, node: Node, scheme: Scheme, edge: bool) -> LayerWeights:
    values, axis = graph.constants[node.inputs[1]], output_axis(node)
    channels = values.shape[-1]
    chosen, setting = scheme.of_layer(node.outputs[0], node.operator, channels, edge, axis)
    found = quantize(chosen, values, setting)
    bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
    return LayerWeights(node, chosen, found, bias, relative_error(values, found))


def relative_error(values: np.ndarray, found: Quantized) -> float:
    total = float((values.astype(np.float64) ** 2).sum())
    return float(((found.real - values) ** 2).sum()) / total if total > 0 else 0.0


def _rounded(
    graph: Graph, layer: LayerWeights, exact: np.ndarray, given: np.ndarray
) -> LayerWeights:
    """``layer`` with its levels by AdaRound."""
    node, found = layer.node, layer.weights
    values = graph.constants[node.inputs[1]]
    axis = output_axis(node)
    rows = rows_of(values, axis)
    count = rows.shape[0]
    scales = np.broadcast_to(found.scales, count).astype(np.float64)
    points = np.broadcast_to(found.zero_points, count)[:, None]
    bits = found.coding.bits
    full = layer.quantizer in ("symmetric_full", "asymmetric")
    low = -(1 << (bits - 1)) + (not full) - points
    high = (1 << (bits - 1)) - 1 - points
    if not found.levels.any():
        return layer
    of = _moments(graph, node, exact, given)
    rounded = adaround(rows, scales, low, high, of) + points
    new = replace(found, levels=shaped(rounded, values.shape, axis, np.int8))
    return replace(layer, weights=new, error=relative_error(values, new))


def _moments(graph: Graph, node: Node, exact: np.ndarray, given: np.ndarray) -> Moments:
    """Summed over samples, some at a time."""
    shape = graph.spec(node.inputs[1]).shape
    outputs = graph.spec(node.outputs[0]).elements // graph.spec(node.outputs[0]).shape[-1]
    size = int(np.prod(shape)) // shape[output_axis(node)]
    step = max(1, _COLUMNS_AT_ONCE // max(1, outputs * size))
    parts = [
        moments(
            _inputs_of(node, shape, exact[i : i + step]),
            _inputs_of(node, shape, given[i : i + step]),
        )
        for i in range(0, exact.shape[0], step)
    ]
    grams, crosses = zip(*parts, strict=True)
    return Moments(np.sum(grams, axis=0), np.sum(crosses, axis=0))


def _inputs_of(node: Node, shape: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    """(blocks, samples, k): what each output's weights are multiplied with."""
    if node.operator == "fully_connected":
        return x.reshape(1, -1, shape[1])
    windows = columns(node, x, (shape[1], shape[2]))
    positions = int(np.prod(windows.shape[:3]))
    if node.operator == "depthwise_conv_2d":
        windows = np.repeat(windows, shape[3] // x.shape[3], axis=5)
        return windows.reshape(positions, -1, shape[3]).transpose(2, 0, 1)
    groups = x.shape[3] // shape[3]
    if groups == 1:
        return windows.reshape(1, positions, -1)
    parts = np.stack(np.split(windows, groups, axis=5)).reshape(groups, positions, -1)
    return np.repeat(parts, shape[0] // groups, axis=0)


def _corrected(
    graph: Graph, layer: LayerWeights, exact: np.ndarray, given: np.ndarray
) -> LayerWeights:
    """``layer`` with the mean error of each channel, before its activation, taken from its bias."""
    node = layer.node
    plain = replace(
        node, attrs=tuple((k, "NONE" if k == "activation" else v) for k, v in node.attrs)
    )
    source, weights = node.inputs[:2]
    wanted = apply(graph, plain, {source: exact})
    made = apply(graph, plain, {source: given, weights: layer.weights.real.astype(np.float32)})
    axes = tuple(range(wanted.ndim - 1))
    apart = (wanted.astype(np.float64) - made).mean(axis=axes)
    bias = np.zeros(apart.size) if layer.bias is None else layer.bias
    return replace(layer, bias=(bias + apart).astype(np.float32))


# --- the graph ---------------------------------------------------------------------------------------


def assemble(
    graph: Graph, layers: dict[str, LayerWeights], params: dict[str, QuantParams], profile: str
) -> Graph:
    """The quantized graph of float ``graph``: 8-bit activations of ``params``, which are those of int8
    codes, the weights of ``layers``, int32 biases in units of the input's scale times the weights'.

    In profile ``onnxruntime`` activations are uint8, which that runtime has integer products of.
    """
    unsigned = profile == "onnxruntime"
    tensors: dict[str, GraphTensor] = {}
    constants: dict[str, np.ndarray] = {}
    nodes: list[Node] = []
    for name, found in params.items():
        old = graph.tensors[name]
        spec = TensorSpec(old.spec.shape, "u8" if unsigned else "i8")
        tensors[name] = replace(old, spec=spec, quantization=_shifted(found) if unsigned else found)
    for node in graph.nodes:
        if node.name in layers:
            layer = _with_room(layers[node.name], params[node.inputs[0]])
            nodes.append(_product(graph, layer, params, tensors, constants))
            continue
        nodes.append(node)
        for name in (n for n in node.inputs if n in graph.constants):
            tensors[name], constants[name] = _constant(graph, name, unsigned)
    return replace(
        graph, profile=profile, tensors=tensors, constants=constants, nodes=tuple(nodes), sha256=""
    )


def _with_room(layer: LayerWeights, x: QuantParams) -> LayerWeights:
    """``layer`` with larger scales for channels whose weights are so small that the bias would not fit 32
    bits beside them: next to such a bias they are nothing."""
    if layer.bias is None:
        return layer
    found = layer.weights
    needed = np.abs(layer.bias) / (x.scale * _LARGEST_BIAS)
    if found.axis is None:
        needed = needed.max(keepdims=True)
    if not (needed > found.scales).any():
        return layer
    scales = np.maximum(found.scales, needed).astype(np.float32)
    shape = [1] * found.levels.ndim
    if found.axis is not None:
        shape[found.axis] = -1
    ratio = (found.scales / scales).reshape(shape)
    exact = (found.levels - found.zero_points.reshape(shape)) * ratio
    if not found.coding.table and not found.coding.group:
        levels = np.rint(exact) + found.zero_points.reshape(shape)
    else:
        # The least levels there are.
        sizes = np.abs(found.levels).reshape(-1)
        levels = np.where(ratio < 1, found.levels.reshape(-1)[sizes.argmin()], found.levels)
    return replace(layer, weights=replace(found, levels=levels.astype(np.int8), scales=scales))


def _product(
    graph: Graph, layer: LayerWeights, params: dict[str, QuantParams],
    tensors: dict[str, GraphTensor], constants: dict[str, np.ndarray],
) -> Node:  # fmt: skip
    """Adds the weights and bias of ``layer``, under names of its own."""
    node, found = layer.node, layer.weights
    name = f"{node.outputs[0]}/weights"
    scales = tuple(float(s) for s in found.scales)
    axis = found.axis if found.axis is not None and len(scales) > 1 else 0
    old = graph.tensors[node.inputs[1]]
    q = QuantParams(scales, tuple(int(z) for z in found.zero_points), axis)
    spec = TensorSpec(old.spec.shape, "i8")
    coding = None if found.coding == Coding(8) else found.coding
    tensors[name] = replace(old, name=name, key=name, spec=spec, quantization=q, coding=coding)
    constants[name] = found.levels
    if layer.bias is None:
        return replace(node, inputs=(node.inputs[0], name))
    bias = f"{node.outputs[0]}/bias"
    units = np.float32(params[node.inputs[0]].scale) * found.scales
    codes = np.rint(layer.bias / units.astype(np.float64)).astype(np.int32)
    q = QuantParams(tuple(float(u) for u in units), (0,) * units.size, 0)
    tensors[bias] = GraphTensor(bias, TensorSpec(codes.shape, "i32"), q, bias)
    constants[bias] = codes
    return replace(node, inputs=(node.inputs[0], name, bias))


def _shifted(q: QuantParams) -> QuantParams:
    """int8 parameters as those of uint8 codes."""
    return QuantParams(q.scales, tuple(z + 128 for z in q.zero_points), q.axis)


def _constant(graph: Graph, name: str, unsigned: bool) -> tuple[GraphTensor, np.ndarray]:
    """An operand that is constant: numbers as codes of their own range, others as they are."""
    old, values = graph.tensors[name], graph.constants[name]
    if not old.spec.real:
        return old, values
    params = params_between(float(values.min()), float(values.max()), "float")
    codes = _codes(values, ActivationRange(params)).astype(np.int8)
    if unsigned:
        params, codes = _shifted(params), (codes.astype(np.int16) + 128).astype(np.uint8)
    spec = TensorSpec(old.spec.shape, "u8" if unsigned else "i8")
    return replace(old, spec=spec, quantization=params), codes
