"""Slices at indices of several dimensions; the host's."""

from __future__ import annotations

import numpy as np

from simulator.datapath.functions.gather import check_indices
from simulator.program.commands import Vector


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    depth, inner = command.parameter("depth"), command.parameter("inner")
    samples = out.shape[0]
    indices = inputs[1].reshape(samples, -1, depth).astype(np.int64)
    place = np.zeros(indices.shape[:2], np.int64)
    for d in range(depth):
        size = command.parameter(f"size_{d}")
        check_indices(command, indices[..., d], size)
        place = place * size + indices[..., d]
    source = inputs[0].reshape(samples, -1, inner)
    target = out.reshape(samples, -1, inner)
    for one in range(samples):
        target[one] = source[one, place[one]]
