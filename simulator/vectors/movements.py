"""Cases of operators that only move codes, by their constant inputs and attributes for a shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from simulator.graph.ir import Attribute
from simulator.vectors.build import (
    INTEGERS,
    Case,
    Operand,
    Result,
    Rng,
    any_scale,
    any_shape,
    any_zero_point,
    codes,
    one_node,
)

Shape = tuple[int, ...]
Attributes = Mapping[str, Attribute]
Arguments = tuple[Sequence[Operand], Attributes]
KINDS = ("random", "corners", "zero_points", "ones")


def movement(
    operator: str, arguments: Callable[[Rng, Shape], Arguments],
    shape_of: Callable[[Rng, str], Shape] = any_shape, types: Sequence[str] = INTEGERS,
) -> Callable[[Rng, str, str], Case]:  # fmt: skip
    """The maker of an operator; ``arguments``: constant inputs and attributes for a shape."""

    def make(rng: Rng, kind: str, profile: str) -> Case:
        dtype, shape = str(rng.choice(list(types))), shape_of(rng, kind)
        scale, zero = any_scale(rng), any_zero_point(rng, dtype, kind)
        more, attrs = arguments(rng, shape)
        x = Operand("x", shape, dtype, (scale,), zero)
        graph = one_node(operator, [x, *more], Result(dtype, scale, zero), profile, attrs)
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


MOVEMENTS: dict[str, Callable[[Rng, str, str], Case]] = {
    "depth_to_space": movement("depth_to_space", depth_to_space, blocks_shape),
    "expand_dims": movement("expand_dims", expand_dims),
    "mirror_pad": movement("mirror_pad", mirror_pad),
    "pad": movement("pad", pad),
    "reshape": movement("reshape", reshape),
    "slice": movement("slice", slice_),
    "space_to_depth": movement("space_to_depth", space_to_depth, blocks_shape),
    "squeeze": movement("squeeze", squeeze, squeezable_shape),
    "strided_slice": movement("strided_slice", strided_slice),
    "tile": movement("tile", tile),
    "transpose": movement("transpose", transpose),
}
