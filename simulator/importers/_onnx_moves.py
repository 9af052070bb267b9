"""Operators that only move elements: on codes they give codes of the same scale and zero point."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simulator.importers._onnx_build import (
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


def identity(w: Walk, op: Op) -> None:
    """Identity, and Dropout when it is not trained."""
    if any(w.readers.get(n) for n in op.outputs[1:] if n):
        raise op.error("gives a mask", "its first output only")
    w.alias(op, w.given(op, 0))


def cast(w: Walk, op: Op) -> None:
    """Cast to the type a value has, or between int32 sums and float32."""
    value, kind = w.given(op, 0), w.kind(op)
    if w.file_dtype(value) == kind.dtype:
        w.alias(op, value)
        return
    if (value.dtype, kind.dtype) != ("i32", "f32") or value.view is not None:
        raise op.error(f"casts {w.file_dtype(value)} to {kind.dtype}", "i32 to f32")
    made = w.build.make(op.outputs[0], kind, value.axes)
    w.build.node("cast", [value.tensor], [made.tensor])
    w.env[op.outputs[0]] = made


def transpose(w: Walk, op: Op) -> None:
    """Another order of axes: nothing moves until something reads it in an order it is not kept in."""
    value = w.given(op, 0)
    perm = op.integers("perm") or tuple(reversed(range(value.rank)))
    if sorted(perm) != list(range(value.rank)):
        raise op.error(f"perm {list(perm)}", f"a permutation of 0..{value.rank - 1}")
    shape = tuple(value.shape[i] for i in perm)
    view = moved_params(value.view, tuple(perm.index(i) for i in range(value.rank)))
    constant, axes = value.constant, tuple(value.axes[i] for i in perm)
    if constant is not None:
        constant, axes = constant.transpose(perm), in_order(value.rank)
    w.alias(op, replace(value, shape=shape, axes=axes, view=view, constant=constant))


def reshape(w: Walk, op: Op) -> None:
    """Reshape, Flatten, Squeeze and Unsqueeze: the same elements, in the file's order, in another shape."""
    value, shape = w.given(op, 0), w.kind(op).shape
    if value.constant is not None:
        if value.view is not None and value.view.per_channel:
            raise op.error(
                f"reshapes constant {printable(value.name)!r} with several scales", "one"
            )
        w.allowance.take(value.constant.nbytes, op.where)  # where it is turned, reshaping copies it
        constant = value.constant.reshape(shape)
        w.alias(op, replace(value, shape=shape, axes=in_order(len(shape)), constant=constant))
        return
    if shape == value.shape:
        w.alias(op, value)
        return
    value = w.movable(value)
    axes = in_order(value.rank)
    order = [value.axes[i] for i in axes if value.shape[i] > 1]
    if order == sorted(order):
        axes = value.axes  # the bytes are in the file's order already
    value = w.arranged(value, axes)
    w.moved(op, "reshape", value, {"shape": shape}, order=in_order(len(shape)))


def concat(w: Walk, call: Call) -> None:
    """Concatenation of parts that have the output's scale; others are requantized first."""
    op = call.op
    values = [call.given(i) for i in range(len(call.inputs))]
    axes = common_axes(values)
    axis = _axis(op, "axis", len(axes), None)
    target = call.target
    names = []
    for value in values:
        source = w.build.arranged(value, axes)
        if call.quantized and (value.view, value.dtype) != (target.params, target.dtype):
            source = requantized(w, value, source, axes, target)
        names.append(source)
    w.result(call, "concatenation", names, axes, {"axis": axes[axis], "activation": "NONE"})


def requantized(w: Walk, value: Value, source: str, axes: Axes, target: Target) -> str:
    """The codes of ``value`` in the target's scale: dequantized and quantized again."""
    kind = ValueType(target.dtype, value.shape)
    assert target.params is not None
    if value.constant is not None:
        w.allowance.take(QUANTIZED_BYTES * value.constant.size, source)
        numbers = w.build.real(value).constant
        assert numbers is not None
        codes = quantized(numbers, target.params, target.dtype)
        again = Value(f"{value.name}/requantized", target.dtype, value.shape, constant=codes)
        return w.build.constant(again, axes, target.params)
    made = w.build.make(f"{source}/requantized", kind, axes, Codes(target.params), key="")
    w.build.node("quantize", [source], [made.tensor])
    return made.tensor


def common_axes(values: list[Value]) -> Axes:
    """The order in which most of the work is done: that of the first activation not in the file's."""
    rank = max(value.rank for value in values)
    for value in values:
        if value.constant is None and value.rank == rank and value.axes != in_order(rank):
            return value.axes
    return in_order(rank)


