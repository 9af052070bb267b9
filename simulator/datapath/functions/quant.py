"""QONNX's quantizers; the host's."""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.quantizer import ROUNDING_NAMES, Quantizer
from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    quantizer = Quantizer(
        tuple(float(d) for d in inputs[1][0]), command.parameter("zero_point"),
        command.parameter("minimum"), command.parameter("maximum"),
        bool(command.parameter("clamps")), ROUNDING_NAMES[command.parameter("rounding")],
        bool(command.parameter("bipolar")),
    )  # fmt: skip
    out[...] = quantizer.codes(inputs[0])
