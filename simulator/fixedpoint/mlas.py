"""ONNX Runtime's float32 functions, element by element, as its x86 kernels evaluate them.

MLAS approximates by rational functions with fused multiply-adds (``mlas/lib/logistic.cpp``, ``tanh.cpp``,
``compute.cpp``); Elu goes through Eigen's exponential without them. Equal to ONNX Runtime 1.31.1 in every
bit on x86 with FMA3 (``tests/onnx_runtime/test_functions.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from simulator.fixedpoint.fused import fused_multiply_add as multiply_add

_F = np.float32
Function = Callable[[np.ndarray, float, float], np.ndarray]


def _polynomial(x: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """By Horner's rule, the highest power first."""
    value = np.full(x.shape, coefficients[0], _F)
    for c in coefficients[1:]:
        value = multiply_add(value, x, _F(c))
    return value


def logistic(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    x = np.clip(x, _F(-18), _F(18))
    square = x * x
    odd = (
        4.37031012579801e-11, 1.15627324459942e-07, 6.08574864600143e-05, 8.51377133304701e-03,
        2.48287947061529e-01,
    )  # fmt: skip
    even = (
        6.10247389755681e-13, 5.76102136993427e-09, 6.29106785017040e-06, 1.70198817374094e-03,
        1.16817656904453e-01, 9.93151921023180e-01,
    )  # fmt: skip
    quotient = _polynomial(square, odd) * x / _polynomial(square, even)
    return np.clip(quotient + _F(0.5), _F(0), _F(1))


def tanh(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    x = np.clip(x, _F(-9), _F(9))
    square = x * x
    odd = (
        -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
        1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
    )  # fmt: skip
    even = (
        1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03
    )  # fmt: skip
    return _polynomial(square, odd) * x / _polynomial(square, even)


def exp(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """2**m times a polynomial of what is left, ln 2 in two parts; below the smallest normal: 0."""
    x = np.clip(x, _F(-103.9720840454), _F(88.7762626647950))
    one_and_a_half = _F(1.5 * 2**23)  # adding it rounds to an integer
    m = multiply_add(x, np.full(x.shape, 1.44269504088896341, _F), one_and_a_half) - one_and_a_half
    rest = multiply_add(m, np.full(x.shape, -6.93145752e-1, _F), x)
    rest = multiply_add(m, np.full(x.shape, -1.42860677e-6, _F), rest)
    digits = (
        "0x1.694000p-10", "0x1.125edcp-7", "0x1.555b5ap-5", "0x1.555450p-3", "0x1.fffff6p-2",
        "0x1p+0", "0x1p+0",
    )  # fmt: skip
    value = _polynomial(rest, [float.fromhex(d) for d in digits])
    return np.ldexp(value.astype(np.float64), m.astype(np.int64)).astype(_F)


def _eigen_exp(x: np.ndarray) -> np.ndarray:
    """Eigen's packet exponential, every product and sum rounded."""
    x = np.clip(x, _F(-104), _F(88.723))
    m = np.floor(x * _F(1.44269504088896341) + _F(0.5))
    r = m * _F(-0.693359375) + x
    r = m * _F(2.12194440e-4) + r
    square = r * r
    even = square * _F(1.37449637986719608306884765625e-3) + _F(4.166965186595916748046875e-2)
    odd = square * _F(8.36894474923610687255859375e-3) + _F(0.16666518151760101318359375)
    even = square * even + _F(0.49999988079071044921875)
    value = square * (r * odd + even) + (r + _F(1))
    return np.ldexp(value.astype(np.float64), m.astype(np.int64)).astype(_F)


def elu(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.where(x >= 0, x, _F(alpha) * (_eigen_exp(np.minimum(x, _F(0))) - _F(1)))


def hard_sigmoid(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.clip(_F(alpha) * x + _F(beta), _F(0), _F(1))


def hard_swish(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """The runtime takes it apart: HardSigmoid with 1/6 and 1/2, then a product."""
    return x * hard_sigmoid(x, 1 / 6, 0.5)


def leaky_relu(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.where(x >= 0, x, x * _F(alpha))


FUNCTIONS: dict[str, Function] = {
    "logistic": logistic, "tanh": tanh, "exp": exp, "elu": elu, "hard_sigmoid": hard_sigmoid,
    "hard_swish": hard_swish, "leaky_relu": leaky_relu,
    "abs": lambda x, alpha, beta: np.abs(x),
    "neg": lambda x, alpha, beta: -x,
    "sqrt": lambda x, alpha, beta: np.sqrt(x),
    "relu": lambda x, alpha, beta: np.maximum(x, _F(0)),
    "relu6": lambda x, alpha, beta: np.clip(x, _F(0), _F(6)),
    "relu_n1_to_1": lambda x, alpha, beta: np.clip(x, _F(-1), _F(1)),
}  # fmt: skip


def evaluate(name: str, x: np.ndarray, alpha: float = 0.0, beta: float = 0.0) -> np.ndarray:
    """The function called ``name`` of float32 numbers."""
    with np.errstate(all="ignore"):
        return FUNCTIONS[name](np.ascontiguousarray(x, _F), alpha, beta).astype(_F)


def dequantized(codes: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """DequantizeLinear: f32(f32(code - zero point) * scale); int32 codes lose bits first."""
    with np.errstate(over="ignore", under="ignore"):
        return (codes.astype(np.int64) - zero_point).astype(_F) * _F(scale)


def quantized(values: np.ndarray, scale: float, zero_point: int, low: int, high: int) -> np.ndarray:
    """QuantizeLinear: rint(f32(value / scale)) + zero point, clamped; int64. NaN becomes the smallest."""
    with np.errstate(all="ignore"):
        rounded = np.rint(values.astype(_F) / _F(scale)).astype(np.float64)
    return np.clip(np.nan_to_num(rounded, nan=-np.inf) + zero_point, low, high).astype(np.int64)
