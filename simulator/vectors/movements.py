"""Cases of operators that only move codes, by their constant inputs and attributes for a shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from simulator.graph.ir import Attribute
from simulator.tensor import TensorSpec
from simulator.vectors.build import (
    CODES,
    ELEMENTS,
    EMPTY,
    Case,
    Operand,
    Result,
    Rng,
    activation_of,
    any_shape,
    codes,
    next_scale,
    one_node,
    real,
    result_like,
)

Shape = tuple[int, ...]
Attributes = Mapping[str, Attribute]
Arguments = tuple[Sequence[Operand], Attributes]
KINDS = ("random", "corners", "zero_points", "ones", EMPTY)
# Of operators that need something to choose from.
WHOLE = KINDS[:-1]
_PIXELS = ("i8", "u8", "i32", "i64", "f32")  # LiteRT's kernels for space and depth know no int16


def movement(
    operator: str, arguments: Callable[[Rng, Shape], Arguments],
    shape_of: Callable[[Rng, str], Shape] = any_shape, types: Sequence[str] = ELEMENTS,
    parts: str = "",
) -> Callable[[Rng, str, str], Case]:  # fmt: skip
    """The maker of an operator; ``arguments``: constant inputs and attributes for a shape; ``parts``: the
    attribute that counts, or lists, its outputs."""

    def make(rng: Rng, kind: str, profile: str) -> Case:
        dtype, shape = str(rng.choice(list(types))), shape_of(rng, kind)
        more, attrs = arguments(rng, shape)
        x = activation_of(rng, "x", shape, dtype, kind)
        result: Result | list[Result] = result_like(x)
        if parts:
            count = attrs[parts]
            result = [result_like(x)] * (len(count) if isinstance(count, tuple) else int(count))
        graph = one_node(operator, [x, *more], result, profile, attrs)
        return Case(kind, graph, {"x": codes(rng, dtype, shape, kind)})

    return make


def numbers(name: str, values: np.ndarray | Sequence[int] | int) -> Operand:
    """A constant input of int32."""
    array = np.asarray(values, np.int32)
    return Operand(name, array.shape, "i32", values=array)


def _ints(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(v) for v in values)


def reshape(rng: Rng, shape: Shape) -> Arguments:
    return (), {"shape": _ints(rng.permutation([*shape, 1]))}


def pad(rng: Rng, shape: Shape) -> Arguments:
    return [numbers("amounts", rng.integers(0, 4, (len(shape), 2)))], {}


def mirror_pad(rng: Rng, shape: Shape) -> Arguments:
    """REFLECT leaves the border out, so it can reach one element less."""
    mode = str(rng.choice(["REFLECT", "SYMMETRIC"]))
    most = [[size + (mode == "SYMMETRIC")] * 2 for size in shape]
    return [numbers("amounts", rng.integers(0, most))], {"mode": mode}


def transpose(rng: Rng, shape: Shape) -> Arguments:
    return (), {"perm": _ints(rng.permutation(len(shape)))}


def slice_(rng: Rng, shape: Shape) -> Arguments:
    begin = rng.integers(0, shape)
    return (), {"begin": _ints(begin), "size": _ints(rng.integers(1, np.array(shape) - begin + 1))}


def strided_slice(rng: Rng, shape: Shape) -> Arguments:
    """Forwards and backwards; an end of -1 lies before the first element, as in Python's ``range``."""
    begin, end, strides = [], [], []
    for size in shape:
        first, last = sorted(int(i) for i in rng.integers(0, size, 2))
        step = int(rng.integers(1, 4))
        backwards = bool(rng.integers(2))
        taken = range(last, first - 1, -step) if backwards else range(first, last + 1, step)
        begin.append(taken.start)
        end.append(max(-1, taken.start + len(taken) * taken.step))
        strides.append(taken.step)
    return (), {"begin": tuple(begin), "end": tuple(end), "strides": tuple(strides)}


def expand_dims(rng: Rng, shape: Shape) -> Arguments:
    return [numbers("axis", rng.integers(-len(shape) - 1, len(shape) + 1, ()))], {}


def squeeze(rng: Rng, shape: Shape) -> Arguments:
    """Some of the dimensions of 1, or (an empty list) all of them."""
    ones = [d for d, size in enumerate(shape) if size == 1]
    return (), {"squeeze_dims": tuple(d for d in ones if rng.integers(2))}


def tile(rng: Rng, shape: Shape) -> Arguments:
    return [numbers("multiples", rng.integers(1, 4, len(shape)))], {}


def space_to_depth(rng: Rng, shape: Shape) -> Arguments:
    both = [b for b in (1, 2, 3) if shape[1] % b == 0 and shape[2] % b == 0]
    return (), {"block_size": int(rng.choice(both))}


