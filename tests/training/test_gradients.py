"""Each method's levels, scales and gradients by the formulas of its paper."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.errors import UsageError

pytest.importorskip("torch")

import torch

from simulator.tensor import QuantParams
from simulator.training.activations import Activation
from simulator.training.rounding import rounded, straight
from simulator.training.weights import (
    METHODS,
    Dorefa,
    Exponents,
    Gradient,
    Lsq,
    Msqe,
    Remedies,
    Tqt,
    WeightQuantizer,
)

HAND = [0.9, -0.31, 0.12, 0.05, -0.02, 0.47, -0.63, 0.2]


def _weights(count: int = 60, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).laplace(0, 0.1, count), dtype=torch.float32)


def _real(quantizer: WeightQuantizer, w: torch.Tensor) -> torch.Tensor:
    levels, scale = quantizer(w)
    return levels * scale


def test_straight_through_keeps_bits_and_gradients() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, 1e9], requires_grad=True)
    made = rounded(x)
    assert made.tolist() == [0.0, 2.0, 2.0, -0.0, 1e9]
    made.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0] * 5
    exact, smooth = torch.tensor([16777217.0]), torch.tensor([0.1], requires_grad=True)
    assert straight(exact, smooth).item() == exact.item()


def test_lsq_gradients() -> None:
    """``ds = rint(v / s) - v / s`` inside, -Qn or Qp outside, times ``1 / sqrt(n Qp)``."""
    w = _weights().requires_grad_()
    quantizer = Lsq(w, 3, None)
    assert quantizer.scale.item() == pytest.approx(2 * w.abs().mean().item() / math.sqrt(3))
    upstream = torch.linspace(-1, 1, w.numel())
    (_real(quantizer, w) * upstream).sum().backward()
    steps = (w / quantizer.scale).detach()
    inside = steps.abs() <= 3
    each = torch.where(inside, torch.round(steps) - steps, 3 * torch.sign(steps))
    assert not bool(inside.all())
    assert quantizer.scale.grad is not None
    assert quantizer.scale.grad.item() == pytest.approx(
        float((each * upstream).sum()) / math.sqrt(w.numel() * 3), rel=1e-4
    )
    assert w.grad is not None
    assert torch.allclose(w.grad, upstream * inside, atol=1e-6)


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_lsq_is_what_pytorch_makes_of_it(bits: int, axis: int | None) -> None:
    """PyTorch's own kernel of a learned scale: values and gradients.

    It takes what rounds to the last level as inside, the paper what lies within it: between the two,
    nothing is compared.
    """
    w = _weights(96, bits).reshape(4, 24).requires_grad_()
    quantizer = Lsq(w.detach(), bits, axis)
    upstream = torch.tensor(np.random.default_rng(bits).normal(0, 1, w.shape), dtype=torch.float32)
    levels, scale = quantizer(w)
    step = scale[:, None] if axis == 0 else scale
    made = levels * step
    sizes = (w / step).detach().abs()
    upstream = upstream * ~((sizes > quantizer.most) & (sizes <= quantizer.most + 0.5))
    torch.autograd.backward((made * upstream).sum())
    theirs = w.detach().clone().requires_grad_()
    learned = quantizer.scale.detach().clone().requires_grad_()
    ends = -quantizer.most, quantizer.most, quantizer.factor
    if axis == 0:
        point = torch.zeros(4)
        other = torch.ops.aten._fake_quantize_learnable_per_channel_affine(
            theirs, learned, point, 0, *ends
        )
    else:
        other = torch.ops.aten._fake_quantize_learnable_per_tensor_affine(
            theirs, learned, torch.zeros(1), *ends
        )
    torch.autograd.backward((other * upstream).sum())
    assert torch.allclose(made, other, rtol=1e-6)
    assert w.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(w.grad, theirs.grad, rtol=1e-5)
    assert quantizer.scale.grad is not None
    assert learned.grad is not None
    assert torch.allclose(quantizer.scale.grad, learned.grad, rtol=1e-4)


@pytest.mark.parametrize("method", [Tqt, Gradient])
def test_gradients_of_exponents(method: type[WeightQuantizer]) -> None:
    """``s ln 2`` times ``rint(w / s) - w / s`` inside, Qp or -Qn outside."""
    w = _weights().requires_grad_()
    quantizer = method(w, 3, None)
    exponent = quantizer.exponent
    assert isinstance(exponent, torch.Tensor)
    start = math.log2(3 * w.std(unbiased=False).item() / 3)
    assert exponent.item() == pytest.approx(start, abs=1e-5)
    upstream = torch.linspace(-1, 1, w.numel())
    levels, scale = quantizer(w)
    assert scale.item() == 2.0 ** round(math.log2(scale.item()))
    (levels * scale * upstream).sum().backward()
    steps = (w / scale).detach()
    inside = steps.abs() <= 3
    each = torch.where(inside, torch.round(steps) - steps, 3 * torch.sign(steps))
    expected = scale.item() * math.log(2) * float((each * upstream).sum())
    assert exponent.grad is not None
    assert exponent.grad.item() == pytest.approx(expected, rel=1e-4)
    assert w.grad is not None
    assert torch.allclose(w.grad, upstream * inside, atol=1e-6)


def test_dorefa_levels() -> None:
    w = _weights()
    levels, scale = Dorefa(w, 3, None)(w)
    unit = torch.tanh(w) / (2 * torch.tanh(w).abs().max()) + 0.5
    assert torch.equal(levels, 2 * torch.round(7 * unit) - 7)
    assert (levels * scale).abs().max().item() == pytest.approx(w.abs().max().item())
    assert {int(v) % 2 for v in levels} == {1}
    with pytest.raises(UsageError, match=r"dorefa: 7 bits; allowed: 2 to 6"):
        Dorefa(w, 7, None)


def test_pact_gradients() -> None:
    """1 for the clipping point where ``x >= alpha``, else 0; 1 for x inside, 0 outside."""
    held = Activation(QuantParams((0.01,), (0,)), "pact", 10)
    alpha = held.value.item()
    x = torch.tensor([-1.0, 0.3, 1.1, 2.0, 2.7, 5.0], requires_grad=True)
    codes = held.codes(x / held.scale, 0, 255)
    wanted = torch.round(x.detach().clamp(0, alpha) / held.scale)
    assert torch.equal(codes, wanted)
    upstream = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    (codes * held.scale * upstream).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([0.0, 2.0, 3.0, 4.0, 0.0, 0.0])
    assert held.value.grad is not None
    assert held.value.grad.item() == pytest.approx(11.0)
    signed = Activation(QuantParams((0.01,), (100,)), "pact", 10)
    assert signed.method == "static"


@pytest.mark.parametrize(("bits", "exponent"), [(2, -1), (3, -2), (4, -3)])
def test_msqe_by_hand(bits: int, exponent: int) -> None:
    w = torch.tensor(HAND)
    _, scale = Msqe(w, bits, None, Remedies(outlier_mask=False))(w)
    assert scale.item() == 2.0**exponent


def test_outliers_move_the_msqe_scale_unless_masked() -> None:
    values = np.random.default_rng(0).normal(0, 0.1, 4096)
    values[:4] = [2, -2, 2, -2]
    w = torch.tensor(values, dtype=torch.float32)
    scales = [Msqe(w, 4, None, Remedies(outlier_mask=m))(w)[1].item() for m in (False, True)]
    assert scales == [2.0**-3, 2.0**-5]


@pytest.mark.parametrize("rounding", ["ceil", "nearest", "msqe"])
def test_how_a_learned_exponent_is_rounded(rounding: str) -> None:
    w = torch.tensor(HAND)
    quantizer = Gradient(w, 3, None, Remedies(outlier_mask=False, rounding=rounding))
    for k in (-2.6, -2.4, -1.7, -1.3, -3.0):
        quantizer.exponent.data.fill_(k)
        found = math.log2(quantizer(w)[1].item())
        errors = {}
        for whole in (math.floor(k), math.ceil(k)):
            codes = torch.round((w / 2.0**whole).clamp(-3, 3))
            errors[whole] = float(((codes * 2.0**whole - w) ** 2).mean())
        expected = {"ceil": math.ceil(k), "nearest": round(k)}.get(
            rounding,
            math.floor(k) if errors[math.floor(k)] < errors[math.ceil(k)] else math.ceil(k),
        )
        assert found == expected, k


@pytest.mark.parametrize("method", [Msqe, Gradient])
def test_second_moments_follow_the_gradients(method: type[Exponents]) -> None:
    w = _weights().requires_grad_()
    quantizer = method(w, 3, None)
    quantizer.train()
    total = torch.zeros_like(w)
    for step in range(3):
        upstream = torch.linspace(-1, 1, w.numel()) * (step + 1)
        levels, scale = quantizer(w)
        inside = ((w / scale).abs() <= 3.5).detach()
        (levels * scale * upstream).sum().backward()
        total = 0.999 * total + 0.001 * upstream**2 * inside
    assert torch.allclose(quantizer.second, total, rtol=1e-4, atol=1e-9)
    assert torch.allclose(quantizer.weighting(), total.sqrt(), rtol=1e-3, atol=1e-6)
    plain = method(w, 3, None, Remedies(second_moment=False))
    _real(plain, w).sum().backward()
    assert not bool(plain.second.any())
    assert bool((plain.weighting() == 1).all())


@pytest.mark.parametrize("method", [Msqe, Gradient])
def test_a_stable_exponent_stays(method: type[Exponents]) -> None:
    w = _weights()
    quantizer = method(w, 4, None, Remedies(stable=True))
    quantizer.train()
    first = quantizer(w)[1].item()
    quantizer(8 * w)
    quantizer.freeze()
    kept = quantizer(64 * w)[1].item()
    # A hundredth of the way to the second one is still the first.
    assert kept == first
    loose = method(w, 4, None, Remedies(stable=False))
    loose.train()
    loose(w)
    loose.freeze()
    assert not loose.frozen
    assert len(quantizer.history) == 3
    assert quantizer.history[-1].item() == round(quantizer.mean.item())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("axis", [None, 0])
def test_levels_are_whole_and_within_their_coding(name: str, axis: int | None) -> None:
    w = _weights(96).reshape(4, 24)
    quantizer = METHODS[name](w, 3, axis)
    levels, scale = quantizer(w)
    assert torch.equal(levels, torch.round(levels))
    count = 1 if axis is None or name == "dorefa" else 4
    assert scale.reshape(-1).shape == (count,)
    coding = quantizer.coding
    if coding.table:
        assert set(levels.reshape(-1).tolist()) <= {float(row[0]) for row in coding.table}
    else:
        assert levels.abs().max() <= (1 << (coding.bits - 1)) - 1
    left = (levels.detach() * scale.detach().reshape(-1, 1) - w) ** 2
    assert float(left.sum()) < float((w**2).sum())


def test_remedies_that_are_refused() -> None:
    with pytest.raises(UsageError, match="rounding: 'up'; allowed: ceil, nearest, msqe"):
        Remedies(rounding="up")
    with pytest.raises(UsageError, match="activations: 'wide'; allowed: static, lsq, pact, tqt"):
        Activation(QuantParams((1.0,), (0,)), "wide", 1)
