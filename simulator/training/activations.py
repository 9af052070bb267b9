"""Quantizers of activations that are trained through: uint8 codes of a scale that is learned, or given."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from simulator.errors import UsageError
from simulator.tensor import QuantParams
from simulator.training.rounding import codes, raised, scaled_gradient, straight

LEVELS = 255
METHODS = ("static", "lsq", "pact", "tqt")
_SMALLEST = 1e-8


class Activation(nn.Module):
    """The scale and zero point of one tensor, or of several that share them.

    ``static``: as calibrated. ``lsq``: learned (arXiv 1902.08153). ``pact``: of tensors that are never
    negative, the clipping point is learned (Choi et al., arXiv 1805.06085); others are static. ``tqt``: the
    scale is 2 to a learned exponent, rounded up.
    """

    value: Tensor

    def __init__(self, params: QuantParams, method: str, features: int) -> None:
        super().__init__()
        if method not in METHODS:
            raise UsageError("activations", repr(method), ", ".join(METHODS))
        self.zero_point = params.zero_point
        self.method = "static" if method == "pact" and self.zero_point else method
        self.factor = 1 / math.sqrt(features * LEVELS)
        start = torch.tensor(params.scale, dtype=torch.float32)
        if self.method == "static":
            self.register_buffer("value", start)
        elif self.method == "pact":
            self.value = nn.Parameter(start * LEVELS)
        elif self.method == "tqt":
            self.value = nn.Parameter(torch.log2(start))
        else:
            self.value = nn.Parameter(start)

    @property
    def scale(self) -> Tensor:
        """float32."""
        if self.method == "pact":
            return (self.value / LEVELS).abs().clamp_min(_SMALLEST).detach()
        if self.method == "tqt":
            return torch.exp2(raised(self.value))
        if self.method == "lsq":
            return scaled_gradient(self.value.abs().clamp_min(_SMALLEST), self.factor)
        return self.value

    def codes(self, steps: Tensor, low: int, high: int) -> Tensor:
        """Codes of numbers that are so many ``steps`` of the scale, within ``low`` to ``high``."""
        if self.method == "pact":
            # y = clip(x, 0, alpha): all of the gradient where it clips is alpha's.
            alpha = self.value / self.scale
            held = torch.where(steps >= alpha.detach(), alpha, steps.clamp_min(0))
            exact = (torch.round(steps) + self.zero_point).clamp(low, high)
            return straight(exact.detach(), held + self.zero_point)
        return codes(steps, self.zero_point, low, high)

    def params(self) -> QuantParams:
        """As they are now, in the zero points of int8 codes."""
        return QuantParams((float(self.scale.detach()),), (self.zero_point - 128,))
