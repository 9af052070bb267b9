"""Symmetric levels in groups (the survey's sub-channel granularity, III-E): neighbours along the last axis
share a scale of their own, an integer factor of ``factor_bits`` times the row's scale, as in the two-level
scaling of VS-Quant (Dai et al., arXiv 2102.04503). A level is code times factor, and fits 8 bits."""

from __future__ import annotations

import numpy as np

from simulator.coding import LEVEL_BITS, Coding
from simulator.quantizers._form import Quantized, Setting, quantized, rows_of
from simulator.quantizers._scales import ruled
from simulator.quantizers.ranges import largest_of

SUMMARY = "uniform, with an integer factor for each group of neighbouring channels"
BITS = (2, 6)


def quantize(values: np.ndarray, setting: Setting) -> Quantized:
    """Along the last axis, which is not ``setting.axis``."""
    most = (1 << (setting.bits - 1)) - 1
    largest = min((1 << setting.factor_bits) - 1, ((1 << (LEVEL_BITS - 1)) - 1) // most)
    length = values.shape[-1]
    count = -(-length // setting.group)
    rows = rows_of(values, setting.axis).reshape(
        -1, values.size // length // _rows(values, setting), length
    )
    padded = np.zeros((*rows.shape[:2], count * setting.group))
    padded[..., :length] = rows
    parts = padded.reshape(*rows.shape[:2], count, setting.group)
    each = largest_of(setting.limits, parts.reshape(-1, setting.group), setting.bits)
    highs = each.reshape(parts.shape[:3])
    scales = ruled(highs.max(axis=(1, 2)) / (most * largest), setting.scale)
    steps = scales.astype(np.float64)[:, None, None]
    low = np.clip(np.floor(highs / (most * steps)), 1, largest)
    candidates = [low, np.clip(low + 1, 1, largest)]
    codes = [_codes(parts, steps, factor, most) for factor in candidates]
    errors = [
        ((c * (f * steps)[..., None] - parts) ** 2).sum(axis=-1)
        for c, f in zip(codes, candidates, strict=True)
    ]
    second = errors[1] < errors[0]
    factors = np.where(second, candidates[1], candidates[0])
    chosen = np.where(second[..., None], codes[1], codes[0]) * factors[..., None]
    levels = chosen.reshape(padded.shape)[..., :length]
    coding = Coding(setting.bits, group=setting.group, factor_bits=setting.factor_bits)
    return quantized(levels, values, setting.axis, scales, coding)


def _rows(values: np.ndarray, setting: Setting) -> int:
    return 1 if setting.axis is None else values.shape[setting.axis]


def _codes(parts: np.ndarray, steps: np.ndarray, factors: np.ndarray, most: int) -> np.ndarray:
    return np.clip(np.rint(parts / (factors * steps)[..., None]), -most, most)
