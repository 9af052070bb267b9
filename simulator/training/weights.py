"""Quantizers of weights that are trained through, each with the gradient its paper gives it.

A quantizer turns weights into integer levels and float32 scales, one or one for each output channel. The
exact rules are those of the papers, and of QKeras' ``quantizers_po2.py`` for the two families of Bae et al.
(arXiv 2210.03671).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from simulator.coding import Coding, table_coding
from simulator.errors import UsageError
from simulator.quantizers.msqe import OUTLIER_SIGMAS, solve
from simulator.training.rounding import per_channel, raised, rounded, scaled_gradient, straight

_SMALLEST = 1e-8
_SECOND_MOMENT_DECAY = 0.999
_EXPONENT_DECAY = 0.99
_LEAST_INITIAL_SCALE = 1e-5


@dataclass(frozen=True)
class Remedies:
    """What Bae et al. add to either family; all but ``stable`` are on in their code.

    ``outlier_mask``: values beyond two standard deviations (gradient-based: beyond the range) do not count
    in the error that is minimized. ``second_moment``: squared errors are weighted by the root of the
    running mean of squared gradients. ``stable``: from when :meth:`Exponents.freeze` is called, the
    exponent is that of a running mean and stays. ``rounding``: of the learned exponent, ``ceil``,
    ``nearest`` or ``msqe``, the one of its neighbours with the lower error.
    """

    outlier_mask: bool = True
    second_moment: bool = True
    stable: bool = False
    rounding: str = "msqe"

    def __post_init__(self) -> None:
        if self.rounding not in ("ceil", "nearest", "msqe"):
            raise UsageError("rounding", repr(self.rounding), "ceil, nearest, msqe")


class WeightQuantizer(nn.Module):
    """Weights (any shape) to levels and scales; ``axis`` is that of output channels, None for one scale."""

    def __init__(self, weights: Tensor, bits: int, axis: int | None) -> None:
        super().__init__()
        self.bits, self.axis = bits, axis
        self.most = (1 << (bits - 1)) - 1
        self.channel = 0 if axis is None else axis

    def forward(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    @property
    def coding(self) -> Coding:
        return Coding(self.bits)

    def rows(self, weights: Tensor) -> Tensor:
        """(scales, values of each)."""
        if self.axis is None:
            return weights.reshape(1, -1)
        return weights.movedim(self.axis, 0).flatten(1)

    def levels(self, weights: Tensor, scale: Tensor) -> Tensor:
        """``rint(clip(w / s))`` with gradients inside the range."""
        exact = weights / per_channel(scale, weights.dim(), self.channel)
        return rounded(exact.clamp(-self.most, self.most))


class Lsq(WeightQuantizer):
    """LSQ (Esser et al., arXiv 1902.08153): the scale is learned, its gradient scaled by
    ``1 / sqrt(n most)``; it starts at ``2 mean|w| / sqrt(most)``."""

    def __init__(self, weights: Tensor, bits: int, axis: int | None) -> None:
        super().__init__(weights, bits, axis)
        rows = self.rows(weights.detach())
        start = 2 * rows.abs().mean(dim=1) / math.sqrt(self.most)
        self.scale = nn.Parameter(start.clamp_min(_SMALLEST))
        self.factor = 1 / math.sqrt(rows.shape[1] * self.most)

    def forward(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        scale = scaled_gradient(self.scale.abs().clamp_min(_SMALLEST), self.factor)
        return self.levels(weights, scale), scale


class Dorefa(WeightQuantizer):
    """DoReFa (Zhou et al., arXiv 1606.06160): ``2 rint(n (t / 2 max|t| + 1/2)) / n - 1`` with
    ``t = tanh(w)``; the largest level stands for the largest weight, so that a network without batch norms
    keeps its size."""

    def __init__(self, weights: Tensor, bits: int, axis: int | None) -> None:
        super().__init__(weights, bits, None)
        if not 2 <= bits <= 6:
            raise UsageError(
                "dorefa", f"{bits} bits", "2 to 6: levels of 2**bits - 1 steps fit 8 bits"
            )
        self.steps = (1 << bits) - 1

    @property
    def coding(self) -> Coding:
        return table_coding(np.arange(-self.steps, self.steps + 1, 2)[:, None])

    def forward(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        bent = torch.tanh(weights)
        unit = bent / (2 * bent.detach().abs().max().clamp_min(_SMALLEST)) + 0.5
        largest = weights.detach().abs().max().clamp_min(_SMALLEST)
        return 2 * rounded(self.steps * unit) - self.steps, (largest / self.steps).reshape(1)


class Tqt(WeightQuantizer):
    """TQT (Jain et al., arXiv 1903.08066): the scale is ``2**ceil(k)``, ``k`` learned; it starts where
    three standard deviations are the range."""

    def __init__(self, weights: Tensor, bits: int, axis: int | None) -> None:
        super().__init__(weights, bits, axis)
        self.exponent = nn.Parameter(_three_deviations(self.rows(weights.detach()), self.most))

    def forward(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        scale = torch.exp2(raised(self.exponent))
        return self.levels(weights, scale), scale


def _three_deviations(rows: Tensor, most: int) -> Tensor:
    deviations = rows.std(dim=1, unbiased=False)
    return torch.log2((3 * deviations / most).clamp_min(_LEAST_INITIAL_SCALE))


class Exponents(WeightQuantizer):
    """What both families of Bae et al. share: exponents of 2, weighted errors, and the stable exponent."""

    second: Tensor
    mean: Tensor

    def __init__(
        self, weights: Tensor, bits: int, axis: int | None, remedies: Remedies = Remedies()
    ) -> None:
        super().__init__(weights, bits, axis)
        self.remedies = remedies
        self.register_buffer("second", torch.zeros_like(weights, requires_grad=False))
        count = self.rows(weights).shape[0]
        self.register_buffer("mean", torch.full((count,), math.nan))
        self.frozen = False
        self.history: list[np.ndarray] = []

    def freeze(self) -> None:
        """From now on the exponent is that of the running mean, if the remedy is on."""
        self.frozen = self.remedies.stable

    def weighting(self) -> Tensor:
        """Of each squared error, without the mask of outliers."""
        if not self.remedies.second_moment or not bool(self.second.any()):
            return torch.ones_like(self.second)
        return self.second.sqrt()

    def settled(self, exponent: Tensor) -> Tensor:
        """``exponent``, or the stable one; keeps the running mean while training."""
        if self.frozen:
            exponent = torch.round(self.mean).to(exponent)
        elif self.training:
            seen = exponent.detach()
            start = torch.where(self.mean.isnan(), seen, self.mean)
            self.mean.copy_(_EXPONENT_DECAY * start + (1 - _EXPONENT_DECAY) * seen)
        if self.training:
            self.history.append(exponent.detach().numpy().copy())
        return exponent

    def watched(self, levels: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
        """``levels``, whose gradients are looked at on their way back."""
        if not (self.training and levels.requires_grad and self.remedies.second_moment):
            return levels
        step = per_channel(scale.detach(), weights.dim(), self.channel)
        inside = (weights.detach() / step).abs() <= self.most + 0.5

        def look(gradient: Tensor) -> None:
            squared = (gradient / step) ** 2 * inside
            self.second.mul_(_SECOND_MOMENT_DECAY).add_((1 - _SECOND_MOMENT_DECAY) * squared)

        levels.register_hook(look)
        return levels


class Msqe(Exponents):
    """MSQE-based: in every step the exponent of the least error, from that of the step before, by
    alternating least squares and a line search; no gradient goes through it."""

    last: Tensor

    def __init__(
        self, weights: Tensor, bits: int, axis: int | None, remedies: Remedies = Remedies()
    ) -> None:
        super().__init__(weights, bits, axis, remedies)
        count = self.rows(weights).shape[0]
        self.register_buffer("last", torch.full((count,), math.nan))

    def forward(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.rows(weights.detach()).double().numpy()
        counted = self.rows(self.weighting()).double().numpy()
        if self.remedies.outlier_mask:
            inside = np.abs(rows) <= OUTLIER_SIGMAS * rows.std(axis=1, keepdims=True)
            counted = counted * inside
        if self.training or bool(self.last.isnan().any()):
            starts = [None if math.isnan(k) else round(k) for k in self.last.tolist()]
            self.last.copy_(torch.tensor([
                float(solve(row, self.bits, m, start).exponent)
                for row, m, start in zip(rows, counted, starts, strict=True)
            ]))  # fmt: skip
        scale = torch.exp2(self.settled(self.last.clone()))
        return self.watched(self.levels(weights, scale), weights, scale), scale


class Gradient(Exponents):
    """Gradient-based: the exponent is learned, and rounded up, to nearest, or to the neighbour of lower
    error (ties: the upper)."""

    def __init__(
        self, weights: Tensor, bits: int, axis: int | None, remedies: Remedies = Remedies()
    ) -> None:
        super().__init__(weights, bits, axis, remedies)
        self.exponent = nn.Parameter(_three_deviations(self.rows(weights.detach()), self.most))

    def forward(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        k = self.exponent
        if self.remedies.rounding == "ceil":
            whole = torch.ceil(k)
        elif self.remedies.rounding == "nearest":
            whole = torch.round(k)
        else:
            whole = self._lower_error(weights.detach(), k.detach())
        scale = torch.exp2(straight(self.settled(whole), k))
        return self.watched(self.levels(weights, scale), weights, scale), scale

    def _lower_error(self, weights: Tensor, k: Tensor) -> Tensor:
        rows, counted = self.rows(weights), self.rows(self.weighting())
        if self.remedies.outlier_mask:
            counted = counted * (rows.abs() <= torch.exp2(k)[:, None] * (self.most + 0.5))
        errors = []
        for whole in (torch.floor(k), torch.ceil(k)):
            step = torch.exp2(whole)[:, None]
            codes = torch.round((rows / step).clamp(-self.most, self.most))
            errors.append((counted * (rows - codes * step) ** 2).mean(dim=1))
        return torch.where(errors[0] < errors[1], torch.floor(k), torch.ceil(k))


class Binary(WeightQuantizer):
    """Signs times their mean size (BWN; Rastegari et al., arXiv 1603.05279); gradients pass where
    ``|w| <= 1`` of the mean size times 3."""

    def __init__(self, weights: Tensor, bits: int, axis: int | None) -> None:
        super().__init__(weights, 1, axis)

    @property
    def coding(self) -> Coding:
        return table_coding(np.array([[-1], [1]]))

    def forward(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        scale = self.rows(weights).abs().mean(dim=1).clamp_min(_SMALLEST)
        exact = weights / per_channel(scale.detach(), weights.dim(), self.channel)
        signs = torch.where(exact >= 0, 1.0, -1.0)
        return straight(signs, exact.clamp(-3, 3)), scale


class Ternary(WeightQuantizer):
    """0 and the mean size of what lies beyond 0.7 of the mean size (TWN, Li et al., arXiv 1605.04711)."""

    def __init__(self, weights: Tensor, bits: int, axis: int | None) -> None:
        super().__init__(weights, 2, axis)

    def forward(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.rows(weights)
        sizes = rows.abs()
        kept = (sizes > 0.7 * sizes.mean(dim=1, keepdim=True)).to(rows)
        scale = (sizes * kept).sum(dim=1) / kept.sum(dim=1).clamp_min(1)
        scale = scale.clamp_min(_SMALLEST)
        step = per_channel(scale.detach(), weights.dim(), self.channel)
        least = 0.7 * sizes.mean(dim=1).detach()
        beyond = weights.abs() > per_channel(least, weights.dim(), self.channel)
        exact = weights / step
        return straight(torch.sign(weights) * beyond, exact.clamp(-3, 3)), scale


METHODS: dict[str, type[WeightQuantizer]] = {
    "lsq": Lsq, "dorefa": Dorefa, "tqt": Tqt, "msqe": Msqe, "gradient": Gradient, "binary": Binary,
    "ternary": Ternary,
}  # fmt: skip
POWERS_OF_TWO = ("tqt", "msqe", "gradient")  # as scales
