"""Random layers that choose elements by indices, or change their type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from layer_parts import SAMPLES, Layer, Rng, any_shape, one_input
from movement_parts import ALL, an_axis, elements, layer, like, tensor
from tflite_builder import Op, Tensor


def _with_indices(
    rng: Rng, kind: str, x: Tensor, out: Sequence[int], indices: np.ndarray, options: dict[str, Any]
) -> Layer:
    """``indices`` (samples, ...) as a constant, the first of them, or as an input."""
    width = str(rng.choice(["i32", "i64"]))
    indices = indices.astype({"i32": np.int32, "i64": np.int64}[width])
    if rng.integers(2):
        at = Tensor("at", indices.shape[1:], width, data=indices[0])
        return layer(rng, kind, x, [out], [at], options)
    tensors = [x, Tensor("at", indices.shape[1:], width), like(x, "y", out)]
    inputs = {"x": elements(rng, x.dtype, SAMPLES, *x.shape), "at": indices}
    return Layer(tensors, [Op(kind, ["x", "at"], "y", options)], inputs, ["y"], bounded=["at"])


def gather(rng: Rng) -> Layer:
    shape = any_shape(rng)
    axis, said = an_axis(rng, len(shape))
    batch = int(rng.integers(axis + 1)) if rng.integers(3) == 0 else 0
    chosen = (
        *shape[:batch],
        *(int(n) for n in rng.integers(1, 6, rng.integers(0 if batch else 1, 3))),
    )
    indices = rng.integers(0, shape[axis], (SAMPLES, *chosen))
    if rng.integers(3) == 0:  # neighbours, so that runs form
        indices = np.sort(indices, axis=-1)
    out = (*shape[:axis], *chosen[batch:], *shape[axis + 1 :])
    options = {"Axis": said, "BatchDims": batch}
    return _with_indices(rng, "GATHER", tensor(rng, "x", shape), out, indices, options)


def gather_nd(rng: Rng) -> Layer:
    shape = any_shape(rng)
    depth = int(rng.integers(1, len(shape) + 1))
    rows = tuple(int(n) for n in rng.integers(1, 6, rng.integers(0, 3)))
    indices = np.stack([rng.integers(0, s, (SAMPLES, *rows)) for s in shape[:depth]], axis=-1)
    out = (*rows, *shape[depth:])
    return _with_indices(rng, "GATHER_ND", tensor(rng, "x", shape), out, indices, {})


def cast(rng: Rng) -> Layer:
    source, target = (str(k) for k in rng.choice(ALL, 2))
    x, shape = elements(rng, source, SAMPLES, 7, *any_shape(rng)), 0
    if source == "f32" and target != "f32":  # both sides of every end
        info = np.iinfo({"u8": np.uint8}.get(target, np.dtype(f"int{target[1:]}")))
        ends = np.array([info.min, info.max, 0, 2**31, 2**63], np.float64).astype(np.float32)
        near = rng.choice(ends, x.shape) + rng.integers(-3, 4, x.shape) * np.float32(0.5)
        x = np.where(rng.integers(2, size=x.shape), np.nextafter(near, np.float32(0)), x)
    shape = x.shape[1:]
    tensors = [Tensor("x", shape, source), Tensor("y", shape, target)]
    x = x.astype(np.float32) if source == "f32" else x
    return one_input(tensors, Op("CAST", ["x"], "y"), x)


LAYERS: dict[str, Callable[[Rng], Layer]] = {"cast": cast, "gather": gather, "gather_nd": gather_nd}
