"""float32 numbers to codes as QuantizeLinear makes them; the host's. ``scale`` is a float32 word."""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint import mlas
from simulator.fixedpoint.float32 import float_of_bits
from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    out[...] = mlas.quantized(
        inputs[0], float_of_bits(command.parameter("scale")), command.parameter("zero_point_out"),
        command.parameter("clamp_min"), command.parameter("clamp_max"),
    )  # fmt: skip
