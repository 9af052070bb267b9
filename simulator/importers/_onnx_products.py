"""Convolutions and matrix products: quantized, or of integers to integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.importers._onnx_build import (
    IMAGE,
    QUANTIZED_BYTES,
    Attrs,
    Axes,
    Codes,
    Value,
    in_order,
    moved_params,
    quantized,
)
from simulator.importers._onnx_file import Op, ValueType, printable
from simulator.importers._onnx_walk import Call, Target, Walk
from simulator.importers._onnx_windows import window
from simulator.tensor import QuantParams

# Weights of a convolution, OIHW in files: ours are OHWI, of a depthwise one 1HWO.
OHWI: Axes = (0, 3, 1, 2)
DEPTHWISE: Axes = (3, 0, 1, 2)
SUM_BITS = "i32"


def conv(w: Walk, call: Call) -> None:
    """Conv of codes by constant weights."""
    _eight_bits(call)
    _convolution(w, call, call.given(0), call.given(1), bias_of(w, call))


def conv_integer(w: Walk, op: Op) -> None:
    """ConvInteger: the sums themselves, int32."""
    x, extra = _integer_operand(w, op, 0, 2)
    weights, _ = _integer_operand(w, op, 1, 3)
    target = Target(op.outputs[0], SUM_BITS, None)
    call = Call(op, "Conv", (x, weights), target)
    _convolution(w, call, x, weights, ["", *extra] if extra else [])


def _eight_bits(call: Call) -> None:
    """The runtime multiplies wider codes in float32, whose sums have an order of their own."""
    for value in (*call.inputs[:1], call.target):
        if value is not None and value.dtype not in ("i8", "u8", "f32"):
            raise call.op.error(f"multiplies or makes {value.dtype} codes", "i8 or u8")


def _convolution(w: Walk, call: Call, x: Value, weights: Value, more: list[str]) -> None:
    op = call.op
    if x.rank != 4 or weights.rank != 4:
        raise op.error(f"convolves {list(x.shape)} by {list(weights.shape)}", "4 dimensions each")
    _constant_weights(op, weights)
    groups, (out_c, in_c) = op.integer("group", 1), weights.shape[:2]
    if groups < 1 or x.shape[1] != groups * in_c or out_c % groups:
        raise op.error(
            f"has {groups} groups, {x.shape[1]} channels, weights {list(weights.shape)}",
            "channels / groups weights per output, groups that divide channels and outputs",
        )
    attrs = window(op, x.shape[2:], weights.shape[2:])
    depthwise = groups == x.shape[1] and groups > 1
    operator, axes = ("depthwise_conv_2d", DEPTHWISE) if depthwise else ("conv_2d", OHWI)
    inputs = [w.build.arranged(x, IMAGE), w.build.arranged(weights, axes), *more]
    _product(w, call, operator, inputs, IMAGE, {**attrs, "activation": "NONE"})


def _constant_weights(op: Op, weights: Value) -> None:
    if weights.constant is None:
        raise op.error(f"weights {printable(weights.name)!r} are made at run time", "a constant")
    if weights.view is not None and weights.view.per_channel and weights.view.axis != 0:
        raise op.error(f"weights have scales along axis {weights.view.axis}", "axis 0")


def batch_normalization(w: Walk, op: Op) -> None:
    """BatchNormalization of a float model, its numbers constants."""
    x = w.build.real(w.given(op, 0))
    axes = IMAGE if x.rank == 4 else in_order(x.rank)
    names = ("scale", "bias", "mean", "variance")
    for index, what in enumerate(names, 1):
        numbers = w.array(op, index, what)
        if numbers is None or numbers.shape != (x.shape[1],):
            raise op.error(f"has no {what} for each of {x.shape[1]} channels", "one each")
    constants = [w.build.constant(w.given(op, i), in_order(1)) for i in range(1, 5)]
    made = w.build.make(op.outputs[0], w.kind(op), axes)
    inputs = [w.build.arranged(x, axes), *constants]
    attrs: Attrs = {"epsilon": op.real("epsilon", 1e-5)}
    w.build.node("batch_normalization", inputs, [made.tensor], attrs)
    w.env[op.outputs[0]] = made


# --- bias ----------------------------------------------------------------------------------------


def bias_of(w: Walk, call: Call) -> list[str]:
    """The third operand as an int32 constant, in a list; empty where there is none, or one to be added to
    float32 results."""
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    if bias is None or _real_bias(call) is not None:
        return []
    op, x, weights = call.op, call.given(0), call.given(1)
    if bias.constant is None:
        raise op.error(f"bias {printable(bias.name)!r} is made at run time", "a constant")
    channels = weights.shape[0] if call.kind == "Conv" else w.kind(op).shape[-1]
    if x.view is None or weights.view is None:
        return [w.build.constant(_per_channel(op, bias, channels), in_order(1))]
    w.allowance.take(QUANTIZED_BYTES * channels, op.where)
    params = product_params(x.view, weights.view, 0)
    bias = _per_channel(op, bias, channels)
    if bias.view is not None:
        _check_bias_scale(op, bias.view, params)
    elif bias.dtype == "f32":
        bias = _quantized_bias(bias, params)
    if bias.dtype != "i32":
        raise op.error(f"bias is {bias.dtype}", "i32, or f32 beside float weights")
    return [w.build.constant(replace(bias, view=None), in_order(1), params)]


def _real_bias(call: Call) -> Value | None:
    """A float32 bias of float32 results, which nothing rounds to a multiple of the sums' scale."""
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    left = call.alone and not call.quantized
    return bias if left and bias is not None and bias.view is None else None


