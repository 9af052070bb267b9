"""Functions of the vector unit and of the host on values: one file each, named like the function.

A file provides ``run(command, inputs, out)``: fill ``out`` (samples, *ofmap shape) from ``inputs``, each
(samples, *shape), all C-contiguous. Constant inputs hold the same values for every sample.
"""

from __future__ import annotations

from importlib import import_module

import numpy as np

from simulator.program.commands import Vector


def run_vector(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    """Fill ``out`` by the function that ``command`` names."""
    import_module(f"simulator.datapath.functions.{command.function}").run(command, inputs, out)
