"""float32 numbers to codes; the host's.

Modes: 0 divides in float32, ties away; 1 multiplies by the reciprocal, ties to even; 2 divides in double,
ties away. ``mode`` is for whole blocks of a sample's elements, ``mode_rest`` for what is left. Quotients
beyond int32, whose conversion C leaves undefined, go to the end of the codes; NaN becomes the zero point.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.program.commands import Vector

_BEYOND_CODES = 2.0**31


def _rounded(x: np.ndarray, scale: np.float32, mode: int) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        if mode == 1:
            quotient = (x * (np.float32(1) / scale)).astype(np.float64)
        elif mode == 2:
            quotient = x.astype(np.float64) / np.float64(scale)
        else:
            quotient = (x / scale).astype(np.float64)
    limited = np.nan_to_num(np.clip(quotient, -_BEYOND_CODES, _BEYOND_CODES))
    if mode == 1:
        return np.rint(limited).astype(np.int64)
    whole = np.trunc(limited)
    return (whole + (np.abs(limited - whole) >= 0.5) * np.sign(limited)).astype(np.int64)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    scale = np.float32(
        math.ldexp(command.parameter("scale_mantissa"), command.parameter("scale_exponent"))
    )
    x = inputs[0].reshape(out.shape[0], -1)
    whole = x.shape[1] - x.shape[1] % command.parameter("block")
    parts = (
        (x[:, :whole], command.parameter("mode")),
        (x[:, whole:], command.parameter("mode_rest")),
    )
    codes = np.concatenate([_rounded(values, scale, mode) for values, mode in parts], axis=1)
    codes += command.parameter("zero_point_out")
    low, high = command.parameter("clamp_min"), command.parameter("clamp_max")
    out[...] = np.clip(codes, low, high).reshape(out.shape)
