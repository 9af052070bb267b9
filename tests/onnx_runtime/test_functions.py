"""The float32 functions are ONNX Runtime's, bit for bit, and its fused multiply-add is rounded once."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from onnx_builder import OnnxBuilder

from simulator.fixedpoint import float32, float32_wide, mlas
from simulator.fixedpoint.width import Integer
from simulator.ops.onnxruntime._binary import rounded

_FORMS = {
    "logistic": ("Sigmoid", {}), "tanh": ("Tanh", {}), "exp": ("Exp", {}), "sqrt": ("Sqrt", {}),
    "abs": ("Abs", {}), "neg": ("Neg", {}), "relu": ("Relu", {}), "hard_swish": ("HardSwish", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.3}), "elu": ("Elu", {"alpha": 0.7}),
}  # fmt: skip


def numbers(count: int) -> np.ndarray:
    """float32 numbers of many sizes; a multiple of 64, so that Elu's packets cover all."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, size, count // 4) for size in (0.01, 1, 8, 60)]
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize("name", _FORMS)
def test_equals_the_runtime(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="an extra: npusim[verify]")
    operator, attrs = _FORMS[name]
    b = OnnxBuilder(21)
    b.input("x", [None])
    b.node(operator, ["x"], "y", **attrs)
    b.output("y")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(b.write(), options, providers=["CPUExecutionProvider"])
    x = numbers(1 << 16)
    x = np.abs(x) if name == "sqrt" else x
    theirs = session.run(None, {"x": x})[0]
    ours = mlas.evaluate(name, x, float(attrs.get("alpha", 0)), float(attrs.get("beta", 0)))
    np.testing.assert_array_equal(ours.view(np.int32), theirs.view(np.int32))


def exact(pair: tuple[Integer, Integer]) -> Fraction:
    return Fraction(int(pair[0])) * Fraction(2) ** int(pair[1])


def test_fused_multiply_adds_and_quotients_round_once() -> None:
    rng = np.random.default_rng(1)
    x = np.exp(rng.normal(0, 12, (3, 4000))).astype(np.float32) * rng.choice([-1, 1], (3, 4000))
    x = x.astype(np.float32)
    # Sums that nearly cancel, and addends far below the last bit of the product.
    x[2, :1000] = -(x[0, :1000] * x[1, :1000])
    x[2, 1000:1500] = x[0, 1000:1500] * np.float32(2.0**-30)
    fused = mlas.multiply_add(x[0], x[1], x[2])
    for i, (a, b, c) in enumerate(x.T):
        wanted = rounded(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))
        assert Fraction(float(fused[i])) == wanted
        factor = int(rng.integers(-128, 256))
        pair = float32_wide.multiply_add(
            np.int64(factor), *(np.int64(v) for v in float32.pair_of(a)),
            *(np.int64(v) for v in float32.pair_of(c)),
        )  # fmt: skip
        assert exact(pair) == rounded(factor * Fraction(float(a)) + Fraction(float(c)))
        quotient = float32_wide.divide(
            *(np.int64(v) for v in float32.pair_of(a)), *(np.int64(v) for v in float32.pair_of(b))
        )
        assert exact(quotient) == rounded(Fraction(float(a)) / Fraction(float(b)))
