"""SVDF on 8-bit codes with a 16-bit state, in plain integers (TensorFlow Lite's ``svdf.h``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oracles.fixed import double_rounding, quantize_multiplier, saturate, wrap


@dataclass
class Svdf:
    """One layer: F filters of ``rank`` to a unit, memory M.

    ``feature`` [F, inputs] int8, ``time`` [F, M] int16, ``bias`` [F / rank] int32 or nothing; scales are
    float32 values: of the input, the feature weights, the state, the time weights and the output.
    """

    feature: np.ndarray
    time: np.ndarray
    bias: np.ndarray | None
    rank: int
    scales: tuple[float, float, float, float, float]
    input_zero_point: int
    output_zero_point: int

    def step(self, state: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(new state [F, M] int16, output [F / rank] int8) for a batch of one."""
        s_in, s_feature, s_state, s_time, s_out = (np.float32(s) for s in self.scales)
        first = quantize_multiplier(float(np.float32(s_in * s_feature) / s_state))  # all in float32
        second = quantize_multiplier(float(np.float32(s_state * s_time) / s_out))
        filters, memory = self.time.shape
        new = np.zeros((filters, memory), np.int16)
        new[:, :-1] = state[:, 1:]
        for f in range(filters):
            products = self.feature[f].astype(np.int64) * (
                x.astype(np.int64) - self.input_zero_point
            )
            new[f, -1] = saturate(double_rounding(int(products.sum()), *first), 16)
        out = np.zeros(filters // self.rank, np.int8)
        for unit in range(out.size):
            total = 0 if self.bias is None else int(self.bias[unit])
            for f in range(unit * self.rank, (unit + 1) * self.rank):
                total += int((self.time[f].astype(np.int64) * new[f].astype(np.int64)).sum())
            code = double_rounding(wrap(total, 32), *second) + self.output_zero_point
            out[unit] = saturate(code, 8)  # the type's range is all the activation there is
        return new, out