def plain_concat(w: Walk, op: Op, values: list[Value]) -> None:
    """Concatenation of values that share one scale (or are float32), whatever reads it."""
    parts = [w.movable(value) for value in values]
    axes = common_axes(parts)
    axis = _axis(op, "axis", len(axes), None)
    first, *rest = [w.arranged(part, axes) for part in parts]
    attrs: Attrs = {"axis": axes[axis], "activation": "NONE"}
    w.moved(op, "concatenation", first, attrs, tuple(part.tensor for part in rest))


def _axis(op: Op, key: str, rank: int, default: int | None) -> int:
    if default is None and key not in op.attrs:
        raise op.error(f"has no {key}", "an axis")
    axis = op.integer(key, default or 0)
    if not -rank <= axis < rank:
        raise op.error(f"{key} {axis} of {rank} axes", f"{-rank}..{rank - 1}")
    return axis % rank


class _Cut(NamedTuple):
    """Along one axis: first element, step, and how many."""

    begin: int
    step: int
    size: int


def slice_(w: Walk, op: Op) -> None:
    """Slice: a part of the tensor, or every few elements of it."""
    value, shape = w.movable(w.given(op, 0)), w.kind(op).shape
    cuts = _cuts(w, op, value)
    if tuple(cut.size for cut in cuts) != shape:
        raise op.error(f"cuts {list(shape)}", str([cut.size for cut in cuts]))
    ours: list[_Cut] = [cuts[value.axes.index(i)] for i in range(value.rank)]
    begin = tuple(cut.begin for cut in ours)
    if all(cut.step == 1 for cut in ours):
        size = tuple(cut.size for cut in ours)
        w.moved(op, "slice", value, {"begin": begin, "size": size})
        return
    # ``end`` is exclusive; going backwards past element 0 it is -1, which is no index from the end.
    end = tuple(cut.begin + cut.size * cut.step for cut in ours)
    end = tuple(max(-1, e) if cut.step < 0 else e for e, cut in zip(end, ours, strict=True))
    strides = tuple(cut.step for cut in ours)
    w.moved(op, "strided_slice", value, {"begin": begin, "end": end, "strides": strides})