def depth_to_space(rng: Rng, shape: Shape) -> Arguments:
    return (), {"block_size": int(rng.choice([b for b in (1, 2, 3) if shape[3] % (b * b) == 0]))}


def blocks_shape(rng: Rng, kind: str) -> Shape:
    """NHWC with sides and depths that blocks of 2 or 3 divide."""
    if kind == "ones":
        return (1, 1, 1, int(rng.integers(1, 9)))
    sides = rng.choice([1, 2, 3, 4, 6], 2)
    return (int(rng.integers(1, 3)), int(sides[0]), int(sides[1]), int(rng.choice([1, 4, 8, 9])))


def squeezable_shape(rng: Rng, kind: str) -> Shape:
    """With at least one dimension of 1."""
    return (1, *any_shape(rng, kind, 3))


def broadcast_to(rng: Rng, shape: Shape) -> Arguments:
    """Dimensions of 1 grow, and others come before them."""
    wider = [int(rng.integers(1, 5)) if size == 1 else size for size in shape]
    return [numbers("shape", [*rng.integers(1, 4, rng.integers(0, 3)), *wider])], {}


def _blocks(rng: Rng, shape: Shape) -> np.ndarray:
    return rng.integers(1, 4, len(shape) - 2)


def space_to_batch(rng: Rng, shape: Shape) -> Arguments:
    """Padded at the start by anything, at the end up to whole blocks."""
    block = _blocks(rng, shape)
    before = rng.integers(0, 4, block.size)
    after = -(np.array(shape[1:-1]) + before) % block + block * rng.integers(0, 2, block.size)
    return [numbers("block", block), numbers("amounts", np.stack([before, after], axis=1))], {}


def batch_to_space(rng: Rng, shape: Shape) -> Arguments:
    """Blocks that divide the batch; cropped to at least one element."""
    block = np.ones(len(shape) - 2, int)
    block[0] = rng.choice([b for b in (1, 2, 3, 4) if shape[0] % b == 0])
    whole = np.array(shape[1:-1]) * block
    before = rng.integers(0, whole)
    crops = np.stack([before, rng.integers(0, whole - before)], axis=1)
    return [numbers("block", block), numbers("crops", crops)], {}


def spatial_shape(rng: Rng, kind: str) -> Shape:
    """A batch, one or two sides, a depth."""
    return tuple(int(s) for s in rng.integers(1, 2 if kind == "ones" else 7, rng.integers(3, 5)))


def split(rng: Rng, shape: Shape) -> Arguments:
    """Cut anywhere along one axis."""
    axis = int(rng.integers(len(shape)))
    cuts = sorted(rng.choice(shape[axis] - 1, int(rng.integers(0, min(4, shape[axis]))), False) + 1)
    ends = np.array([0, *cuts, shape[axis]])
    return (), {"axis": axis, "sizes": _ints(np.diff(ends))}


def unpack(rng: Rng, shape: Shape) -> Arguments:
    axis = int(rng.integers(-len(shape), len(shape)))
    return (), {"axis": axis, "num": shape[axis]}


def gather(rng: Rng, shape: Shape) -> Arguments:
    """Some indices along one axis, for each of the batches before it where there are such."""
    axis = int(rng.integers(len(shape)))
    batch = int(rng.integers(axis + 1)) if rng.integers(3) == 0 else 0
    chosen = (*shape[:batch], *(int(n) for n in rng.integers(1, 6, rng.integers(1, 3))))
    return [numbers("at", rng.integers(0, shape[axis], chosen))], {
        "axis": axis,
        "batch_dims": batch,
    }


def gather_nd(rng: Rng, shape: Shape) -> Arguments:
    depth = int(rng.integers(1, len(shape) + 1))
    rows = tuple(int(n) for n in rng.integers(1, 6, rng.integers(0, 3)))
    at = np.stack([rng.integers(0, size, rows) for size in shape[:depth]], axis=-1)
    return [numbers("at", at)], {}


def cast(rng: Rng, kind: str, profile: str) -> Case:
    """Numbers of one type as another; reals around the ends of integer types."""
    source, target = (str(t) for t in rng.choice(ELEMENTS, 2))
    x = codes(rng, source, any_shape(rng, kind), kind)
    if source == "f32" and target != "f32":
        spec = TensorSpec((), target)
        ends = np.array([spec.minimum, spec.maximum, 0, 2**31, 2**63], np.float64)
        near = rng.choice(ends.astype(np.float32), x.shape)
        x = (near + rng.integers(-3, 4, x.shape) * np.float32(0.5)).astype(np.float32)
    graph = one_node("cast", [Operand("x", x.shape, source)], Result(target), profile)
    return Case(kind, graph, {"x": x})


