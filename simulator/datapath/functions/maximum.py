"""The larger of two tensors, element by element."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._common import broadcast
from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    a, b = (broadcast(values, out) for values in inputs)
    np.maximum(a, b, out=out.reshape(-1))
