"""What operators with weights share: rules, the naive sums, and the lowering to a Matmul."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from simulator.fixedpoint.requantize import REQUANTIZERS
from simulator.fixedpoint.thresholds import NAME
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops._coded import coded_weights
from simulator.ops._stage import (
    Stage,
    operands,
    output_stage,
    runtime_in_float,
    sums_only,
    thresholds_of,
)
from simulator.program.commands import LaneWork, Matmul, Requantize
from simulator.program.nest import Nest

# What an output channel brings along besides its weights: a bias, a 32-bit multiplier and a 6-bit
# shift, as microNPUs encode them (Ethos-U: 32-bit scale and 6-bit shift).
_SCALE_BITS = 32 + 6
_BIAS_BITS = 32
CHANNEL_BITS = _BIAS_BITS + _SCALE_BITS
# A 64-bit bias must leave room in the 48 bits that the runtime takes of such sums.
_LARGEST_BIAS = 1 << 46
_MIDDLE = 128  # the zero point of uint8 weights that stand for int8 ones
# What ONNX Runtime multiplies; int8 by uint8 besides where the sums are the output.
_ONNX_TYPES = (("i8", "i8"), ("u8", "u8"), ("u8", "i8"))
# Of which ONNX Runtime has sums at the most; between codes it computes them in float32.
_ONNX_TYPES_ALONE = (("i8", "u8"), ("i8", "i4"), ("u8", "i4"), ("i8", "u4"), ("u8", "u4"))
# The output stage is one pass through a lane; without a multiplier it shifts, or only clamps.
_LANES = {"power_of_two": LaneWork(1, 0, 1), "none": LaneWork(1, 0, 0)}


def constant_weights(graph: Graph, node: Node) -> bool:
    """weights, and a bias if there is one, are constants"""
    names = operands(node)
    return graph.constant(names.weights) and constant_bias(graph, node)


def constant_bias(graph: Graph, node: Node) -> bool:
    """a bias is a constant"""
    bias = operands(node).bias
    return not bias or graph.constant(bias)


def same_type(graph: Graph, node: Node) -> bool:
    """input and output are of the same type, int8, uint8 or int16, each with one scale and zero point;
    an output of int32 takes the sums as they are; in profile qonnx codes of at most 8 bits, compared with
    thresholds"""
    x = operands(node).x
    if graph.profile == "qonnx":
        return _one_scale(graph, x) and _narrow(graph, x) and _compared(graph, node)
    given, made = graph.spec(x).dtype, graph.spec(node.outputs[0]).dtype
    if not _one_scale(graph, x) or given not in ("i8", "u8", "i16"):
        return False
    if sums_only(graph, node):
        return given != "i16"
    return given == made and _one_scale(graph, node.outputs[0])


def _narrow(graph: Graph, name: str) -> bool:
    return not graph.spec(name).real and graph.spec(name).bits <= 8


def _compared(graph: Graph, node: Node) -> bool:
    """Whether the output is sums, or codes with a threshold for every step."""
    names = thresholds_of(node)
    if names is None:
        return sums_only(graph, node)
    channels = graph.spec(node.outputs[0]).shape[-1]
    values, directions = (graph.spec(n) for n in names)
    constant = all(graph.constant(n) and graph.spec(n).dtype == "i64" for n in names)
    shapes = len(values.shape) == 2 and values.shape[0] == channels
    return (
        constant and shapes and directions.shape == (channels,) and _narrow(graph, node.outputs[0])
    )


def _one_scale(graph: Graph, name: str) -> bool:
    params = graph.tensors[name].quantization
    return params is not None and not params.per_channel


def weight_types(*pairs: tuple[str, str]) -> common.Rule:
    """The rule that input and weights are of one of these pairs of types."""

    def rule(graph: Graph, node: Node) -> bool:
        names = operands(node)
        given = graph.spec(names.x).dtype, graph.spec(names.weights).dtype
        if graph.tensors[names.weights].quantization is None:
            return False
        if graph.profile == "qonnx":
            return _narrow(graph, names.weights)
        if graph.profile == "onnxruntime":
            alone = runtime_in_float(node) or sums_only(graph, node)
            return given in _ONNX_TYPES or (given in _ONNX_TYPES_ALONE and alone)
        return given in pairs

    words = {"i4": "int4", "i8": "int8", "u8": "uint8", "i16": "int16"}
    weights = list(dict.fromkeys(w for _, w in pairs))
    of_each = (
        f"{words[w]} ({' or '.join(words[x] for x, given in pairs if given == w)} inputs)"
        for w in weights
    )
    rule.__doc__ = f"weights are {', '.join(of_each)}, with a scale"
    return rule


def symmetric_weights(graph: Graph, node: Node) -> bool:
    """int8 and int4 weights have zero points 0 (in profile onnxruntime: one zero point), uint8 weights
    one scale"""
    name = operands(node).weights
    params = graph.quantization(name)
    if graph.profile in ("onnxruntime", "qonnx"):
        return len(set(params.zero_points)) == 1
    if graph.spec(name).dtype == "u8":
        return not params.per_channel
    return all(z == 0 for z in params.zero_points)


def symmetric_sixteen_bits(graph: Graph, node: Node) -> bool:
    """int16 activations have zero points 0"""
    names = (operands(node).x, node.outputs[0])
    found = [graph.quantization(n).zero_point for n in names if graph.spec(n).dtype == "i16"]
    return not any(found)


def bias_type(graph: Graph, node: Node) -> bool:
    """the bias is int32, one number per output channel; of int16 inputs int64 within 2**46, or int32
    where quantized_bias_type says so"""
    names = operands(node)
    if not names.bias:
        return True
    spec, channels = graph.spec(names.bias), graph.spec(node.outputs[0]).shape[-1]
    if spec.elements != channels:
        return False
    if graph.spec(names.x).dtype != "i16":
        return spec.dtype == "i32"
    if spec.dtype == "i32":
        return dict(node.attrs).get("bias_type") == "INT32"
    return spec.dtype == "i64" and bool((np.abs(graph.constants[names.bias]) < _LARGEST_BIAS).all())


def scales_along(axis: int) -> common.Rule:
    """The rule that weights with several scales have them along ``axis``, the output channels'."""

    def rule(graph: Graph, node: Node) -> bool:
        params = graph.quantization(operands(node).weights)
        return not params.per_channel or params.axis == axis

    rule.__doc__ = f"weights with a scale per output channel have them along axis {axis}"
    return rule


