"""What makers of layers that move elements share: elements, tensors, operands, models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from layer_parts import SAMPLES, Layer, Rng, codes, point, scale
from tflite_builder import Op, Tensor

CODES = ("i8", "u8", "i16")
ALL = (*CODES, "i32", "i64", "f32")


def elements(rng: Rng, dtype: str, *shape: int) -> np.ndarray:
    """Any elements; among reals what is easily lost: infinities, NaN and a negative zero."""
    if dtype != "f32":
        return codes(rng, dtype, *shape)
    values = rng.normal(0, 1000, shape).astype(np.float32)
    odd = rng.choice(np.array([np.inf, -np.inf, np.nan, -0.0, 1e-42], np.float32), shape)
    return np.where(rng.random(shape) < 0.1, odd, values).astype(np.float32)


def tensor(rng: Rng, name: str, shape: Sequence[int], dtypes: Sequence[str] = ALL) -> Tensor:
    """A tensor of one of ``dtypes``, quantized if it holds codes; half of the time it is int8."""
    kind = str(rng.choice(dtypes)) if rng.integers(2) else dtypes[0]
    if kind not in CODES:
        return Tensor(name, tuple(shape), kind)
    # Several kernels want int16 to have a zero point of 0.
    zero = point(rng, kind)
    return Tensor(name, tuple(shape), kind, scale(rng), zero)


def like(x: Tensor, name: str, shape: Sequence[int]) -> Tensor:
    return replace(x, name=name, shape=tuple(int(s) for s in shape), data=None)


def operand(rng: Rng, name: str, values: Any, dtypes: Sequence[str] = ("i32", "i64")) -> Tensor:
    kind = str(rng.choice(dtypes))
    data = np.array(values, {"i16": np.int16, "i32": np.int32, "i64": np.int64}[kind])
    return Tensor(name, data.shape, kind, data=data)


def layer(
    rng: Rng, kind: str, x: Tensor, shapes: Sequence[Sequence[int]], operands: Sequence[Tensor] = (),
    options: dict[str, Any] | None = None, *, x_last: bool = False,
) -> Layer:  # fmt: skip
    """A model of one operator with the outputs ``shapes``, all like ``x``."""
    outputs = [like(x, f"y{i}", shape) for i, shape in enumerate(shapes)]
    names = (
        [*(o.name for o in operands), x.name] if x_last else [x.name, *(o.name for o in operands)]
    )
    made = [o.name for o in outputs]
    op = Op(kind, names, made[0], options or {}, more_outputs=made[1:])
    inputs = {x.name: elements(rng, x.dtype, SAMPLES, *x.shape)}
    return Layer([x, *operands, *outputs], [op], inputs, made)


def an_axis(rng: Rng, dimensions: int) -> tuple[int, int]:
    """An axis, and the same as a file may say it: from the front or from the end."""
    axis = int(rng.integers(dimensions))
    return axis, axis - dimensions * int(rng.integers(2))
