"""The cell state of an LSTM after a time step."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions._lstm import GATES, add_gates, operands, scalars, tables
from simulator.fixedpoint.lstm import new_cell
from simulator.jit import jit
from simulator.program.commands import Vector


@jit
def _cells(x, h, cell, parameters, peephole, norm, gates, out):
    """Row by row: ``x``, ``h`` (rows, cells, gates), ``cell``, ``out`` (rows, cells)."""
    for row in range(out.shape[0]):
        add_gates(x[row], h[row], gates)
        out[row] = cell[row]
        new_cell(gates, out[row], parameters, peephole, norm)


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    x, h, cell = operands(command, inputs)
    gates = np.zeros((GATES, cell.shape[1]), np.int64)
    _cells(
        x, h, cell, scalars(command), *tables(command, inputs), gates, out.reshape(cell.shape)
    )  # fmt: skip
