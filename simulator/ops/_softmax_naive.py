"""The three softmaxes of one row, in plain integers or in the runtime's float32."""

from __future__ import annotations

import numpy as np

from simulator.ops import _common as common
from simulator.tensor import TensorSpec


def _high_mul(a: int, b: int) -> int:
    return (2 * a * b + 2**31) // 2**32


def _divide(value: int, exponent: int) -> int:
    quotient, rest = divmod(abs(value), 2**exponent)
    quotient += 1 if exponent and 2 * rest >= 2**exponent else 0
    return -quotient if value < 0 else quotient


def _exp(a: int) -> int:
    """exp of a non-positive Q5.26 as Q0.31: barrel of exp(-2**k) after a polynomial on [-1/4, 0)."""
    if a == 0:
        return 2**31 - 1
    fraction = a % 2**24 - 2**24
    x = fraction * 32 + 2**28
    x2 = _high_mul(x, x)
    x3, x4 = _high_mul(x2, x), _high_mul(x2, x2)
    inner = _divide(_high_mul(_divide(x4, 2) + x3, 715827883) + x2, 1)
    value = 1895147668 + _high_mul(1895147668, x + inner)
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
    for bit, factor in enumerate(factors):
        if (fraction - a) >> (24 + bit) & 1:
            value = _high_mul(value, factor)
    return value


def fixed_row(row: np.ndarray, scaling: tuple[int, int, int], spec: TensorSpec) -> list[int]:
    """gemmlowp's fixed point; ``scaling``: (multiplier, shift, smallest difference that counts)."""
    multiplier, shift, smallest = scaling
    differences = [int(v) - int(row.max()) for v in row]
    exps = [
        _exp(_high_mul(d * 2**shift, multiplier)) if d >= smallest else None for d in differences
    ]
    total = sum(_divide(e, 12) for e in exps if e is not None)
    headroom = 32 - total.bit_length()
    half = (total * 2**headroom) // 2  # half of 1 + f in Q0.31
    x = 1515870810 + _high_mul(half, -1010580540)
    for _ in range(3):
        x += _high_mul(x, 2**29 - _high_mul(half, x)) * 4
    reciprocal = min(2 * x, 2**31 - 1)
    codes = []
    for e in exps:
        code = 0 if e is None else _divide(_high_mul(reciprocal, e), 43 - headroom - spec.bits)
        codes.append(min(code + spec.minimum, spec.maximum))
    return codes


def float32_row(row: np.ndarray, exponentials: np.ndarray, spec: TensorSpec) -> list[int]:
    """Exponentials of differences from a table, their sum in order, the reciprocal of sum times scale.

    LiteRT rounds uint8 by adding 1/2 and cutting, the other types half away from 0.
    """
    shares = [exponentials[int(row.max()) - int(v)] for v in row]
    total = np.float32(0)
    for share in shares:
        total = total + share
    inverse = np.float32(1) / (total * np.float32(2.0**-spec.bits))
    codes = []
    for share in shares:
        real = share * inverse
        cut = int(real + np.float32(0.5))
        code = cut if spec.dtype == "u8" else common.round_half_away(float(real))
        codes.append(min(code + spec.minimum, spec.maximum))
    return codes


def _interpolate(table: np.ndarray, code: int) -> int:
    place, rest = divmod(code + 32768, 128)
    low, high = int(table[place]), int(table[place + 1])
    return low + ((high - low) * rest + 64) // 128


def interpolated_row(
    row: np.ndarray, scaling: tuple[int, int], tables: tuple[np.ndarray, np.ndarray]
) -> list[int]:
    """Tables of exp and of 1 / (1 + x); differences are scaled to [-65535, 0]."""
    multiplier, shift = scaling
    exps = []
    for value in row:
        doubled = (int(value) - int(row.max())) * 2 ** max(shift, 0) * multiplier
        scaled = _divide((2 * doubled + 2**31) // 2**32, max(-shift, 0))
        exps.append(_interpolate(tables[0], min(max(scaled + 32767, -32768), 32767)))
    total = sum(exps)
    headroom = 32 - total.bit_length()
    fraction = (total * 2 ** (headroom - 1) + 2**13) // 2**14 - 2**15 - 2**16
    reciprocal = _interpolate(tables[1], min(max(fraction, -32768), 32767))
    right = 31 - headroom
    products = [(e * reciprocal + 2 ** (right - 1)) // 2**right for e in exps]
    return [min(max(code, 0), 32767) for code in products]
