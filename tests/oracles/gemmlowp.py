"""gemmlowp's fixed-point exp, logistic and tanh for any width, in plain Python integers.

A number of ``bits`` bits with ``m`` integer bits has ``bits - 1 - m`` fraction bits. Constants are
given in 32 bits and rounded (ties away from zero) to narrower ones.
"""

from __future__ import annotations

import math

from oracles.fixed import divide_by_pot, high_mul, saturate, wrap


class FixedPoint:
    """The functions on integers of one width."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.one = (1 << (bits - 1)) - 1  # Q0: the largest value stands for 1

    def constant(self, real: float, integer_bits: int) -> int:
        as_int32 = math.floor(abs(real) * 2.0 ** (31 - integer_bits) + 0.5)
        magnitude = divide_by_pot(as_int32, 32 - self.bits)
        return -magnitude if real < 0 else magnitude

    def mul(self, a: int, b: int) -> int:
        return high_mul(a, b, self.bits)

    def exp_on_quarter(self, a: int) -> int:
        """exp(a), a in [-1/4, 0) in Q0."""
        x = a + (1 << (self.bits - 4))
        x2 = self.mul(x, x)
        x3 = self.mul(x2, x)
        x4 = self.mul(x2, x2)
        third = self.mul(divide_by_pot(x4, 2) + x3, self.constant(1 / 3, 0))
        series = x + divide_by_pot(third + x2, 1)
        constant = self.constant(math.exp(-1 / 8), 0)
        result = constant + self.mul(constant, series)
        return saturate(result, 16) if self.bits == 16 else wrap(result, self.bits)

    def exp_on_negative(self, a: int, integer_bits: int) -> int:
        """exp(a) in Q0, a <= 0 with ``integer_bits``."""
        if a == 0:
            return self.one
        fraction_bits = self.bits - 1 - integer_bits
        quarter = 1 << (fraction_bits - 2)
        rest = (a & (quarter - 1)) - quarter
        result = self.exp_on_quarter(saturate(rest << integer_bits, self.bits))
        remainder = rest - a
        for exponent in range(-2, min(5, integer_bits)):
            if remainder & (1 << (fraction_bits + exponent)):
                result = self.mul(result, self.constant(math.exp(-(2.0**exponent)), 0))
        if integer_bits > 5 and a < -(32 << fraction_bits):
            return 0
        return result

    def _newton(self, a: int) -> int:
        """2 / (1 + a) in Q2, a in (0, 1] in Q0."""
        half = (a + self.one + 1) >> 1
        x = self.constant(48 / 17, 2) + self.mul(half, self.constant(-32 / 17, 2))
        for _ in range(3):
            rest = (1 << (self.bits - 3)) - self.mul(half, x)
            x = wrap(x + saturate(self.mul(x, rest) << 2, self.bits), self.bits)
        return x

    def logistic(self, a: int, integer_bits: int) -> int:
        if a == 0:
            return 1 << (self.bits - 2)
        x = self._newton(self.exp_on_negative(-abs(a), integer_bits))
        positive = saturate(x << 1, self.bits)
        return positive if a > 0 else self.one - positive

    def tanh(self, a: int, integer_bits: int) -> int:
        if a == 0:
            return 0
        # tanh(-|a|) = -(1 - e) / (1 + e), e = exp(-2|a|): one integer bit more doubles the number.
        x = self._newton(self.exp_on_negative(-abs(a), integer_bits + 1))
        positive = saturate((x - (1 << (self.bits - 3))) << 2, self.bits)
        return positive if a > 0 else -positive