def _per_channel(op: Op, bias: Value, channels: int) -> Value:
    """A bias of one number for each output channel, from any shape that says the same."""
    assert bias.constant is not None
    if bias.constant.size not in (1, channels) or (
        bias.rank and bias.shape[-1] not in (1, channels)
    ):
        raise op.error(f"bias has shape {list(bias.shape)}", f"[{channels}]")
    if bias.view is not None and bias.view.per_channel and len(bias.view.scales) != channels:
        raise op.error(f"bias has {len(bias.view.scales)} scales", f"1 or {channels}")
    view = replace(bias.view, axis=0) if bias.view else None
    constant = np.broadcast_to(bias.constant.reshape(-1), channels)
    return replace(bias, shape=(channels,), axes=(0,), constant=constant, view=view)


def product_params(x: QuantParams, weights: QuantParams, axis: int) -> QuantParams:
    """Parameters of a sum of products: f32(scale * scale), zero point 0, along ``axis``."""
    scales = tuple(float(np.float32(x.scale) * np.float32(s)) for s in weights.scales)
    return QuantParams(scales, (0,) * len(scales), axis if len(scales) > 1 else 0)


def _check_bias_scale(op: Op, stated: QuantParams, implied: QuantParams) -> None:
    """ONNX Runtime takes the codes as they are if their scale is within 1e-6 + 1 % of the products'."""
    count = max(len(stated.scales), len(implied.scales))
    pairs = zip(np.resize(stated.scales, count), np.resize(implied.scales, count), strict=True)
    for given, wanted in pairs:
        if abs(given - wanted) > 1e-6 + 0.01 * wanted:
            raise op.error(
                f"bias has scale {float(given):.6g}",
                f"input scale * weight scale = {float(wanted):.6g}",
            )
    if any(stated.zero_points):
        raise op.error("bias has a zero point", "0")


def _quantized_bias(bias: Value, params: QuantParams) -> Value:
    """A float bias in units of the sum: rint(f32(bias / f32(scale * scale))), as ONNX Runtime makes it."""
    assert bias.constant is not None
    codes = quantized(bias.constant, params, "i32")
    return replace(bias, dtype="i32", constant=codes)


# --- matrix products -----------------------------------------------------------------------------


def matmul(w: Walk, call: Call) -> None:
    """MatMul: rows by a constant matrix, or batches of matrices by each other."""
    _eight_bits(call)
    a, b = call.given(0), call.given(1)
    if b.constant is not None and b.rank == 2 and a.constant is None:
        _rows(w, call, a, _turned(b), [])
        return
    _batches(w, call, a, b)


def gemm(w: Walk, call: Call) -> None:
    """Gemm of alpha 1 and beta 1."""
    _eight_bits(call)
    op, a, b = call.op, call.given(0), call.given(1)
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    for key, used in (("alpha", True), ("beta", bias is not None)):
        if used and op.real(key, 1.0) != 1.0:
            raise op.error(f"{key} = {op.real(key, 1.0)}", "1")
    if op.integer("transA", 0):
        a = _turned(a)
    if b.constant is None:
        if bias is not None:
            raise op.error(
                f"{printable(b.name)!r} is made at run time", "constant weights and bias"
            )
        _batches(w, call, a, _turned(b) if op.integer("transB", 0) else b)
        return
    _rows(w, call, a, b if op.integer("transB", 0) else _turned(b), bias_of(w, call))


def matmul_integer(w: Walk, op: Op) -> None:
    """MatMulInteger: the sums themselves, int32."""
    a, extra = _integer_operand(w, op, 0, 2)
    b, _ = _integer_operand(w, op, 1, 3)
    call = Call(op, "MatMul", (a, b), Target(op.outputs[0], SUM_BITS, None))
    if b.constant is not None and b.rank == 2 and a.constant is None:
        _rows(w, call, a, _turned(b), ["", *extra] if extra else [])
    elif extra:
        raise op.error(
            "multiplies activations of a zero point made at run time", "a constant matrix"
        )
    else:
        _batches(w, call, a, b)


def _turned(value: Value) -> Value:
    """A matrix with its last two axes swapped, without moving anything."""
    swap = (*range(value.rank - 2), value.rank - 1, value.rank - 2)
    view = value.view
    if view is not None and view.per_channel:
        view = replace(view, axis=swap[view.axis])
    shape = tuple(value.shape[i] for i in swap)
    constant = value.constant
    if constant is not None:
        constant = constant.transpose(swap)
    axes = tuple(value.axes[i] for i in swap)
    name = value.name if constant is not None else ""
    return Value(name, value.dtype, shape, value.tensor, axes, view, constant)


