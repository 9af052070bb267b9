"""How one output element of a Matmul came about, in plain Python integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.dataflows import grid_of, reduction_segment
from simulator.fixedpoint.thresholds import NAME
from simulator.hwconfig import DATAFLOWS
from simulator.program.commands import Command, Host, Matmul
from simulator.program.program import Program


@dataclass(frozen=True)
class Explanation:
    """``code = clamp(requantize(kept) + zero_point)``.

    ``accumulator`` is the exact sum, ``kept`` what the device's accumulator holds of it after wrapping
    or saturating in its own order of additions. ``multiplier`` and ``shift`` are the requantizer's own:
    real scale = multiplier * 2**(shift - fraction_bits), with the ``fraction_bits`` that
    ``fixedpoint.requantize.REQUANTIZERS`` gives for it; for thresholds they are how many
    ``direction * kept`` reaches, and the direction.
    """

    bias: int
    accumulator: int
    kept: int
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
    shape = (nest.groups, nest.kernel_h, nest.kernel_w, nest.k, nest.n)
    made = operands[1] if inner.weights_made else program.constants[inner.weights]
    weights = made.reshape(shape)
    bias = int(program.constants[inner.bias][channel])
    products = np.zeros((nest.kernel_h, nest.kernel_w, nest.k), object)
    for ky, kx, k in np.ndindex(*products.shape):
        iy = oy * nest.stride_h + ky * nest.dilation_h - nest.pad_top
        ix = ox * nest.stride_w + kx * nest.dilation_w - nest.pad_left
        code = inner.pad_code
        if 0 <= iy < nest.in_h and 0 <= ix < nest.in_w:
            code = int(x[b, iy, ix, g * nest.k + k])
        tap = int(weights[g, ky, kx, k, n]) - inner.weight_offset
        products[ky, kx, k] = (code - inner.ifmap_offset) * tap
    total = bias + int(products.sum())
    kept = total if isinstance(command, Host) else _kept(program, inner, products, bias)
    in_tail = channel >= nest.groups * nest.n - stage.tail_channels
    kind = stage.tail_kind if in_tail else stage.kind
    shift = int(program.constants[stage.shift][channel])
    found = program.constants[stage.multiplier][channel]
    if kind == NAME:
        multiplier = sum(int(t) <= shift * kept for t in found)
    else:
        multiplier = int(found)
    return Explanation(
        bias, total, kept, kind, multiplier, shift, stage.zero_point, stage.clamp_min,
        stage.clamp_max,
    )  # fmt: skip


def _kept(program: Program, command: Matmul, products: np.ndarray, bias: int) -> int:
    """The accumulator as the device keeps it; ``products`` (kernel_h, kernel_w, k) of one output."""
    array = program.device.array

    def narrow(value: int, bits: int) -> int:
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        if array.overflow == "saturate":
            return min(max(value, low), high)
        return (value - low) % (1 << bits) + low

    ifmap_bits = program.placements[command.ifmap].spec.bits
    grid = grid_of(program.device, ifmap_bits, command.weight_bits, group=command.group)
    terms = grid.terms
    kept = narrow(bias, array.accumulator_bits)
    for start in range(0, command.nest.k, command.nest.tile_k):
        tile = [int(p) for p in products[..., start : start + command.nest.tile_k].reshape(-1)]
        code = DATAFLOWS.index(command.dataflow)  # type: ignore[arg-type]
        skipped = array.kept_of[1] // array.kept_of[0] if command.sparse else 1
        segment = reduction_segment(code, len(tile), grid.rows * terms * skipped)
        for first in range(0, len(tile), segment):
            psum, fold = 0, tile[first : first + segment]
            for t in range(0, len(fold), terms):
                psum = narrow(psum + sum(fold[t : t + terms]), array.sum_bits)
            kept = narrow(kept + psum, array.accumulator_bits)
    return kept
