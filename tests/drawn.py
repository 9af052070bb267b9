"""A numpy generator whose choices are hypothesis's, so that what is made with it shrinks."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from hypothesis import strategies as st

_FEW = 8  # elements of an array drawn one by one; more come from a seed
_STEPS = 1 << 16  # of a real number between its ends
_SPREAD = 3.0  # standard deviations


class Shown:
    """What hypothesis prints of a drawn case: its text."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


class Drawn:
    """The part of ``numpy.random.Generator`` that the makers of layers and devices use.

    Numbers that shape a layer (sizes, types, scales, zero points) and short arrays are drawn one by one;
    long arrays (weights, activations) come from a generator of one drawn seed.
    """

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self._bulk = np.random.default_rng(draw(st.integers(0, 2**16 - 1), "seed"))

    def _integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(int(low), int(high) - 1))

    def _fraction(self) -> float:
        return self._integer(0, _STEPS + 1) / _STEPS

    def integers(self, low: Any, high: Any = None, size: Any = None) -> Any:
        low, high = (0, low) if high is None else (low, high)
        shape = np.broadcast_shapes(np.shape(low), np.shape(high)) if size is None else size
        count = int(np.prod(shape))
        if count > _FEW:
            return self._bulk.integers(low, high, size)
        lows, highs = (np.broadcast_to(v, shape).reshape(-1) for v in (low, high))
        found = [self._integer(a, b) for a, b in zip(lows, highs, strict=True)]
        return found[0] if shape == () else np.array(found, np.int64).reshape(shape)

    def choice(self, values: Any, size: Any = None) -> Any:
        if size is not None and int(np.prod(size)) > _FEW:
            return self._bulk.choice(values, size)
        return np.asarray(values)[self.integers(0, len(values), size)]

    def permutation(self, values: Any) -> np.ndarray:
        items = np.arange(values) if isinstance(values, int) else np.asarray(values)
        return items[self._draw(st.permutations(range(len(items))))]

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        if size is not None:
            return self._bulk.uniform(low, high, size)
        return low + (high - low) * self._fraction()

    def random(self, size: Any = None) -> Any:
        return self.uniform(0.0, 1.0, size)

    def normal(self, mean: float = 0.0, deviation: float = 1.0, size: Any = None) -> Any:
        if size is not None:
            return self._bulk.normal(mean, deviation, size)
        return mean + deviation * _SPREAD * (2 * self._fraction() - 1)

    def dirichlet(self, alpha: list[float]) -> np.ndarray:
        parts = np.array([a * (0.2 + self._fraction()) for a in alpha])
        return parts / parts.sum()


def drawn_rng(draw: Any) -> np.random.Generator:
    """A :class:`Drawn` for makers that ask for a generator."""
    return cast(np.random.Generator, Drawn(draw))