def _cuts(w: Walk, op: Op, value: Value) -> list[_Cut]:
    starts = w.numbers(op, 1, "starts", "starts") or ()
    ends = w.numbers(op, 2, "ends", "ends") or ()
    axes = w.numbers(op, 3, "axes", "axes")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = w.numbers(op, 4, "steps", "steps") or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise op.error(f"has {len(starts)} starts, {len(ends)} ends", "as many of each")
    cuts = [_Cut(0, 1, size) for size in value.shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -value.rank <= axis < value.rank or step == 0:
            raise op.error(f"axis {axis}, step {step}", f"an axis of {value.rank}, a step not 0")
        size = value.shape[axis]
        chosen = range(size)[slice(start, _end(end, size, step), step)]
        cuts[axis] = _Cut(chosen.start, step, len(chosen))
    return cuts


def _end(end: int, size: int, step: int) -> int | None:
    """An end as Python slices take it: going backwards, one before the first element is None."""
    return None if step < 0 and end < -size else end


def split(w: Walk, op: Op) -> None:
    """Split: parts along one axis."""
    value = w.movable(w.given(op, 0))
    axis = _axis(op, "axis", value.rank, 0)
    kinds = [w.kind(op, i) for i in range(len(op.outputs)) if op.outputs[i]]
    sizes = tuple(kind.shape[axis] for kind in kinds)
    if len(kinds) != len(op.outputs) or sum(sizes) != value.shape[axis]:
        raise op.error(f"splits {value.shape[axis]} into {list(sizes)}", "all parts")
    made = [
        w.moved_output(op, name, value, value.axes, i).tensor for i, name in enumerate(op.outputs)
    ]
    w.build.node("split", [value.tensor], made, {"axis": value.axes[axis], "sizes": sizes})


def gather(w: Walk, op: Op) -> None:
    """Gather: the elements at constant places along one axis."""
    value = w.movable(w.given(op, 0))
    axis = _axis(op, "axis", value.rank, 0)
    indices = w.array(op, 1, "indices")
    if indices is None or indices.dtype.kind not in "iu":
        raise op.error("has no integer indices", "a constant")
    size = value.shape[axis]
    if ((indices < -size) | (indices >= size)).any():
        raise op.error(f"indices {indices.min()}..{indices.max()}", f"{-size}..{size - 1}")
    axes = value.axes if indices.ndim == 1 else in_order(value.rank)
    w.allowance.take(8 * indices.size, op.where)
    places = Value(
        op.input(1), "i32", indices.shape, constant=np.where(indices < 0, indices + size, indices)
    )
    name = w.build.constant(places, in_order(indices.ndim))
    order = axes if indices.ndim == 1 else in_order(value.rank + indices.ndim - 1)
    attrs: Attrs = {"axis": axes[axis], "batch_dims": 0}
    w.moved(op, "gather", w.arranged(value, axes), attrs, (name,), order)


def pad(w: Walk, op: Op) -> None:
    """Pad with a number (on codes: with its code) or by reflection."""
    value = w.movable(w.given(op, 0))
    amounts = _amounts(w, op, value)
    ours = np.array([amounts[value.axes.index(i)] for i in range(value.rank)], np.int32)
    table = Value(f"{op.outputs[0]}/amounts", "i32", ours.shape, constant=ours)
    name = w.build.constant(table, in_order(2))
    mode = op.text("mode", "constant")
    if mode == "reflect":
        w.moved(op, "mirror_pad", value, {"mode": "REFLECT"}, (name,))
        return
    if mode != "constant":
        raise op.error(f"mode {mode!r}", "constant, reflect")
    code = _pad_code(w, op, value)
    codes = w.build.tensors[value.tensor].codes.params
    if code == (codes.zero_point if codes else 0):
        w.moved(op, "pad", value, {}, (name,))
        return
    known = Value(f"{op.outputs[0]}/value", value.dtype, (), constant=np.array(code))
    filler = w.build.constant(known, (), codes)
    w.moved(op, "padv2", value, {}, (name, filler))


def _amounts(w: Walk, op: Op, value: Value) -> list[tuple[int, int]]:
    pads = w.numbers(op, 1, "pads", "pads") or ()
    axes = w.numbers(op, 3, "axes", "axes")
    axes = tuple(range(value.rank)) if axes is None else axes
    if len(pads) != 2 * len(axes) or not all(0 <= p <= 32767 for p in pads):
        raise op.error(f"pads {list(pads)}", f"{2 * len(axes)} numbers, 0..32767")
    amounts = [(0, 0)] * value.rank
    for i, axis in enumerate(axes):
        if not -value.rank <= axis < value.rank:
            raise op.error(f"axis {axis}", f"{-value.rank}..{value.rank - 1}")
        amounts[axis] = (pads[i], pads[i + len(axes)])
    return amounts


def _pad_code(w: Walk, op: Op, value: Value) -> int | float:
    """What is put around the tensor, as our tensor holds it."""
    stated = op.real("value", 0.0) if "value" in op.attrs else None
    if stated is None:
        given = w.array(op, 2, "value")
        stated = 0.0 if given is None else float(given.reshape(-1)[0]) if given.size == 1 else None
        if stated is None:
            raise op.error("pads with several values", "one number")
    if value.view is None:
        return stated if value.dtype == "f32" else int(stated)
    code = int(quantized(np.array(stated, np.float32), value.view, value.dtype))
    back = np.float32(code - value.view.zero_point) * np.float32(value.view.scale)
    if back != np.float32(stated):
        raise op.error(f"pads with {stated}, which no code stands for", f"such as {float(back)}")
    return code


def arg_max(w: Walk, op: Op) -> None:
    """ArgMax: the first place of the largest element."""
    if op.integer("select_last_index", 0):
        raise op.error("selects the last of equal elements", "select_last_index = 0")
    value = w.movable(w.given(op, 0))
    axis = _axis(op, "axis", value.rank, 0)
    keep, kind = op.integer("keepdims", 1), w.kind(op)
    attrs: Attrs = {"axis": value.axes[axis]}
    if not keep:
        value = w.in_file_order(value)
        made = w.build.make(op.outputs[0], kind, in_order(len(kind.shape)))
        w.build.node("arg_max", [value.tensor], [made.tensor], {"axis": axis})
        w.env[op.outputs[0]] = made
        return
    ours = w.build.tensors[value.tensor].spec.shape
    rest = tuple(size for d, size in enumerate(ours) if d != value.axes[axis])
    name = w.build.tensor(
        f"{op.outputs[0]}/places", kind.dtype, rest, Codes(), "", in_order(len(rest))
    )
    w.build.node("arg_max", [value.tensor], [name], attrs)
    made = w.build.make(op.outputs[0], kind, value.axes)
    shape = w.build.tensors[made.tensor].spec.shape
    w.build.node("reshape", [name], [made.tensor], {"shape": shape})
    w.env[op.outputs[0]] = made
