"""Rounding and clipping as training sees them: exact forward, straight through backward.

The straight-through estimator (Bengio et al., arXiv 1308.3432) takes the gradient of rounding as 1; where a
value is clipped its own gradient is 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def straight(exact: Tensor, smooth: Tensor) -> Tensor:
    """The value of ``exact``, to the bit, with the gradient of ``smooth``."""
    return _Straight.apply(exact, smooth)  # type: ignore[no-any-return]


class _Straight(torch.autograd.Function):
    """``smooth + (exact - smooth).detach()`` would round."""

    @staticmethod
    def forward(ctx: object, exact: Tensor, smooth: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


def rounded(x: Tensor) -> Tensor:
    """To the nearest integer, ties to even."""
    return straight(torch.round(x), x)


def raised(x: Tensor) -> Tensor:
    """To the next integer above."""
    return straight(torch.ceil(x), x)


def codes(steps: Tensor, zero_point: int, low: int, high: int) -> Tensor:
    """Rounded ``steps`` above ``zero_point``, held within ``low`` to ``high``."""
    return _Codes.apply(steps, zero_point, low, high)  # type: ignore[no-any-return]


class _Codes(torch.autograd.Function):
    """In one piece: images are large, and each pass over one takes as long as a small convolution."""

    @staticmethod
    def forward(ctx: Any, steps: Tensor, zero_point: int, low: int, high: int) -> Tensor:
        exact = torch.round(steps).add_(zero_point)
        made = exact.clamp(low, high)
        ctx.save_for_backward(made != exact)
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return gradients[0].masked_fill(ctx.saved_tensors[0], 0.0), None, None, None


def scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """``x``, with ``factor`` times its gradient."""
    return straight(x, x * factor)


def per_channel(scale: Tensor, rank: int, axis: int) -> Tensor:
    """A scale for each index of ``axis``, or one for all, shaped to multiply a tensor of ``rank`` axes."""
    shape = [1] * rank
    if scale.numel() > 1:
        shape[axis] = -1
    return scale.reshape(shape)