def _rows(w: Walk, call: Call, a: Value, weights: Value, more: list[str]) -> None:
    """``weights`` are (n, k) in the file's order; ``axes`` still say how the file has them."""
    op = call.op
    if a.rank < 1 or a.shape[-1] != weights.shape[1]:
        raise op.error(
            f"multiplies {list(a.shape)} by {list(weights.shape[::-1])}", "equal lengths"
        )
    view = weights.view
    if view is not None and view.per_channel and view.axis != 0:
        raise op.error("weights have scales along their rows", "one per output")
    straight = replace(weights, axes=in_order(2))
    name = w.build.constant(straight, in_order(2), view)
    w.build.tensors[name].axes = weights.axes
    inputs = [w.build.arranged(a, in_order(a.rank)), name, *more]
    attrs: Attrs = {
        "keep_dims": int(a.rank != 2), "weights_format": "DEFAULT", "activation": "NONE",
    }  # fmt: skip
    _product(w, call, "fully_connected", inputs, in_order(a.rank), attrs)


def _batches(w: Walk, call: Call, a: Value, b: Value) -> None:
    """A product of two activations; a matrix that is there turned is multiplied as it is."""
    if min(a.rank, b.rank) < 2:
        raise call.op.error(f"multiplies {list(a.shape)} by {list(b.shape)}", "matrices")
    names, turned = [], []
    for value in (a, b):
        as_is = value.constant is None and _turned(value).axes == in_order(value.rank)
        names.append(w.build.arranged(_turned(value) if as_is else value, in_order(value.rank)))
        turned.append(int(as_is))
    attrs: Attrs = {"adj_x": turned[0], "adj_y": turned[1]}
    _product(w, call, "batch_matmul", names, in_order(len(w.kind(call.op).shape)), attrs)


def _product(
    w: Walk, call: Call, operator: str, inputs: list[str], axes: Axes, attrs: Attrs
) -> None:
    """The node; a float32 result of codes is an int32 one of the product's scale, seen as float32."""
    x, weights = call.given(0).view, call.given(1).view
    if call.quantized or call.target.dtype != "f32" or x is None or weights is None:
        w.result(call, operator, inputs, axes, attrs)
        return
    shape, name = w.kind(call.op).shape, call.target.name
    channel = 1 if axes == IMAGE else len(shape) - 1
    params = product_params(x, weights, channel)
    ours = moved_params(params, axes) or params
    if call.alone:
        attrs = {**attrs, "arithmetic": "float"}
    made = w.build.make(f"{name}/sums", ValueType(SUM_BITS, shape), axes, Codes(ours), key="")
    w.build.node(operator, inputs, [made.tensor], attrs)
    w.env[name] = replace(made, name=name, view=params)
    bias = _real_bias(call)
    if bias is not None:
        _add_bias(w, call, bias)


def _add_bias(w: Walk, call: Call, bias: Value) -> None:
    """``bias`` added to the float32 results of ``call``."""
    if bias.constant is None:
        raise call.op.error(f"bias {printable(bias.name)!r} is made at run time", "a constant")
    name, sums = call.target.name, w.env[call.target.name]
    kind = ValueType("f32", sums.shape)
    real = w.build.make(f"{name}/products", kind, sums.axes, key="")
    w.build.node("dequantize", [sums.tensor], [real.tensor])
    bias = _per_channel(call.op, bias, w.build.tensors[real.tensor].spec.shape[-1])
    made = w.build.make(name, kind, sums.axes)
    inputs = [real.tensor, w.build.constant(bias, in_order(1))]
    w.build.node("add", inputs, [made.tensor], {"activation": "NONE"})
    w.env[name] = made


def _integer_operand(w: Walk, op: Op, index: int, point: int) -> tuple[Value, list[str]]:
    """Codes with their zero point; one made at run time comes as a tensor of its own."""
    value = w.given(op, index)
    if value.view is not None or value.dtype not in ("i8", "u8"):
        raise op.error(f"input {printable(value.name)!r} is {w.file_dtype(value)}", "i8 or u8")
    name = op.input(point)
    given = w.value(name)
    stated = np.zeros(1, np.int64)
    if given is not None:
        if given.constant is None and index == 0:
            return replace(value, view=QuantParams((1.0,), (0,))), [given.tensor]
        if given.constant is None or given.dtype != value.dtype:
            raise op.error(
                f"zero point {printable(name)!r} is {given.dtype}", f"{value.dtype}, constant"
            )
        stated = given.constant
    w.allowance.objects(4 * stated.size, op.where)
    points = [int(z) for z in stated.reshape(-1)]
    axis = 0 if op.kind == "ConvInteger" else value.rank - 1
    if len(points) > 1 and (value.constant is None or len(points) != value.shape[axis]):
        raise op.error(f"{len(points)} zero points of {printable(value.name)!r}", "one")
    scale = 1.0
    if value.constant is None:
        known = w.build.tensors[value.tensor].codes.params
        scale = known.scale if known else 1.0
    params = QuantParams((scale,) * len(points), tuple(points), axis if len(points) > 1 else 0)
    return replace(w.build.stated(value, params), view=params), []
