"""A function of float32 numbers by its place in ``mlas.FUNCTIONS``; the host's.

Parameters ``alpha`` and ``beta`` are float32 words.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint import mlas
from simulator.fixedpoint.float32 import float_of_bits
from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    name = list(mlas.FUNCTIONS)[command.parameter("function")]
    alpha, beta = (float_of_bits(command.parameter(key)) for key in ("alpha", "beta"))
    out[...] = mlas.evaluate(name, inputs[0], alpha, beta)
