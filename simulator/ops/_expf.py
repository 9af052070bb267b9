"""The C library's ``expf``, as LiteRT's kernels call it to fill tables: glibc's algorithm.

exp(x) = 2**(k/32) * 2**(r/32) with k an integer and |r| <= 1/2: a table of 32 powers and a cubic in r, in
double, rounded to float32 once. It is not always the float32 nearest to exp(x) (about one argument in
2000 is one unit off), and the runtime's tables have those units; hence not ``numpy.exp``. Source: ARM's
optimized routines (math/expf.c, exp2f_data.c), which glibc took over in 2.27.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import cache

import numpy as np

_PARTS = 32
_PARTS_PER_E = float.fromhex("0x1.71547652b82fep+0") * _PARTS  # 32 / ln 2
# 2**(r/32) for |r| <= 1/2, highest power first, without the final 1.
_CUBIC = tuple(
    float.fromhex(digits) / _PARTS**power
    for digits, power in (
        ("0x1.c6af84b912394p-5", 3), ("0x1.ebfce50fac4f3p-3", 2), ("0x1.62e42ff0c52d6p-1", 1)
    )
)  # fmt: skip
_LOWEST = -104.0  # below, exp is under half of the smallest float32


@cache
def _powers() -> tuple[float, ...]:
    """2**(i/32), each the nearest double."""
    with localcontext() as context:
        context.prec = 40
        return tuple(float(Decimal(2) ** (Decimal(i) / _PARTS)) for i in range(_PARTS))


def expf(x: np.float32) -> np.float32:
    """exp(x) for x <= 0, as glibc rounds it."""
    if x < _LOWEST:
        return np.float32(0)
    scaled = _PARTS_PER_E * float(x)
    whole = round(scaled)  # ties to even, as the addition of 1.5 * 2**52 rounds
    r = scaled - whole
    power = np.ldexp(_powers()[whole % _PARTS], whole // _PARTS)
    value = (_CUBIC[0] * r + _CUBIC[1]) * (r * r) + (_CUBIC[2] * r + 1)
    with np.errstate(under="ignore"):
        return np.float32(value * power)
