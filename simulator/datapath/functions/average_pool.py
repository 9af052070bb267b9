"""Mean over a window, padding left out."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._pool import run_pool
from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    run_pool(command, inputs, out, True)
