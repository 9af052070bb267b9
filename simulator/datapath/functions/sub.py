"""Difference of two tensors, each operand brought to a common scale first."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions.add import run_sum
from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    run_sum(command, inputs, out, -1)
