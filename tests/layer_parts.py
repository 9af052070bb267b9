"""What makers of random single-operator models share: shapes, windows, types, scales, activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import tflite
from tflite_builder import Op, Tensor, build_model

from simulator.tensor import TensorSpec

SAMPLES = 2
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
Rng = np.random.Generator


@dataclass(frozen=True)
class Layer:
    """A model and inputs for it; every array has samples as its first axis."""

    tensors: Sequence[Tensor]
    ops: Sequence[Op]
    inputs: dict[str, np.ndarray]
    outputs: Sequence[str]
    bounded: Sequence[str] = ()  # inputs that do not take every value of their type
    first_values: Mapping[str, np.ndarray] = field(default_factory=dict)  # of variables

    @cached_property
    def content(self) -> bytes:
        """The model file."""
        return build_model(
            self.tensors, self.ops, list(self.inputs), self.outputs, self.first_values
        )


def codes(rng: Rng, dtype: str, *shape: int) -> np.ndarray:
    """Codes over the whole range of ``dtype``; one time in eight only its two ends."""
    spec = TensorSpec((), dtype)
    if rng.integers(8) == 0:
        return rng.choice([spec.minimum, spec.maximum], shape).astype(spec.container)
    return rng.integers(spec.minimum, spec.maximum + 1, shape).astype(spec.container)


def zero_point(rng: Rng, dtype: str) -> int:
    """Either end of the range, the middle, or any code."""
    spec = TensorSpec((), dtype)
    middle = (spec.minimum + spec.maximum + 1) // 2
    anything = int(rng.integers(spec.minimum, spec.maximum + 1))
    return (spec.minimum, spec.maximum, middle, anything)[rng.integers(4)]


def point(rng: Rng, dtype: str) -> int:
    """A zero point as TensorFlow Lite allows it: 0 of 16-bit codes."""
    return 0 if dtype == "i16" else zero_point(rng, dtype)


def scale(rng: Rng, low: float = 1e-3, high: float = 1.0) -> np.float32:
    return np.float32(np.exp(rng.uniform(np.log(low), np.log(high))))


def activation(rng: Rng) -> int:
    name = ACTIVATIONS[rng.integers(4)] if rng.integers(2) else "NONE"
    return getattr(tflite.ActivationFunctionType, name)


def dtype(rng: Rng) -> str:
    return ("i8", "u8")[rng.integers(2)]


def image(rng: Rng, channels: int) -> tuple[int, int, int, int]:
    return (int(rng.integers(1, 3)), int(rng.integers(1, 10)), int(rng.integers(1, 10)), channels)


def one_input(tensors: list[Tensor], op: Op, x: np.ndarray) -> Layer:
    """A layer whose first tensor is its only input."""
    return Layer(tensors, [op], {tensors[0].name: x}, [op.output])


@dataclass(frozen=True)
class Window:
    """Output sizes of a sliding window and the options that say so."""

    out: tuple[int, int]
    kernel: tuple[int, int]
    options: dict[str, Any]


def window(rng: Rng, sizes: tuple[int, int], dilated: bool) -> Window:
    """A kernel, stride, dilation and padding that leave at least one output."""
    while True:
        kernel = [int(k) for k in rng.integers(1, 5, 2)]
        stride = [int(s) for s in rng.integers(1, 4, 2)]
        dilation = [int(d) for d in rng.integers(1, 4, 2)] if dilated else [1, 1]
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        same = bool(rng.integers(2))
        if same:
            out = [-(-size // s) for size, s in zip(sizes, stride, strict=True)]
        else:
            out = [(z - r) // s + 1 for z, r, s in zip(sizes, reach, stride, strict=True)]
        if min(out) >= 1:
            break
    options = {"Padding": int(not same), "StrideH": stride[0], "StrideW": stride[1]}
    if dilated:
        options |= {"DilationHFactor": dilation[0], "DilationWFactor": dilation[1]}
    return Window((out[0], out[1]), (kernel[0], kernel[1]), options)


def any_shape(rng: Rng) -> tuple[int, ...]:
    return tuple(int(s) for s in rng.integers(1, 8, rng.integers(1, 5)))


def elementwise(rng: Rng, kind: str, code: str, out_code: str, s_out: np.float32) -> Layer:
    shape = any_shape(rng)
    s_in = np.float32(s_out * np.exp(rng.uniform(-2, 2))) if rng.integers(6) else s_out
    tensors = [
        Tensor("x", shape, code, s_in, zero_point(rng, code)),
        Tensor("y", shape, out_code, s_out, zero_point(rng, out_code)),
    ]
    return one_input(tensors, Op(kind, ["x"], "y"), codes(rng, code, SAMPLES, *shape))
