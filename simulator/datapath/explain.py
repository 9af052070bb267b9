"""How one output element of a Matmul came about, in plain Python integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.program.commands import Command, Host, Matmul
from simulator.program.program import Program


@dataclass(frozen=True)
class Explanation:
    """``code = clamp(requantize(accumulator) + zero_point)``, with ``accumulator`` the exact sum.

    ``multiplier`` and ``shift`` are the requantizer's own: real scale = multiplier * 2**(shift - 31) for
    double_rounding, multiplier * 2**shift for float64_away.
    """

    bias: int
    accumulator: int
    requantizer: str
    multiplier: int
    shift: int
    zero_point: int
    clamp_min: int
    clamp_max: int


def explain_output(
    program: Program, command: Command, operands: list[np.ndarray], index: tuple[int, ...]
) -> Explanation | None:
    """The account of output ``index`` (without samples); None for commands without accumulators.

    ``operands`` are the command's inputs of one sample, in their own shapes.
    """
    inner = command.command if isinstance(command, Host) else command
    if not isinstance(inner, Matmul):
        return None
    nest, stage = inner.nest, inner.requantize
    shape = (nest.batch, nest.out_h, nest.out_w, nest.groups * nest.n)
    flat = int(np.ravel_multi_index(index, program.placements[inner.ofmap].spec.shape))
    b, oy, ox, channel = (int(i) for i in np.unravel_index(flat, shape))
    g, n = divmod(channel, nest.n)
    x = operands[0].reshape(nest.batch, nest.in_h, nest.in_w, nest.groups * nest.k)
    weights = program.constants[inner.weights]
    bias = int(program.constants[inner.bias][channel])
    total = bias
    for ky, kx, k in np.ndindex(nest.kernel_h, nest.kernel_w, nest.k):
        iy = oy * nest.stride_h + ky * nest.dilation_h - nest.pad_top
        ix = ox * nest.stride_w + kx * nest.dilation_w - nest.pad_left
        code = inner.pad_code
        if 0 <= iy < nest.in_h and 0 <= ix < nest.in_w:
            code = int(x[b, iy, ix, g * nest.k + k])
        tap = int(weights[g, ky, kx, k, n]) - inner.weight_offset
        total += (code - inner.ifmap_offset) * tap
    return Explanation(
        bias, total, stage.kind, int(program.constants[stage.multiplier][channel]),
        int(program.constants[stage.shift][channel]), stage.zero_point, stage.clamp_min,
        stage.clamp_max,
    )  # fmt: skip
