"""Rounding and clipping as training sees them: exact forward, straight through backward.

The straight-through estimator (Bengio et al., arXiv 1308.3432) takes the gradient of rounding as 1; where a
value is clipped its own gradient is 0.
"""

from __future__ import annotations

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


def scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """``x``, with ``factor`` times its gradient."""
    return straight(x, x * factor)


def per_channel(scale: Tensor, rank: int, axis: int) -> Tensor:
    """A scale for each index of ``axis``, or one for all, shaped to multiply a tensor of ``rank`` axes."""
    shape = [1] * rank
    if scale.numel() > 1:
        shape[axis] = -1
    return scale.reshape(shape)
