"""The best clipping of a Gaussian or Laplacian with the values' spread, whichever they are likelier of
(Banner et al., Post training 4-bit quantization of convolutional networks, arXiv 1810.05723)."""

from __future__ import annotations

import math

import numpy as np

SUMMARY = "analytical: best for a Gaussian or Laplacian of the values' spread"
_GOLDEN = (math.sqrt(5) - 1) / 2
_WIDEST = 30.0  # in spreads


def limits(values: np.ndarray, bits: int, symmetric: bool) -> tuple[float, float]:
    """Around the mean, or 0 where ``symmetric`` or all values have one sign (then the spread is that of
    the values and their negatives, and one bit more is left for the sizes)."""
    low, high = values.min(), values.max()
    one_sign = low >= 0 or high <= 0
    centre = 0.0 if symmetric or one_sign else values.mean()
    apart = values - centre
    deviation = math.sqrt(float((apart**2).mean()))
    mean_size = float(np.abs(apart).mean())
    if deviation == 0 or mean_size == 0:
        return (-high, high) if symmetric else (low, high)
    gaussian = -0.5 * (math.log(2 * math.pi * deviation**2) + 1)
    laplacian = -(math.log(2 * mean_size) + 1)
    bits = bits if symmetric or not one_sign else bits + 1
    spread = deviation if gaussian >= laplacian else mean_size
    alpha = spread * best_clip(bits, gaussian >= laplacian)
    if symmetric:
        alpha = min(alpha, max(-low, high))
        return -alpha, alpha
    return max(low, centre - alpha), min(high, centre + alpha)


def best_clip(bits: int, gaussian: bool) -> float:
    """The clipping point in standard deviations of a Gaussian, or mean sizes of a Laplacian."""
    error = _gaussian if gaussian else _laplacian
    left, right = 0.0, _WIDEST
    while right - left > 1e-9:
        a, b = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        if error(a, bits) < error(b, bits):
            right = b
        else:
            left = a
    return (left + right) / 2


def _rounding(alpha: float, bits: int) -> float:
    return alpha**2 / (3 * 4**bits)


def _laplacian(alpha: float, bits: int) -> float:
    """Mean squared error of clipping and rounding a Laplacian of mean size 1."""
    return 2 * math.exp(-alpha) + _rounding(alpha, bits)


def _gaussian(alpha: float, bits: int) -> float:
    """Likewise of a Gaussian of deviation 1."""
    tails = (alpha**2 + 1) * math.erfc(alpha / math.sqrt(2))
    return (
        tails - math.sqrt(2 / math.pi) * alpha * math.exp(-(alpha**2) / 2) + _rounding(alpha, bits)
    )
