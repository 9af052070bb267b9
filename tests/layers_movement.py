"""Random layers that move elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import layers_indexing
import numpy as np
from layer_parts import SAMPLES, Layer, Rng, any_shape, one_input, scale, zero_point
from movement_parts import CODES, an_axis, elements, layer, like, operand, tensor
from tflite_builder import Op, Tensor


def pad(rng: Rng) -> Layer:
    x = tensor(rng, "x", any_shape(rng))
    amounts = rng.integers(0, 4, (len(x.shape), 2))
    out = [s + a.sum() for s, a in zip(x.shape, amounts, strict=True)]
    return layer(rng, "PAD", x, [out], [operand(rng, "amounts", amounts)])


def padv2(rng: Rng) -> Layer:
    x = tensor(rng, "x", any_shape(rng))
    amounts = rng.integers(0, 4, (len(x.shape), 2))
    out = [s + a.sum() for s, a in zip(x.shape, amounts, strict=True)]
    value = replace(like(x, "value", (1,)), data=elements(rng, x.dtype, 1))
    return layer(rng, "PADV2", x, [out], [operand(rng, "amounts", amounts), value])


def mirror_pad(rng: Rng) -> Layer:
    x, mode = tensor(rng, "x", any_shape(rng)), int(rng.integers(2))
    most = [s - 1 + mode for s in x.shape]
    amounts = [[int(rng.integers(min(m, 4) + 1)) for _ in range(2)] for m in most]
    out = [s + sum(a) for s, a in zip(x.shape, amounts, strict=True)]
    return layer(rng, "MIRROR_PAD", x, [out], [operand(rng, "amounts", amounts)], {"Mode": mode})


def reshape(rng: Rng) -> Layer:
    x = tensor(rng, "x", any_shape(rng))
    out = [int(s) for s in rng.permutation([*x.shape, 1])]
    said = list(out)
    if rng.integers(2):
        said[rng.integers(len(said))] = -1
    if rng.integers(3) == 0:  # said by the options alone
        return layer(rng, "RESHAPE", x, [out], [], {"NewShape": said})
    return layer(
        rng, "RESHAPE", x, [out], [operand(rng, "shape", said, ("i32",))], {"NewShape": out}
    )


def reinterpret(rng: Rng) -> Layer:
    """A RESHAPE to another quantization."""
    x = tensor(rng, "x", any_shape(rng), CODES)
    out = [int(s) for s in rng.permutation([*x.shape, 1])]
    y = Tensor("y", tuple(out), x.dtype, scale(rng), zero_point(rng, x.dtype))
    op = Op("RESHAPE", ["x"], "y", {"NewShape": out})
    return one_input([x, y], op, elements(rng, x.dtype, SAMPLES, *x.shape))


def squeeze(rng: Rng) -> Layer:
    shape = [int(s) for s in rng.choice([1, 1, 2, 3, 7], rng.integers(2, 6))]
    ones = [d for d, s in enumerate(shape) if s == 1]
    some = [d for d in ones if rng.integers(2)]
    left_out = some or ones
    said = [d - len(shape) * int(rng.integers(2)) for d in some]
    out = [s for d, s in enumerate(shape) if d not in left_out]
    return layer(rng, "SQUEEZE", tensor(rng, "x", shape), [out], [], {"SqueezeDims": said})


def expand_dims(rng: Rng) -> Layer:
    x = tensor(rng, "x", any_shape(rng))
    axis, said = an_axis(rng, len(x.shape) + 1)
    out = (*x.shape[:axis], 1, *x.shape[axis:])
    return layer(rng, "EXPAND_DIMS", x, [out], [operand(rng, "axis", said)])


def transpose(rng: Rng) -> Layer:
    shape = [int(s) for s in rng.integers(1, 6, rng.integers(1, 7))]
    order = [int(a) for a in rng.permutation(len(shape))]
    said = [a - len(shape) * int(rng.integers(2)) for a in order]
    out = [shape[a] for a in order]
    return layer(
        rng, "TRANSPOSE", tensor(rng, "x", shape), [out], [operand(rng, "order", said, ("i32",))]
    )  # fmt: skip


def slice_(rng: Rng) -> Layer:
    shape = [int(s) for s in rng.integers(1, 9, rng.integers(1, 6))]
    begin = [int(rng.integers((s + 1) // 2)) for s in shape]
    out = [int(rng.integers(s // 2, s - b) + 1) for s, b in zip(shape, begin, strict=True)]
    said = [
        -1 if b + z == s and rng.integers(2) else z
        for s, b, z in zip(shape, begin, out, strict=True)
    ]
    begin_and_size = [operand(rng, "begin", begin, ("i32",)), operand(rng, "size", said, ("i32",))]
    return layer(rng, "SLICE", tensor(rng, "x", shape), [out], begin_and_size)


_ENTRIES = ("range", "range", "range", "backwards", "backwards", "index", "new", "ellipsis")


def _entry(rng: Rng, kind: str, size: int) -> tuple[tuple[int, int, int], tuple[int, int], Any]:
    """(begin, end, stride), (begin masked, end masked) and the Python subscript that says the same."""
    if kind == "index":
        at = int(rng.integers(-size, size))
        return (at, int(rng.integers(-9, 9)), 1), (0, int(rng.integers(2))), at
    masks = int(rng.integers(4) == 0), int(rng.integers(4) == 0)
    step = int(rng.integers(1, 4)) * (-1 if kind == "backwards" else 1)
    while True:
        begin, end = (int(v) for v in rng.integers(-size - 2, size + 3, 2))
        subscript = slice(None if masks[0] else begin, None if masks[1] else end, step)
        # From an end of -size - 1 or less Python's and TensorFlow's ranges run down to the start alike.
        if len(range(size)[subscript]):
            return (begin, end, step), masks, subscript


def strided_slice(rng: Rng) -> Layer:
    """Subscripts as numpy reads them, turned into masks."""
    shape = [int(s) for s in rng.integers(1, 7, rng.integers(1, 6))]
    entries: list[tuple[int, int, int]] = []
    subscripts: list[Any] = []
    masks: dict[str, Any] = dict.fromkeys(
        ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask"), 0
    )
    taken = 0
    while taken < len(shape) and rng.integers(6):
        kind, bit = str(rng.choice(_ENTRIES)), 1 << len(entries)
        if kind == "new":
            masks["NewAxisMask"] |= bit
            entries.append((int(rng.integers(-3, 3)), int(rng.integers(-3, 3)), 1))
            subscripts.append(np.newaxis)
        elif kind == "ellipsis":
            if masks["EllipsisMask"] or rng.integers(2):
                continue
            masks["EllipsisMask"] |= bit
            entries.append((0, 0, 1))
            subscripts.append(...)
            # What follows counts from the end; at least one dimension is the ellipsis's.
            taken += int(rng.integers(1, len(shape) - taken + 1))
        else:
            entry, (first, last), subscript = _entry(rng, kind, shape[taken])
            entries.append(entry)
            subscripts.append(subscript)
            masks["BeginMask"] |= bit * first
            masks["EndMask"] |= bit * last
            masks["ShrinkAxisMask"] |= bit * (kind == "index")
            taken += 1
    if not entries or (masks["EllipsisMask"] and taken < len(shape)):
        return strided_slice(rng)
    out = np.zeros(shape, np.int8)[tuple(subscripts)].shape
    operands = [
        operand(rng, name, values, ("i32",))
        for name, values in zip(
            ("begin", "end", "strides"), zip(*entries, strict=True), strict=True
        )
    ]
    return layer(rng, "STRIDED_SLICE", tensor(rng, "x", shape), [out], operands, masks)


def split(rng: Rng) -> Layer:
    """SPLIT or SPLIT_V."""
    if rng.integers(2):
        return split_v(rng)
    shape, count = list(any_shape(rng)), int(rng.integers(1, 5))
    axis, said = an_axis(rng, len(shape))
    part = [*shape[:axis], int(rng.integers(1, 4)), *shape[axis + 1 :]]
    shape[axis] = part[axis] * count
    return layer(
        rng, "SPLIT", tensor(rng, "x", shape), [part] * count, [operand(rng, "axis", said, ("i32",))],
        {"NumSplits": count}, x_last=True,
    )  # fmt: skip


def split_v(rng: Rng) -> Layer:
    shape, sizes = list(any_shape(rng)), [int(s) for s in rng.integers(1, 4, rng.integers(1, 5))]
    axis, axis_said = an_axis(rng, len(shape))
    shape[axis], said = sum(sizes), list(sizes)
    if rng.integers(2):
        said[rng.integers(len(said))] = -1
    parts = [[*shape[:axis], size, *shape[axis + 1 :]] for size in sizes]
    operands = [operand(rng, "sizes", said), operand(rng, "axis", axis_said, ("i32",))]
    options = {"NumSplits": len(sizes)}
    return layer(rng, "SPLIT_V", tensor(rng, "x", shape), parts, operands, options)


def _together(
    rng: Rng, kind: str, tensors: list[Tensor], y: Tensor, options: dict[str, Any]
) -> Layer:
    """A model of one operator of all ``tensors``, one of them twice or constant now and then."""
    names = [t.name for t in tensors]
    if len(tensors) > 1 and rng.integers(3) == 0:
        tensors[-1] = replace(
            tensors[-1], data=elements(rng, tensors[-1].dtype, *tensors[-1].shape)
        )  # fmt: skip
    inputs = {t.name: elements(rng, t.dtype, SAMPLES, *t.shape) for t in tensors if t.data is None}
    return Layer([*tensors, y], [Op(kind, names, "y", options)], inputs, ["y"])


def concatenation(rng: Rng) -> Layer:
    first = tensor(rng, "x0", any_shape(rng))
    if rng.integers(3) == 0:  # the uint8 kernel rescales
        first = Tensor("x0", first.shape, "u8", scale(rng), zero_point(rng, "u8"))
    axis, said = an_axis(rng, len(first.shape))
    tensors = []
    for i in range(int(rng.integers(1, 5))):
        size = int(rng.integers(1, 5))
        t = like(first, f"x{i}", (*first.shape[:axis], size, *first.shape[axis + 1 :]))
        if first.dtype == "u8" and rng.integers(3):
            # Halves and quarters make ties.
            ratio = rng.choice([0.5, 0.25, 1.5, 2.0, np.exp(rng.uniform(-2, 2))])
            t = replace(t, scale=np.float32(first.scale * ratio), zero_point=zero_point(rng, "u8"))
        tensors.append(t)
    total = sum(t.shape[axis] for t in tensors)
    y = like(first, "y", (*first.shape[:axis], total, *first.shape[axis + 1 :]))
    return _together(rng, "CONCATENATION", tensors, y, {"Axis": said})


def pack(rng: Rng) -> Layer:
    first, count = tensor(rng, "x0", any_shape(rng)), int(rng.integers(1, 5))
    axis, said = an_axis(rng, len(first.shape) + 1)
    y = like(first, "y", (*first.shape[:axis], count, *first.shape[axis:]))
    tensors = [like(first, f"x{i}", first.shape) for i in range(count)]
    return _together(rng, "PACK", tensors, y, {"ValuesCount": count, "Axis": said})


def unpack(rng: Rng) -> Layer:
    shape = any_shape(rng)
    axis, said = an_axis(rng, len(shape))
    part = (*shape[:axis], *shape[axis + 1 :])
    x = tensor(rng, "x", shape, (*CODES, "i32", "f32"))  # its kernel knows no int64
    options = {"Num": shape[axis], "Axis": said}
    return layer(rng, "UNPACK", x, [part] * shape[axis], [], options)


_PIXELS = ("i8", "u8", "i32", "i64", "f32")  # space and depth: the kernels know no int16


def space_to_depth(rng: Rng) -> Layer:
    batch, height, width, depth, size = (int(n) for n in rng.integers(1, 5, 5))
    x = tensor(rng, "x", (batch, height * size, width * size, depth), _PIXELS)
    out = (batch, height, width, depth * size * size)
    return layer(rng, "SPACE_TO_DEPTH", x, [out], [], {"BlockSize": size})


def depth_to_space(rng: Rng) -> Layer:
    batch, height, width, depth, size = (int(n) for n in rng.integers(1, 5, 5))
    x = tensor(rng, "x", (batch, height, width, depth * size * size), _PIXELS)
    out = (batch, height * size, width * size, depth)
    return layer(rng, "DEPTH_TO_SPACE", x, [out], [], {"BlockSize": size})


def _blocks(rng: Rng) -> tuple[list[int], list[list[int]], list[int], int, int]:
    """Block, amounts, whole blocks along each spatial dimension, batch and depth."""
    space = int(rng.integers(1, 3))
    block = [int(n) for n in rng.integers(1, 5, space)]
    amounts = [[int(a) for a in rng.integers(0, 4, 2)] for _ in block]
    count = [int(n) for n in rng.integers(1, 5, space)]
    batch, depth = (int(n) for n in rng.integers(1, 4, 2))
    return block, amounts, count, batch, depth


def space_to_batch_nd(rng: Rng) -> Layer:
    while True:
        block, amounts, count, batch, depth = _blocks(rng)
        space = [n * c - sum(a) for n, c, a in zip(block, count, amounts, strict=True)]
        if min(space) >= 1:
            break
    operands = [operand(rng, "block", block, ("i32",)), operand(rng, "amounts", amounts, ("i32",))]
    out = (batch * math.prod(block), *count, depth)
    return layer(
        rng, "SPACE_TO_BATCH_ND", tensor(rng, "x", (batch, *space, depth)), [out], operands
    )


def batch_to_space_nd(rng: Rng) -> Layer:
    while True:
        block, crops, count, batch, depth = _blocks(rng)
        space = [n * c - sum(a) for n, c, a in zip(block, count, crops, strict=True)]
        if min(space) >= 1:
            break
    operands = [operand(rng, "block", block, ("i32",)), operand(rng, "crops", crops, ("i32",))]
    x = tensor(rng, "x", (batch * math.prod(block), *count, depth))
    return layer(rng, "BATCH_TO_SPACE_ND", x, [(batch, *space, depth)], operands)


def tile(rng: Rng) -> Layer:
    shape = [int(s) for s in rng.integers(1, 5, rng.integers(1, 5))]
    multiples = [int(m) for m in rng.integers(1, 4, len(shape))]
    out = [s * m for s, m in zip(shape, multiples, strict=True)]
    return layer(
        rng, "TILE", tensor(rng, "x", shape), [out], [operand(rng, "multiples", multiples)]
    )


def broadcast_to(rng: Rng) -> Layer:
    out = [int(s) for s in rng.integers(1, 6, rng.integers(1, 6))]
    own = out[rng.integers(len(out)) :]
    shape = [1 if rng.integers(2) else s for s in own]
    return layer(rng, "BROADCAST_TO", tensor(rng, "x", shape), [out], [operand(rng, "shape", out)])


LAYERS: dict[str, Callable[[Rng], Layer]] = {
    "batch_to_space_nd": batch_to_space_nd, "broadcast_to": broadcast_to,
    "concatenation": concatenation, "depth_to_space": depth_to_space, "expand_dims": expand_dims,
    "mirror_pad": mirror_pad, "pack": pack, "pad": pad,
    "padv2": padv2, "reinterpret": reinterpret, "reshape": reshape, "slice": slice_,
    "space_to_batch_nd": space_to_batch_nd, "space_to_depth": space_to_depth, "split": split,
    "squeeze": squeeze, "strided_slice": strided_slice, "tile": tile,
    "transpose": transpose, "unpack": unpack,
    **layers_indexing.LAYERS,
}  # fmt: skip
