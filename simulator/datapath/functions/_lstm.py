"""What both functions of an LSTM's time step are given: gates, scalars and tables.

Inputs: the gates from the input, int16, and from the output before it, int32, both (rows, cells, gates);
the cell state, int16 (rows, cells); then, as parameters ``peepholes`` and ``norms`` say, the peepholes
(int16) and the weights (int16) and biases (int32) of layer normalization, a row for each gate.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint.lstm import LstmCell, LstmNorm, LstmPeephole, no_norm, no_peephole
from simulator.fixedpoint.width import saturate
from simulator.jit import jit
from simulator.program.commands import Vector

GATES = 4


@jit
def add_gates(x, h, gates):
    """``gates`` int64 [4, cells] from ``x`` and ``h`` (cells, gates); an absent input gate is left out."""
    absent = gates.shape[0] - x.shape[1]
    for i in range(x.shape[0]):
        for g in range(x.shape[1]):
            gates[absent + g, i] = saturate(np.int64(x[i, g]) + np.int64(h[i, g]), 16)


def scalars(command: Vector) -> LstmCell:
    """Parameters; those of the other function are 0."""
    names = ("cell_clip", "hidden_multiplier", "hidden_shift", "hidden_zero_point")
    found = dict(command.parameters)
    clip, multiplier, shift, zero_point = (found.get(name, 0) for name in names)
    coupled = command.parameter("gates") < GATES
    return LstmCell(command.parameter("cell_log2"), clip, coupled, multiplier, shift, zero_point)


def operands(command: Vector, inputs: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Gates (rows, cells, gates) twice, and the cell state (rows, cells): samples join the rows."""
    cell = inputs[2].reshape(-1, inputs[2].shape[-1])
    shape = (*cell.shape, command.parameter("gates"))
    return inputs[0].reshape(shape), inputs[1].reshape(shape), cell


def tables(command: Vector, inputs: list[np.ndarray]) -> tuple[LstmPeephole, LstmNorm]:
    """Tables of four rows; those of gates that the function does not make stay 0."""
    rest = [values[0] for values in inputs[3:]]  # the same for every sample
    peephole, norm = no_peephole(), no_norm()
    if command.parameter("peepholes"):
        peephole = LstmPeephole(
            _rows(command, "peephole", rest.pop(0)), *_pairs(command, "peephole")
        )
    if command.parameter("norms"):
        weights, biases = (_rows(command, "norm", rest.pop(0)) for _ in range(2))
        guards = _numbers(command, "guard")
        norm = LstmNorm(weights, biases, *_pairs(command, "norm"), guards)
    return peephole, norm


def _gates(command: Vector, kind: str) -> list[int]:
    """The gates that have parameters of this kind."""
    return [int(name[-1]) for name, _ in command.parameters if name[:-1] == f"{kind}_"]


def _numbers(command: Vector, kind: str) -> np.ndarray:
    found = np.zeros(GATES, np.int64)
    for gate in _gates(command, kind):
        found[gate] = command.parameter(f"{kind}_{gate}")
    return found


def _pairs(command: Vector, kind: str) -> tuple[np.ndarray, np.ndarray]:
    return _numbers(command, f"{kind}_multiplier"), _numbers(command, f"{kind}_shift")


def _rows(command: Vector, kind: str, table: np.ndarray) -> np.ndarray:
    found = np.zeros((GATES, table.shape[1]), table.dtype)
    found[_gates(command, f"{kind}_multiplier")] = table
    return found
