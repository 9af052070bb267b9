"""Functions of the vector unit on values. Arrays are C-contiguous; one kernel per function."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.fixedpoint.requantize import (
    double_rounding,
    doubling_high_mul,
    rounding_divide_by_pot,
)
from simulator.fixedpoint.softmax import exp_on_negative, leading_zeros, one_over_one_plus
from simulator.jit import jit
from simulator.program.commands import Vector
from simulator.program.nest import Nest


class Scaling(NamedTuple):
    """One operand's way to another scale: (code - zero_point) * multiplier * 2**(shift - 31)."""

    zero_point: int
    multiplier: int
    shift: int


class OutputCode(NamedTuple):
    """From a scaled value to a code."""

    zero_point: int
    clamp_min: int
    clamp_max: int


@jit
def _add(a, b, first, second, left_shift, output, code, out):
    """Element-wise; ``a``, ``b``, ``out`` are flat."""
    for i in range(a.size):
        x = double_rounding(
            (np.int64(a[i]) - first.zero_point) << left_shift, first.multiplier, first.shift
        )
        y = double_rounding(
            (np.int64(b[i]) - second.zero_point) << left_shift, second.multiplier, second.shift
        )
        value = double_rounding(x + y, output.multiplier, output.shift) + code.zero_point
        out[i] = min(max(value, code.clamp_min), code.clamp_max)


@jit
def _rescale(x, scaling, code, out):
    """Element-wise; flat."""
    for i in range(x.size):
        value = double_rounding(
            np.int64(x[i]) - scaling.zero_point, scaling.multiplier, scaling.shift
        )
        out[i] = min(max(value + code.zero_point, code.clamp_min), code.clamp_max)


@jit
def _pool(x, nest, average, clamp_min, clamp_max, out):
    """(samples, in_h, in_w, channels) -> (samples, out_h, out_w, channels)."""
    for s in range(x.shape[0]):
        for oy in range(nest.out_h):
            y0 = max(oy * nest.stride_h - nest.pad_top, 0)
            y1 = min(oy * nest.stride_h - nest.pad_top + nest.kernel_h, nest.in_h)
            for ox in range(nest.out_w):
                x0 = max(ox * nest.stride_w - nest.pad_left, 0)
                x1 = min(ox * nest.stride_w - nest.pad_left + nest.kernel_w, nest.in_w)
                count = (y1 - y0) * (x1 - x0)
                for c in range(x.shape[3]):
                    total = np.int64(0)
                    largest = np.int64(clamp_min)
                    for y in range(y0, y1):
                        for xx in range(x0, x1):
                            total += np.int64(x[s, y, xx, c])
                            largest = max(largest, np.int64(x[s, y, xx, c]))
                    value = largest
                    if average:
                        # Ties away from zero; the reference's division truncates.
                        value = (abs(total) + count // 2) // count
                        if total < 0:
                            value = -value
                    out[s, oy, ox, c] = min(max(value, clamp_min), clamp_max)


@jit
def _softmax(x, scaling, smallest, code, out):
    """(rows, depth), each row on its own."""
    for r in range(x.shape[0]):
        largest = np.int64(x[r, 0])
        for c in range(x.shape[1]):
            largest = max(largest, np.int64(x[r, c]))
        total = np.int64(0)
        for c in range(x.shape[1]):
            difference = np.int64(x[r, c]) - largest
            if difference >= smallest:
                scaled = doubling_high_mul(difference << scaling.shift, scaling.multiplier)
                total += rounding_divide_by_pot(exp_on_negative(scaled), 12)
        headroom = leading_zeros(total)
        reciprocal = one_over_one_plus((total << headroom) - (1 << 31))
        for c in range(x.shape[1]):
            difference = np.int64(x[r, c]) - largest
            value = np.int64(0)
            if difference >= smallest:
                scaled = doubling_high_mul(difference << scaling.shift, scaling.multiplier)
                value = rounding_divide_by_pot(
                    doubling_high_mul(reciprocal, exp_on_negative(scaled)), 35 - headroom
                )
            value += code.zero_point
            out[r, c] = min(max(value, code.clamp_min), code.clamp_max)


def _scaling(command: Vector, suffix: str) -> Scaling:
    zero = f"zero_point{suffix}" if suffix != "_out" else ""
    return Scaling(
        command.parameter(zero) if zero else 0,
        command.parameter(f"multiplier{suffix}"), command.parameter(f"shift{suffix}"),
    )  # fmt: skip


def _code(command: Vector) -> OutputCode:
    return OutputCode(
        command.parameter("zero_point_out"), command.parameter("clamp_min"),
        command.parameter("clamp_max"),
    )  # fmt: skip


def run_vector(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    """Fill ``out`` (samples, ...) from ``inputs`` (samples, ...), all C-contiguous."""
    if command.function == "add":
        _add(
            inputs[0].reshape(-1), inputs[1].reshape(-1), _scaling(command, "_1"),
            _scaling(command, "_2"), command.parameter("left_shift"), _scaling(command, "_out"),
            _code(command), out.reshape(-1),
        )  # fmt: skip
    elif command.function == "rescale":
        scaling = Scaling(
            command.parameter("zero_point_in"), command.parameter("multiplier"),
            command.parameter("shift"),
        )  # fmt: skip
        _rescale(inputs[0].reshape(-1), scaling, _code(command), out.reshape(-1))
    elif command.function in ("average_pool", "max_pool"):
        nest: Nest = command.nest
        x = inputs[0].reshape(-1, nest.in_h, nest.in_w, nest.groups)
        average = command.function == "average_pool"
        low, high = command.parameter("clamp_min"), command.parameter("clamp_max")
        _pool(x, nest, average, low, high, out.reshape(-1, nest.out_h, nest.out_w, nest.groups))
    elif command.function == "softmax":
        scaling = Scaling(0, command.parameter("multiplier"), command.parameter("shift"))
        low, high = command.parameter("minimum"), command.parameter("maximum")
        depth = command.nest.n
        _softmax(
            inputs[0].reshape(-1, depth), scaling, command.parameter("smallest"),
            OutputCode(low, low, high), out.reshape(-1, depth),
        )  # fmt: skip
    else:
        raise AssertionError(f"no vector function {command.function}")
