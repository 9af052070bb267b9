"""Operators of QONNX graphs on whole activations: residual sums, concatenations, averages, blocks."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simulator.importers import _onnx_moves as moves
from simulator.importers import _onnx_windows as windows
from simulator.importers._onnx_build import IMAGE, Codes, Value, in_order, inverse
from simulator.importers._onnx_elementwise import ranked
from simulator.importers._onnx_file import Op, ValueType
from simulator.importers._onnx_products import DEPTHWISE, OHWI
from simulator.importers._onnx_walk import Walk
from simulator.importers._qonnx_functions import MOST_BITS, Step, Sums
from simulator.importers._qonnx_quantizers import Described, described
from simulator.tensor import QuantParams, TensorSpec

JOINS = {"Add": "add", "Sub": "sub", "Mul": "mul"}
AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")
_EVEN = ("ROUND", "HALF_EVEN")


class _Ending(NamedTuple):
    """What a joined value ends in: ``relu`` before the quantizer ``op``."""

    op: Op
    quantizer: Described
    relu: bool


def joined(w: Walk, op: Op, a: Value, b: Value) -> None:
    """Two activations by each other: of codes into codes one operator, else float32 on the host.

    The operator on codes computes in float32 as QONNX does, value by value, in integers
    (``ops.onnxruntime._binary``).
    """
    operator, rank = JOINS[op.kind], len(w.kind(op).shape)
    narrow = all(_codes(value) for value in (a, b))
    ending = _ending(w, op) if narrow else None
    if not narrow or ending is None:
        a, b = w.build.real(a), w.build.real(b)
    values = [ranked(w, value, rank) for value in (a, b)]
    axes = moves.common_axes(values)
    inputs = [w.build.arranged(value, axes) for value in values]
    if ending is None:
        made = w.build.make(op.outputs[0], w.kind(op), axes)
        w.build.node(operator, inputs, [made.tensor], {"activation": "NONE"})
        w.env[op.outputs[0]] = made
        return
    quantizer, name = ending.quantizer, ending.op.outputs[0]
    kind = ValueType(quantizer.dtype, w.kind(op).shape)
    made = w.build.make(name, kind, axes, Codes(quantizer.params))
    attrs = {
        "activation": "RELU" if ending.relu else "NONE", "arithmetic": "float",
        "least": quantizer.arithmetic.minimum, "most": quantizer.arithmetic.maximum,
    }  # fmt: skip
    w.build.node(operator, inputs, [made.tensor], attrs)
    w.env[name] = Value(name, made.dtype, made.shape, made.tensor, made.axes, quantizer.params)


def _codes(value: Value) -> bool:
    """Whether it is codes of few bits, all with one scale."""
    seen = value.view is not None and not value.view.per_channel
    return seen and int(value.dtype[1:]) <= MOST_BITS and value.constant is None


def _ending(w: Walk, op: Op) -> _Ending | None:
    """The quantizer that ``op``'s output ends in, if it rounds to even about a zero point of 0.

    The nodes on the way count as done from here on.
    """
    name, passed, relu = op.outputs[0], list[int](), False
    while w.uses(name) == 1 and name not in w.build.file.outputs:
        reader = w.readers[name][0]
        kind = reader.kind.rpartition(".")[2]
        if reader.input(0) != name or kind not in ("Relu", "Quant", "IntQuant"):
            return None
        passed.append(reader.index)
        if kind == "Relu":
            relu, name = True, reader.outputs[0]
            continue
        found = described(w, reader, "Quant", None)
        plain = not found.arithmetic.bipolar and found.arithmetic.zero_point == 0
        if not plain or found.arithmetic.rounding not in _EVEN:
            return None
        if TensorSpec((), found.dtype).bits > MOST_BITS:
            return None
        w.done.update(passed)
        return _Ending(reader, found, relu)
    return None


def concatenated(w: Walk, op: Op, values: list[Value]) -> None:
    """Codes of one scale as they are; others as float32 numbers."""
    first = values[0]
    if any((v.view, v.dtype) != (first.view, first.dtype) for v in values):
        values = [w.build.real(value) for value in values]
    moves.plain_concat(w, op, values)


def averaged(w: Walk, op: Op, x: Value) -> Sums:
    """A mean over windows of codes: their sums, as a depthwise product by ones, divided by the count.

    QONNX adds float32 numbers, which is exact where the scale is a power of two.
    """
    if x.view is None or x.view.per_channel or x.rank != 4:
        raise op.error(f"averages {list(x.shape)} numbers", "quantized images of one scale")
    kernel, attrs = _window(w, op, x)
    if any(value for key, value in attrs.items() if key.startswith("pad_")):
        raise op.error("averages over padding", "no padding")
    if x.view.zero_point:
        raise op.error(f"averages codes of zero point {x.view.zero_point}", "0")
    shape, channels = w.kind(op).shape, x.shape[1]
    if len(shape) != 4:
        raise op.error("leaves the averaged axes out", "keepdims = 1")
    alone = channels == 1
    ones = np.ones((channels, 1, *kernel), np.int8)
    view = QuantParams((1.0,), (0,))
    weights = Value(f"{op.outputs[0]}/ones", "i8", ones.shape, view=view, constant=ones)
    inputs = (
        w.build.arranged(x, IMAGE), w.build.arranged(weights, OHWI if alone else DEPTHWISE)
    )  # fmt: skip
    spec, count = TensorSpec((), x.dtype), math.prod(kernel)
    reach = max(abs(spec.minimum), abs(spec.maximum)) * count
    return Sums(
        op, "conv_2d" if alone else "depthwise_conv_2d", inputs, {**attrs, "activation": "NONE"},
        IMAGE, shape, np.full(channels, x.view.scale), np.full(channels, reach),
        (Step("div", np.full(channels, np.float32(count))),), unsigned=not spec.signed,
    )  # fmt: skip


def _window(w: Walk, op: Op, x: Value) -> tuple[tuple[int, int], dict[str, int]]:
    """(kernel, attributes of the window)."""
    if op.kind == "AveragePool":
        attrs = windows.pool_window(op, x)
        kernel = attrs.pop("kernel_h"), attrs.pop("kernel_w")
        return kernel, {**attrs, "dilation_h": 1, "dilation_w": 1}
    if op.kind == "ReduceMean":
        axes = w.numbers(op, 1, "axes", "axes") or ()
        if sorted(a % x.rank for a in axes) != [2, 3] or not op.integer("keepdims", 1):
            raise op.error(f"averages over axes {list(axes)}", "[2, 3], keepdims = 1")
    kernel = x.shape[2], x.shape[3]
    return kernel, windows.window(op, x.shape[2:], kernel)


def depth_to_space(w: Walk, op: Op) -> None:
    """Blocks of channels to places; mode CRD has a channel's block side by side."""
    size = op.integer("blocksize", 1)
    value = w.arranged(w.movable(w.given(op, 0)), IMAGE)
    batch, channels, height, width = value.shape
    if size < 1 or channels % (size * size):
        raise op.error(f"blocksize {size} of {channels} channels", "a block that divides them")
    made = w.moved_output(op, op.outputs[0], value, IMAGE)
    if op.text("mode", "DCR") == "DCR":
        w.build.node("depth_to_space", [value.tensor], [made.tensor], {"block_size": size})
        return
    deep = channels // (size * size)
    split = (batch, height, width, deep, size, size)
    perm = (0, 1, 4, 2, 5, 3)
    codes = w.build.tensors[value.tensor].codes
    names = [
        w.build.tensor(f"{made.tensor}/{i}", value.dtype, s, codes, "", in_order(6))
        for i, s in enumerate((split, tuple(split[p] for p in perm)))
    ]
    w.build.node("reshape", [value.tensor], [names[0]], {"shape": split})
    w.build.node("transpose", [names[0]], [names[1]], {"perm": perm})
    shape = tuple(made.shape[i] for i in inverse(IMAGE))
    w.build.node("reshape", [names[1]], [made.tensor], {"shape": shape})