@dataclass(frozen=True)
class Product:
    """A node as one matrix product; shapes as in :class:`Matmul`.

    ``weights``: values of shape (groups, kernel_h, kernel_w, k, n), or the name of a tensor that holds
    them at run time.
    """

    nest: Nest
    weights: np.ndarray | str
    ifmap: str
    ofmap: str

    @property
    def channels(self) -> int:
        return self.nest.groups * self.nest.n


def channel_bias(graph: Graph, node: Node, channels: int) -> np.ndarray:
    """The bias as int64, zeros where there is none."""
    name = operands(node).bias
    if not name:
        return np.zeros(channels, np.int64)
    return graph.constants[name].astype(np.int64).reshape(channels)


def lower_product(graph: Graph, node: Node, device: Device, product: Product) -> common.Lowered:
    """The Matmul of a product and its constants."""
    names, channels, base = operands(node), product.channels, node.name
    weight_offset = graph.quantization(names.weights).zero_point
    middle = graph.spec(names.weights).dtype == "u8" and weight_offset == _MIDDLE
    if middle and not isinstance(product.weights, str):
        # int8 in another guise: the same numbers, without a zero point to subtract.
        moved = (product.weights.astype(np.int16) - _MIDDLE).astype(np.int8)
        product, weight_offset = replace(product, weights=moved), 0
    bias = channel_bias(graph, node, channels)
    pad_code = offset = graph.quantization(names.x).zero_point
    # A device that folds never sees a weight offset, and cannot fold what meets weights made at run
    # time: such products go to the host.
    known = not isinstance(product.weights, str)
    if device.array.zero_point == "fold" and weight_offset == 0 and known:
        # sum w * (x - z) = sum w * x - z * sum w, padding taps included since they hold z.
        sums = np.asarray(product.weights).astype(np.int64).sum(axis=(1, 2, 3))
        bias, offset = bias - offset * sums.reshape(channels), 0
    stage = output_stage(graph, node, channels)
    wide_bias = bool(names.bias) and graph.spec(names.bias).dtype == "i64"
    constants = {f"{base}/bias": bias, **_scale_constants(base, stage)}
    channel_bits = _BIAS_BITS * (2 if wide_bias else 1) + _SCALE_BITS
    compared = thresholds_of(node)
    if compared:
        values, directions = (graph.constants[n] for n in compared)
        constants |= {f"{base}/multiplier": values, f"{base}/shift": directions}
        channel_bits = values.shape[1] * device.array.accumulator_bits + 1
    weights = product.weights
    if not isinstance(weights, str):
        weights = f"{base}/weights"
        constants[weights] = np.ascontiguousarray(product.weights)
    command = Matmul(
        name=base, operator=node.operator, ifmap=product.ifmap, weights=weights,
        bias=f"{base}/bias", ofmap=product.ofmap, nest=product.nest,
        dataflow=device.array.dataflow, ifmap_offset=offset, weight_offset=weight_offset,
        pad_code=pad_code, channel_bits=channel_bits,
        requantize=Requantize(
            stage.kind, f"{base}/multiplier", f"{base}/shift", stage.zero_point, stage.low,
            stage.high, stage.tail_kind, stage.tail_channels,
        ),
        lane=_lane(stage, constants[f"{base}/multiplier"]), weights_made=not known,
        **coded_weights(graph.tensors[names.weights], product, weight_offset, device.array),
    )  # fmt: skip
    return common.Lowered((command,), constants)


