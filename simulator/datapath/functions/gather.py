"""Slices along an axis, chosen by indices; the host's."""

from __future__ import annotations

import numpy as np

from simulator.errors import DataError
from simulator.program.commands import Vector


def check_indices(command: Vector, indices: np.ndarray, size: int) -> None:
    """A :class:`DataError` for an index outside 0..size - 1: the reference refuses it too."""
    wrong = indices[(indices < 0) | (indices >= size)]
    if wrong.size:
        raise DataError(
            f"{command.operator.upper()} {command.name!r}", f"index {wrong[0]}", f"0..{size - 1}"
        )


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    batches, outer, along, chosen, inner = (
        command.parameter(key) for key in ("batches", "outer", "along", "chosen", "inner")
    )
    samples = out.shape[0] * batches
    check_indices(command, inputs[1], along)
    source = inputs[0].reshape(samples, outer, along, inner)
    target = out.reshape(samples, outer, chosen, inner)
    for one, indices in enumerate(inputs[1].reshape(samples, chosen)):
        target[one] = source[one][:, indices]