def padv2(rng: Rng, kind: str, profile: str) -> Case:
    """Padding by a value."""
    dtype, shape = str(rng.choice(ELEMENTS)), any_shape(rng, kind)
    x = activation_of(rng, "x", shape, dtype, kind)
    value = Operand("value", (1,), dtype, x.scales, x.zero_point, codes(rng, dtype, (1,), kind))
    amounts = numbers("amounts", rng.integers(0, 4, (len(shape), 2)))
    graph = one_node("padv2", [x, amounts, value], result_like(x), profile)
    return Case(kind, graph, {"x": codes(rng, dtype, shape, kind)})


def reinterpret(rng: Rng, kind: str, profile: str) -> Case:
    """Codes taken as those of another scale and zero point."""
    dtype, shape = str(rng.choice(CODES)), any_shape(rng, kind)
    x, y = (activation_of(rng, name, shape, dtype, kind) for name in "xy")
    _, attrs = reshape(rng, shape)
    return Case(
        kind, one_node("reinterpret", [x], result_like(y), profile, attrs),
        {"x": codes(rng, dtype, shape, kind)},
    )  # fmt: skip


def pack(rng: Rng, kind: str, profile: str) -> Case:
    """Several tensors of one shape along a new axis."""
    dtype, shape = str(rng.choice(ELEMENTS)), any_shape(rng, kind)
    first, count = activation_of(rng, "x0", shape, dtype, kind), int(rng.integers(1, 5))
    parts = [replace(first, name=f"x{i}") for i in range(count)]
    attrs = {"axis": int(rng.integers(-len(shape) - 1, len(shape) + 1))}
    graph = one_node("pack", parts, result_like(first), profile, attrs)
    return Case(kind, graph, {p.name: codes(rng, dtype, shape, kind) for p in parts})


def concatenation(rng: Rng, kind: str, profile: str) -> Case:
    """Along any axis; uint8 parts may have scales of their own, in simple ratios so that there are ties."""
    dtype, shape = str(rng.choice([*ELEMENTS, "u8"])), any_shape(rng, kind)
    axis = int(rng.integers(len(shape)))
    if kind == EMPTY:
        shape, axis = (*shape, 3), len(shape)
    first = activation_of(rng, "x0", shape, dtype, kind)
    parts = []
    for i in range(int(rng.integers(1, 5))):
        size = 1 if kind == "ones" else int(rng.integers(1, 9))
        part = replace(first, name=f"x{i}", shape=(*shape[:axis], size, *shape[axis + 1 :]))
        if kind in ("ties", "one_ulp") and dtype == "u8" and i:
            other = real(first.scales[0] * rng.choice([0.5, 0.25, 1.5, 0.75, 2.0]))
            other = next_scale(other, int(rng.integers(-1, 2)) if kind == "one_ulp" else 0)
            part = replace(part, scales=(other,), zero_point=int(rng.integers(256)))
        parts.append(part)
    attrs: Attributes = {"axis": axis - len(shape) * int(rng.integers(2)), "activation": "NONE"}
    graph = one_node("concatenation", parts, result_like(first), profile, attrs)
    return Case(kind, graph, {p.name: codes(rng, dtype, p.shape, kind) for p in parts})


MOVEMENTS: dict[str, Callable[[Rng, str, str], Case]] = {
    "batch_to_space_nd": movement("batch_to_space_nd", batch_to_space, spatial_shape),
    "broadcast_to": movement("broadcast_to", broadcast_to),
    "cast": cast,
    "concatenation": concatenation,
    "depth_to_space": movement("depth_to_space", depth_to_space, blocks_shape, _PIXELS),
    "expand_dims": movement("expand_dims", expand_dims),
    "gather": movement("gather", gather),
    "gather_nd": movement("gather_nd", gather_nd),
    "mirror_pad": movement("mirror_pad", mirror_pad),
    "pack": pack,
    "pad": movement("pad", pad),
    "padv2": padv2,
    "reinterpret": reinterpret,
    "reshape": movement("reshape", reshape),
    "slice": movement("slice", slice_),
    "space_to_batch_nd": movement("space_to_batch_nd", space_to_batch, spatial_shape),
    "space_to_depth": movement("space_to_depth", space_to_depth, blocks_shape, _PIXELS),
    "split": movement("split", split, parts="sizes"),
    "squeeze": movement("squeeze", squeeze, squeezable_shape),
    "strided_slice": movement("strided_slice", strided_slice),
    "tile": movement("tile", tile),
    "transpose": movement("transpose", transpose),
    "unpack": movement("unpack", unpack, types=(*CODES, "i32", "f32"), parts="num"),
}
