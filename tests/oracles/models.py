"""Models of one operator, from quantizations and arrays of codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tflite_builder import Op, Tensor, build_model

from oracles.elementwise import Q
from oracles.runtime import Runtime

_NAMES = {(8, True): "i8", (8, False): "u8", (16, True): "i16", (32, True): "i32"}
INT8, UINT8, INT16 = (8, True), (8, False), (16, True)


def dtype_of(q: Q) -> type:
    return {"i8": np.int8, "u8": np.uint8, "i16": np.int16, "i32": np.int32}[_NAMES[q[2:]]]


def random_q(rng: np.random.Generator, kind: tuple[int, bool], around: float) -> Q:
    """A scale within a factor of four of ``around``; 16-bit codes have no zero point."""
    probe = Q(1.0, 0, *kind)
    zero = int(rng.integers(probe.low, probe.high + 1)) if kind[0] == 8 else 0
    return Q(float(np.float32(around * 2 ** rng.uniform(-2, 2))), zero, *kind)


def random_codes(rng: np.random.Generator, q: Q, shape: Sequence[int] | int) -> np.ndarray:
    return rng.integers(q.low, q.high + 1, shape).astype(dtype_of(q))


def all_codes(q: Q, step: int = 1) -> np.ndarray:
    return np.array([*range(q.low, q.high, step), q.high]).astype(dtype_of(q))


def tensor(name: str, shape: Sequence[int], q: Q, data: np.ndarray | None = None) -> Tensor:
    return Tensor(name, shape, _NAMES[q[2:]], q.scale, q.zero_point, data)


def indices(name: str, values: Sequence[int]) -> Tensor:
    return Tensor(name, (len(values),), "i32", data=np.array(values, np.int32))


def operator(
    kind: str,
    inputs: Sequence[tuple[np.ndarray, Q | None]],
    out: tuple[Sequence[int], Q],
    options: Mapping[str, Any] | None = None,
    constants: Sequence[Tensor] = (),
    resolver: str = "BUILTIN_REF",
) -> np.ndarray:
    """Run one operator: ``inputs`` then ``constants``; an input without quantization is float32."""
    names = [f"x{i}" for i in range(len(inputs))]
    tensors = [
        Tensor(n, x.shape, "f32") if q is None else tensor(n, x.shape, q)
        for n, (x, q) in zip(names, inputs, strict=True)
    ]
    tensors += [*constants, tensor("y", *out)]
    op = Op(kind, [*names, *(c.name for c in constants)], "y", options or {})
    content = build_model(tensors, [op], names, ["y"])
    return Runtime(content, resolver).run(*(x for x, _ in inputs))
