"""Means of float32 numbers as ONNX Runtime's ReduceMean sums them; the host's.

``order_d``: our axis that is the file's axis d; ``reduced_a``: whether our axis a is reduced; ``last``: the
reduced axes are the file's last and summed in packets, else the first and summed row by row.
"""

from __future__ import annotations

import numpy as np

from simulator.program.commands import Vector

_PACKET = 4


def _one_by_one(rows: np.ndarray) -> np.ndarray:
    """Sums along the second axis from its first element on."""
    total = rows[:, 0]
    for i in range(1, rows.shape[1]):
        total = total + rows[:, i]
    return total


def _packets(rows: np.ndarray, start: int) -> np.ndarray:
    """Rows whose element ``start`` is the first on a multiple of 16 bytes."""
    start, size = min(start, rows.shape[1]), rows.shape[1]
    count = (size - start) // _PACKET
    if count == 0:
        return _one_by_one(rows)
    end = start + count * _PACKET
    packets = rows[:, start:end].reshape(len(rows), count, _PACKET)
    paired = count - count % 2
    total = packets[:, 0]
    if count > 1:
        total = _one_by_one(packets[:, 0:paired:2]) + _one_by_one(packets[:, 1:paired:2])
        if count > paired:
            total = total + packets[:, paired]
    halves = total[:, :2] + total[:, 2:]
    rest = np.concatenate([rows[:, :start], rows[:, end:]], axis=1)
    return _one_by_one(np.concatenate([halves[:, :1] + halves[:, 1:], rest], axis=1))


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    (x,) = inputs
    dimensions = command.parameter("dimensions")
    order = [command.parameter(f"order_{d}") for d in range(dimensions)]
    kept = [a for a in order if not command.parameter(f"reduced_{a}")]
    along = [a for a in order if command.parameter(f"reduced_{a}")]
    turned = x.transpose(0, *(a + 1 for a in (*kept, *along)))
    rows = turned.reshape(x.shape[0], -1, int(np.prod([x.shape[a + 1] for a in along])))
    sums = np.zeros(rows.shape[:2], np.float32)
    with np.errstate(all="ignore"):  # sums of infinities are what IEEE 754 says
        for i in range(rows.shape[1]):
            row = np.ascontiguousarray(rows[:, i])
            if command.parameter("last"):
                sums[:, i] = _packets(row, -i * row.shape[1] % _PACKET)
            else:
                sums[:, i] = _one_by_one(row)
    means = (sums / np.float32(rows.shape[2])).reshape(x.shape[0], *(x.shape[a + 1] for a in kept))
    ours = np.argsort(kept).tolist()
    out[...] = means.transpose(0, *(a + 1 for a in ours)).reshape(out.shape)
