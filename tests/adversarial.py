"""Sums and scales where the last bit of a scale, or the way of rounding, decides the code.

Ordinary data does not tell a float32 product of scales from a double one: tests made of it pass with
the wrong formula. Here sums lie at the edges between codes, and where a multiplier has only 15 bits,
scales lie at the edges between multipliers.

A test compares ``OUTPUTS`` codes per case; ``NPUSIM_ADVERSARIAL_OUTPUTS=1000000`` makes it a million.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from requantizing import requantized

from simulator.fixedpoint.requantize import REQUANTIZERS

OUTPUTS = int(os.environ.get("NPUSIM_ADVERSARIAL_OUTPUTS", "100000"))
FEWEST_CAUGHT = OUTPUTS // 5000  # codes by which every wrong formula must differ
CHANNELS = 1184  # whole groups of 16, so that vector loops leave nothing over
F32 = np.float32


@dataclass(frozen=True)
class Edges:
    """One layer: scales (float32; of the weights one per channel) and the sum of each channel."""

    x: np.float32
    w: np.ndarray
    y: np.float32
    sums: np.ndarray


def edges(rng: np.random.Generator, dtype: str, per_channel: bool, bits: int = 30) -> Edges:
    """Sums next to (c + 1/2) / M for codes c over most of their range; |sums| < 2**bits.

    One layer in sixteen has powers of two as scales, so that sums lie on the edges exactly.
    """
    x, base = (F32(np.exp(rng.uniform(-6, 0))) for _ in range(2))
    code_bits, reach = (15, 32000) if dtype == "i16" else (7, 118)
    y = F32(x * base * np.exp2(rng.uniform(bits / 2 - code_bits / 2 - 3, bits - code_bits - 1)))
    if dtype == "i16":
        codes = rng.integers(-reach, reach, CHANNELS)
    else:
        codes = np.resize(np.repeat(np.arange(-reach, reach), 5), CHANNELS)
    w = np.full(CHANNELS, base)
    if per_channel:
        w = (base * np.exp(rng.uniform(-0.5, 0.5, CHANNELS))).astype(F32)
    if rng.integers(16) == 0:
        x, y = (F32(2.0 ** np.floor(np.log2(s))) for s in (x, y))
        w = np.exp2(np.floor(np.log2(w))).astype(F32)
    near = np.rint((codes + 0.5) / (x.astype(float) * w.astype(float) / y.astype(float)))
    return Edges(x, w, y, near.astype(np.int64) + np.resize([-2, -1, 0, 1, 2], CHANNELS))


def short_multiplier_edges(rng: np.random.Generator, per_channel: bool, bits: int = 40) -> Edges:
    """int16: scales within an ulp of half-way between two 15-bit multipliers; |sums| < 2**bits.

    A layer of one scale has one at which rounding the product of scales to float32 crosses the half.
    """
    x, y = F32(np.exp(rng.uniform(-6, 0))), F32(np.exp(rng.uniform(-6, 0)))
    shift = int(rng.integers(4, bits - 16))
    scales = (rng.integers(2**14, 2**15 - 1, CHANNELS) + 0.5) * 2.0 ** -(15 + shift)
    w = (scales * float(y) / float(x)).astype(F32)
    if not per_channel:
        exact, rounded = (
            np.floor(products / float(y) * 2.0 ** (15 + shift) + 0.5)
            for products in (float(x) * w.astype(float), (x * w).astype(float))
        )
        w = np.full(CHANNELS, w[np.flatnonzero(exact != rounded)[0]])
    codes = rng.choice([-1, 1], CHANNELS) * rng.integers(20_000, 32_700, CHANNELS) + 0.5
    near = np.rint(codes / (float(x) * w.astype(float) / float(y)))
    return Edges(x, w, y, near.astype(np.int64) + rng.integers(-2, 3, CHANNELS))


def scale_orders(e: Edges) -> dict[str, np.ndarray]:
    """The real scale of every channel, float64, by the order of its arithmetic."""
    return {
        "double": float(e.x) * e.w.astype(float) / float(e.y),
        "float32 product": (e.x * e.w).astype(float) / float(e.y),
        "float32": ((e.x * e.w) / e.y).astype(float),
    }


def formulas(e: Edges, kinds: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Codes, zero point and clamp left out, by kind of requantizer and order of scales."""
    found = {}
    for order, scales in scale_orders(e).items():
        for kind in kinds:
            if (kind, order) == ("float32_even", "float32 product"):
                continue  # rounding the double quotient of float32 numbers is the float32 quotient
            distinct, which = np.unique(scales, return_inverse=True)
            pairs = np.array([REQUANTIZERS[kind].convert(float(s)) for s in distinct], np.int64)
            multipliers, shifts = pairs[which].T
            found[f"{kind} of {order}"] = requantized(kind, e.sums, multipliers, shifts)
    return found
