"""Codes to float32 numbers; the host's.

scale * (code - zero point) in double, rounded once; whole blocks of ``block`` codes of a sample in float32:
code * scale, then + f32(-zero point * scale).
"""

from __future__ import annotations

import math

import numpy as np

from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    scale = math.ldexp(command.parameter("scale_mantissa"), command.parameter("scale_exponent"))
    zero, block = command.parameter("zero_point_in"), command.parameter("block")
    x, y = (values.reshape(out.shape[0], -1) for values in (inputs[0], out))
    whole = x.shape[1] - x.shape[1] % block if block else 0
    y[:, :whole] = x[:, :whole].astype(np.float32) * np.float32(scale) + np.float32(-zero * scale)
    y[:, whole:] = scale * (x[:, whole:].astype(np.int64) - zero)
