"""Rounding of weights so that a layer's outputs, not its weights, are nearest (AdaRound, Nagel et al.,
arXiv 2004.10568), on what the layer's inputs are like rather than on the inputs themselves.

The squared error of a linear layer's outputs is a quadratic form of its weights: with ``G`` the sums of
products of the inputs that quantized layers before it give, and ``C`` those of exact inputs with them,
``|W x - W' x'|^2 = W' G W'^T - 2 W C W'^T + ...``. So the samples are looked at once, and all steps work on
matrices of the kernel's size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_STEPS = 1000
_RATE = 0.02
_WARM = 0.2  # of all steps, before weights are driven to either side
_PULL = 0.02
_STEEP, _FLAT = 20.0, 2.0
# The stretch of the sigmoid, as AdaRound has it.
_ZETA, _GAMMA = 1.1, -0.1


class Moments(NamedTuple):
    """(blocks, k, k) sums of products of inputs; one block for all outputs, or one for each."""

    gram: np.ndarray
    cross: np.ndarray


def moments(exact: np.ndarray, given: np.ndarray) -> Moments:
    """Of inputs (blocks, samples, k) as the float model and as quantized layers give them."""
    x, g = exact.astype(np.float64), given.astype(np.float64)
    turned = g.transpose(0, 2, 1)
    return Moments(turned @ g, x.transpose(0, 2, 1) @ g)


def output_error(weights: np.ndarray, rounded: np.ndarray, of: Moments) -> np.ndarray:
    """(outputs,) squared errors, but for what does not depend on ``rounded``, of weights (outputs, k)."""
    return (rounded * _times(rounded, of.gram)).sum(axis=1) - 2 * (
        _times(weights, of.cross) * rounded
    ).sum(axis=1)


def _times(rows: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    if matrices.shape[0] == 1:
        return rows @ matrices[0]
    return np.einsum("ok,okj->oj", rows, matrices)


def adaround(
    weights: np.ndarray, scales: np.ndarray, low: np.ndarray, high: np.ndarray, of: Moments
) -> np.ndarray:
    """Whole steps (outputs, k) of ``scales`` within ``low`` to ``high``, each next to its weight.

    Adam on ``h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1)`` above the step below, with ``1 - |2 h - 1|**b`` to
    drive ``h`` to 0 or 1. Then single weights go to their other side for as long as that brings an output
    nearer; an output that this does from rounding to nearest, and better, is rounded so.
    """
    exact = weights / scales[:, None]
    below = np.floor(exact)
    nearest = np.clip(np.rint(exact), low, high)
    gram = of.gram + 1e-6 * np.trace(of.gram, axis1=1, axis2=2)[:, None, None] / (
        of.gram.shape[1]
    ) * np.eye(of.gram.shape[1])
    target = _times(weights, of.cross) / scales[:, None]
    unit = np.maximum(((nearest - exact) * _times(nearest - exact, gram)).sum(axis=1), 1e-30)
    rest = np.clip((exact - below - _GAMMA) / (_ZETA - _GAMMA), 0.01, 0.99)
    v = np.log(rest / (1 - rest))
    first, second = np.zeros_like(v), np.zeros_like(v)
    for step in range(_STEPS):
        sigmoid = 1 / (1 + np.exp(-v))
        stretched = sigmoid * (_ZETA - _GAMMA) + _GAMMA
        h = np.clip(stretched, 0.0, 1.0)
        steps = below + h
        inside = (stretched > 0) & (stretched < 1) & (steps > low) & (steps < high)
        clipped = np.clip(steps, low, high)
        slope = 2 * (_times(clipped, gram) - target) / unit[:, None]
        part = step / _STEPS
        if part > _WARM:
            beta = _FLAT + (_STEEP - _FLAT) * (1 - (part - _WARM) / (1 - _WARM))
            apart = 2 * h - 1
            slope = slope - _PULL * 2 * beta * np.sign(apart) * np.abs(apart) ** (beta - 1)
        slope = slope * inside * (_ZETA - _GAMMA) * sigmoid * (1 - sigmoid)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        v -= (
            _RATE
            * (first / (1 - 0.9 ** (step + 1)))
            / (np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8)
        )
    found = [
        _turned(steps, below, low, high, gram, target)
        for steps in (np.clip(below + (v > 0), low, high), nearest)
    ]
    errors = [output_error(weights, steps * scales[:, None], of) for steps in found]
    return np.where((errors[1] <= errors[0])[:, None], found[1], found[0])


def _turned(
    steps: np.ndarray, below: np.ndarray, low: np.ndarray, high: np.ndarray, gram: np.ndarray,
    target: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """``steps`` with the one weight of each output turned to its other side that gains most, again and
    again until none gains any more."""
    steps = steps.copy()
    rows = np.arange(steps.shape[0])
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    slope = 2 * (_times(steps, gram) - target)
    block = np.zeros(rows.size, np.int64) if gram.shape[0] == 1 else rows
    for _ in range(2 * steps.shape[1]):
        other = np.clip(2 * below + 1 - steps, low, high)
        apart = other - steps
        gain = apart * slope + apart**2 * diagonal
        best = gain.argmin(axis=1)
        better = gain[rows, best] < -1e-12 * np.abs(slope[rows, best])
        if not better.any():
            break
        moved = np.where(better, apart[rows, best], 0.0)
        steps[rows, best] += moved
        slope += 2 * moved[:, None] * gram[block, best]
    return steps
