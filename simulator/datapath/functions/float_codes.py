"""Two tensors of codes through float32 operations, each carried out in integers (``fixedpoint.float32``).

``form`` 0: a fused multiply-add of either operand, as ONNX Runtime's QLinearAdd. 1: the product of the
codes scaled, the zero point added before rounding, as its QLinearMul. 2: both dequantized,
``operation`` (add, sub, mul, div, prelu), quantized. ``offset`` is added to all codes, inputs, output and
zero points, for the time of the computation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.datapath.functions._common import OutputCode, broadcast, code_of
from simulator.fixedpoint import float32, float32_wide
from simulator.fixedpoint.width import Integer
from simulator.jit import jit
from simulator.program.commands import Vector


class _Numbers(NamedTuple):
    """Zero points of the operands, three float32 numbers as pairs, and the codes' offset."""

    zero_1: np.int64
    zero_2: np.int64
    first: tuple[np.int64, np.int64]
    second: tuple[np.int64, np.int64]
    third: tuple[np.int64, np.int64]
    offset: np.int64


@jit
def _sum(a: Integer, b: Integer, by: _Numbers) -> Integer:
    m, e = float32_wide.multiply_add(b, by.second[0], by.second[1], by.third[0], by.third[1])
    m, e = float32_wide.multiply_add(a, by.first[0], by.first[1], m, e)
    return float32.round_even(m, e)


@jit
def _product(a: Integer, b: Integer, by: _Numbers, zero_out: Integer) -> Integer:
    """Products of 8-bit codes are below 2**17."""
    exact = (a - by.zero_1) * (b - by.zero_2)
    m, e = float32.multiply(exact, np.int64(0), by.first[0], by.first[1])
    m, e = float32.add(m, e, zero_out, np.int64(0))
    return float32.round_even(m, e)


@jit
def _real(operation: Integer, a: Integer, b: Integer, by: _Numbers) -> Integer:
    m, e = float32.multiply(a - by.zero_1, np.int64(0), by.first[0], by.first[1])
    m2, e2 = float32.multiply(b - by.zero_2, np.int64(0), by.second[0], by.second[1])
    if operation == 0:
        m, e = float32.add(m, e, m2, e2)
    elif operation == 1:
        m, e = float32.add(m, e, -m2, e2)
    elif operation == 3:
        m, e = float32_wide.divide(m, e, m2, e2)
    elif operation == 2 or m < 0:
        m, e = float32.multiply(m, e, m2, e2)
    m, e = float32_wide.divide(m, e, by.third[0], by.third[1])
    return float32.round_even(m, e)


@jit
def _codes(a, b, form, operation, by, code, out):
    """Element-wise; flat."""
    for i in range(a.size):
        x, y = np.int64(a[i]), np.int64(b[i])
        if form == 0:
            value = _sum(x + by.offset, y + by.offset, by) - by.offset
        elif form == 1:
            value = _product(x, y, by, code.zero_point + by.offset) - by.offset
        else:
            value = _real(operation, x, y, by) + code.zero_point
        out[i] = min(max(value, code.clamp_min), code.clamp_max)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    first, second, third = (
        (np.int64(command.parameter(f"{n}_mantissa")), np.int64(command.parameter(f"{n}_exponent")))
        for n in ("first", "second", "third")
    )
    zeros = [np.int64(command.parameter(f"zero_point_{i}")) for i in (1, 2)]
    offset = np.int64(command.parameter("offset"))
    by = _Numbers(zeros[0], zeros[1], first, second, third, offset)
    code = OutputCode(*(np.int64(v) for v in code_of(command)))  # type: ignore[arg-type]
    _codes(
        broadcast(inputs[0], out), broadcast(inputs[1], out), command.parameter("form"),
        command.parameter("operation"), by, code, out.reshape(-1),
    )  # fmt: skip
