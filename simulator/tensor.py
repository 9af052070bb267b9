"""What a tensor is: shape, element type and quantization. No values."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.errors import ModelError

_DTYPE = re.compile(r"^([iu]([1-9]|[1-5]\d|6[0-4])|b1|f32)$")


@dataclass(frozen=True)
class TensorSpec:
    """Shape (layout NHWC for 4-D activations, OHWI for filters) and element type.

    ``dtype`` is ``i`` or ``u`` and the number of bits, as in ``i8``, ``u4``, ``i32``; ``b1``, one bit that
    stands for -1 or +1; or ``f32``, which only the host computes with.
    """

    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        if not _DTYPE.match(self.dtype):
            raise ModelError("tensor", f"element type {self.dtype!r}", "i1..i64, u1..u64, b1, f32")
        if any(d < 1 for d in self.shape):
            raise ModelError("tensor", f"shape {list(self.shape)}", "dimensions of at least 1")

    @cached_property
    def bits(self) -> int:
        return int(self.dtype[1:])

    @property
    def signed(self) -> bool:
        return self.dtype[0] in "ib"

    @property
    def bipolar(self) -> bool:
        """Whether the one bit stands for -1 or +1."""
        return self.dtype == "b1"

    @property
    def real(self) -> bool:
        """Whether elements are float32 numbers rather than codes."""
        return self.dtype == "f32"

    @cached_property
    def elements(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def size_bytes(self) -> int:
        """Bytes when packed without gaps: a 4-bit element costs half a byte."""
        return (self.elements * self.bits + 7) // 8

    @property
    def minimum(self) -> int:
        """Smallest code; of integer types only."""
        assert not self.real
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def maximum(self) -> int:
        """Largest code; of integer types only."""
        assert not self.real
        if self.bipolar:
            return 1
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @cached_property
    def container(self) -> np.dtype:
        """Smallest numpy type that holds an element."""
        if self.real:
            return np.dtype(np.float32)
        width = next(w for w in (8, 16, 32, 64) if w >= self.bits)
        return np.dtype(f"{'int' if self.signed else 'uint'}{width}")

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(str(d) for d in self.shape)}]"


@dataclass(frozen=True)
class QuantParams:
    """``real = scale * (code - zero_point)``, per tensor (one entry) or along ``axis``.

    Scales are float32 values held as Python floats, exactly as the model file stores them.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0

    def __post_init__(self) -> None:
        if len(self.scales) != len(self.zero_points) or not self.scales:
            raise ModelError(
                "quantization",
                f"{len(self.scales)} scales and {len(self.zero_points)} zero points",
                "as many of each, at least one",
            )
        for scale in self.scales:
            if not (math.isfinite(scale) and scale > 0):
                raise ModelError("quantization", f"scale {scale}", "finite and above 0")

    @property
    def per_channel(self) -> bool:
        return len(self.scales) > 1

    @property
    def scale(self) -> float:
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        return self.zero_points[0]
