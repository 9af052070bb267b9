"""Plain numbers, int32, int64 or float32; the host's. ``operation`` is a place in ``hwconfig.ARITHMETIC``.

Integers wrap, and a zero divisor stops the run, as it stops TensorFlow Lite. ``clamp_min`` and
``clamp_max`` are real bounds; float32 sums, differences, products and quotients end at the largest finite
number in any case, as the runtime's do.
"""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._common import broadcast
from simulator.errors import DataError
from simulator.hwconfig import ARITHMETIC
from simulator.program.commands import Vector

_CLAMPED = ("add", "sub", "mul", "div")


def _quotient(name: str, operation: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if (b == 0).any() and not (operation == "div" and b.dtype.kind == "f"):
        raise DataError(name, "divides by zero", "divisors other than 0")
    if operation == "floor_div":
        # In double, where the quotient of two float32 or int32 numbers rounds to no wrong integer.
        exact = np.floor(a.astype(np.float64) / b.astype(np.float64))
        return exact.astype(np.int64) if b.dtype.kind == "i" else exact
    if b.dtype.kind == "f":
        return a / b
    wide = a.astype(np.int64), b.astype(np.int64)
    return (abs(wide[0]) // abs(wide[1])) * np.sign(wide[0]) * np.sign(wide[1])


def _computed(name: str, operation: str, operands: list[np.ndarray]) -> np.ndarray:
    if operation == "sqrt":
        return np.sqrt(operands[0])
    a, b = operands
    if operation in ("div", "floor_div"):
        return _quotient(name, operation, a, b)
    functions = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "maximum": np.maximum,
        "minimum": np.minimum,
    }  # fmt: skip
    return functions[operation](a, b)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    operation = ARITHMETIC[command.parameter("operation")]
    with np.errstate(all="ignore"):
        made = _computed(command.name, operation, [broadcast(values, out) for values in inputs])
        result = made.astype(out.dtype)
    given = dict(command.parameters)
    if out.dtype.kind == "f" and operation in _CLAMPED:
        limits = np.finfo(out.dtype)
        low, high = given.get("clamp_min", limits.min), given.get("clamp_max", limits.max)
        result = np.clip(result, out.dtype.type(low), out.dtype.type(high))
    elif "clamp_min" in given or "clamp_max" in given:
        result = np.clip(result, given.get("clamp_min"), given.get("clamp_max"))
    out[...] = result.reshape(out.shape)
