"""The float arithmetic of QONNX graphs: what stands between an integer sum and the next quantizer, and the
thresholds that say the same in integers.

Everything is evaluated in float32 in the order in which QONNX's own execution does it (numpy for its
quantizers, ONNX Runtime node by node for the rest). Each function is monotone in each channel, and
stays so after rounding; so is their composition, and an integer sum reaches the next code at one value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.importers._onnx_build import Axes
from simulator.importers._onnx_file import Op
from simulator.tensor import TensorSpec

# (channels, values) float32 -> the same shape; a channel's parameters are (channels, 1).
Function = Callable[[np.ndarray], np.ndarray]

# Most bits of a quantizer behind a product: a threshold for every step is 255 for each channel.
MOST_BITS = 8
BEYOND = 1 << 40  # of any accumulator


def batch_normalization(
    gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """(factor, offset) of ``y = x * factor + offset`` as ONNX Runtime joins them, in float32."""
    with np.errstate(all="ignore"):
        inverse = np.float32(1) / np.sqrt(variance + np.float32(epsilon))
    factor = gamma * inverse
    return factor, beta - mean * factor


@dataclass(frozen=True)
class Step:
    """One float function on sums: ``operator`` with ``parameter`` (channels,) as second operand."""

    operator: str
    parameter: np.ndarray

    @property
    def uniform(self) -> bool:
        """Whether it treats all channels alike."""
        return bool((self.parameter == self.parameter[0]).all())

    def __call__(self, x: np.ndarray) -> np.ndarray:
        c = self.parameter[:, None]
        match self.operator:
            case "add":
                return x + c
            case "sub":
                return x - c
            case "mul":
                return x * c
            case "div":
                return x / c
            case "minimum":
                return np.minimum(x, c)
        return np.maximum(x, c)


@dataclass(frozen=True)
class Sums:
    """A product that is not made yet: ``real = steps(scale * sum)``, then ``moves``."""

    op: Op
    operator: str
    inputs: tuple[str, ...]
    attrs: dict[str, Any]
    axes: Axes
    shape: tuple[int, ...]  # of the product, in the file's order
    scales: np.ndarray  # (channels,) float64
    bound: np.ndarray  # (channels,) largest magnitude of a sum
    steps: tuple[Step, ...] = ()
    moves: tuple[Op, ...] = ()
    unsigned: bool = False  # a mean of codes that are

    @property
    def uniform(self) -> bool:
        """Whether all channels are treated alike, so that moving elements changes nothing."""
        arrays = (self.scales, *(step.parameter for step in self.steps))
        return all((a == a[0]).all() for a in arrays)

    def real(self, sums: np.ndarray) -> np.ndarray:
        """(channels, values) integers -> float32 numbers."""
        x = (sums.astype(np.float64) * self.scales[:, None]).astype(np.float32)
        with np.errstate(all="ignore"):
            for step in self.steps:
                x = step(x)
        return x


@dataclass(frozen=True)
class Thresholds:
    """``code = least + number of thresholds t with direction * sum >= t``, for each channel.

    ``values`` is int64 (channels, levels), ascending; ``directions`` (channels,) is 1 or -1.
    """

    values: np.ndarray
    directions: np.ndarray


def thresholds(
    codes: Function, spec: TensorSpec, least: int, most: int, bound: np.ndarray
) -> Thresholds:
    """Thresholds of ``codes`` over integer sums of magnitude at most ``bound`` (channels,).

    ``codes`` gives for (channels, values) integers as float64 the codes of each. Codes that no sum
    reaches have thresholds beyond every accumulator.
    """
    channels = bound.size
    ends = np.stack([-bound, bound], axis=1).astype(np.int64)
    at_ends = codes(ends)
    directions = np.where(at_ends[:, 1] >= at_ends[:, 0], 1, -1).astype(np.int64)
    steps = [least, most] if spec.bipolar else list(range(least, most + 1))
    wanted = np.array(steps[1:], np.float32)
    # Invariant: below ``low`` the code is less than wanted, from ``high`` on it is not.
    low = np.repeat(-bound[:, None], wanted.size, axis=1).astype(np.int64)
    high = np.repeat(bound[:, None] + 1, wanted.size, axis=1).astype(np.int64)
    while (low < high).any():
        middle = (low + high) >> 1
        reached = codes(middle * directions[:, None]) >= wanted[None, :]
        open_ = low < high
        high = np.where(open_ & reached, middle, high)
        low = np.where(open_ & ~reached, middle + 1, low)
    values = np.where(high > bound[:, None], BEYOND, high)
    assert values.shape == (channels, wanted.size)
    if spec.bipolar:  # from -1 to 1 are two steps
        values = np.repeat(values, 2, axis=1)
    return Thresholds(values, directions)
