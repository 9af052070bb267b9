"""An operation on two tensors of float32 numbers that broadcast; the host's.

``operation``: a place in add, sub, mul, div, prelu. ``clamp_min`` and ``clamp_max`` are float32 words.
"""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._common import broadcast
from simulator.fixedpoint.float32 import float_of_bits
from simulator.program.commands import Vector

_FUNCTIONS = (np.add, np.subtract, np.multiply, np.divide)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    a, b = (broadcast(values, out) for values in inputs)
    operation = command.parameter("operation")
    with np.errstate(all="ignore"):
        if operation < len(_FUNCTIONS):
            made = _FUNCTIONS[operation](a, b)
        else:
            made = np.where(a >= 0, a, a * b)
    low, high = (float_of_bits(command.parameter(f"clamp_{end}")) for end in ("min", "max"))
    made = np.minimum(np.maximum(made, np.float32(low)), np.float32(high))
    out[...] = made.reshape(out.shape)