def _lane(stage: Stage, multiplier: np.ndarray) -> LaneWork:
    """Thresholds are found by halving: a comparison, and a look-up of the next one, for each bit."""
    if stage.kind == NAME:
        steps = int(multiplier.shape[1]).bit_length()
        return LaneWork(cycles=steps, multiplies=0, adds=steps, lookups=steps)
    return _LANES.get(stage.kind, common.REQUANTIZE_LANE)


def _scale_constants(base: str, stage: Stage) -> Mapping[str, np.ndarray]:
    """Multiplier and shift of every channel, as the channel's own requantizer takes them."""
    if stage.kind == NAME:
        return {}
    pairs = [
        REQUANTIZERS[stage.kind_of(channel)].convert(scale)
        for channel, scale in enumerate(stage.scales)
    ]
    return {
        f"{base}/multiplier": np.array([p[0] for p in pairs], np.int64),
        f"{base}/shift": np.array([p[1] for p in pairs], np.int64),
    }


def naive_codes(graph: Graph, node: Node, sums: np.ndarray) -> np.ndarray:
    """Sums (..., channels) of Python integers through the output stage; bias and all included."""
    stage = output_stage(graph, node, sums.shape[-1])
    compared = thresholds_of(node)
    out = np.zeros(sums.shape, np.int64)
    for i in np.ndindex(*sums.shape):
        kind, real = stage.kind_of(i[-1]), stage.scales[i[-1]]
        if compared:
            values, directions = (graph.constants[n][i[-1]] for n in compared)
            code = stage.zero_point + sum(int(directions) * int(sums[i]) >= int(t) for t in values)
        else:
            code = common.naive_requantize(kind, int(sums[i]), real) + stage.zero_point
        out[i] = min(max(code, stage.low), stage.high)
    return out


def naive_product(
    graph: Graph, node: Node, x: np.ndarray, weights: np.ndarray, nest: Nest
) -> np.ndarray:
    """Sum over the window of (x - z_x)(w - z_w), requantized: one output at a time.

    ``x`` is (batch, in_h, in_w, groups * k), ``weights`` (groups, kernel_h, kernel_w, k, n); the result
    is (batch, out_h, out_w, groups * n) int64.
    """
    names = operands(node)
    zx, zw = (graph.quantization(n).zero_point for n in (names.x, names.weights))
    channels = nest.groups * nest.n
    bias = channel_bias(graph, node, channels)
    xs, ws = x.astype(object) - zx, weights.astype(object) - zw
    sums = np.zeros((nest.batch, nest.out_h, nest.out_w, channels), object)
    for b, oy, ox, c in np.ndindex(*sums.shape):
        g, n = divmod(c, nest.n)
        total = int(bias[c])
        for ky, kx in np.ndindex(nest.kernel_h, nest.kernel_w):
            iy = oy * nest.stride_h + ky * nest.dilation_h - nest.pad_top
            ix = ox * nest.stride_w + kx * nest.dilation_w - nest.pad_left
            if 0 <= iy < nest.in_h and 0 <= ix < nest.in_w:
                window = xs[b, iy, ix, g * nest.k : (g + 1) * nest.k]
                total += int((window * ws[g, ky, kx, :, n]).sum())
        sums[b, oy, ox, c] = total
    return naive_codes(graph, node, sums)
