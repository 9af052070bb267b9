"""Weights of products of bytes as the processor's instructions take them, and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.datapath import amx
from simulator.datapath.matmul import Channels
from simulator.datapath.units import AMX, PORTABLE, chosen_unit
from simulator.datapath.vnni import LANES, STEP
from simulator.program.commands import Matmul, Requantize
from simulator.program.nest import Nest
from simulator.tensor import TensorSpec

MOST_VECTORS = 4  # registers of columns in a block
_FLIP = 128  # from signed to unsigned bytes
_ALIGNMENT = 64


class Layout(NamedTuple):
    """Where bytes are: a padded image of ``height`` by ``width`` pixels, ``flip`` added to its codes."""

    height: int
    width: int
    channels: int
    flip: int
    steps: int  # of each stretch of a window


@dataclass(frozen=True)
class Packed:
    """A product's weights as the instruction takes them.

    ``blocks``: (first channel, columns, registers, offset of its bytes) of each block of output channels,
    (blocks, 4) for each group; ``starts`` (groups, stretches) of each group's window in the image.
    ``spread``: W; ``ones``: offset of weights of 1, to sum ``a``. A ``depthwise`` one has a block of all.
    ``numbers`` (groups, blocks, 8) are what ``finish_bytes`` takes: addresses within ``finish``.
    """

    weights: np.ndarray
    blocks: np.ndarray
    starts: np.ndarray
    layout: Layout
    spread: int
    ones: int
    finish: Finish
    depthwise: bool
    matrix: bool
    tiles: bool
    numbers: np.ndarray


class Finish(NamedTuple):
    """The output stage for each channel: ``bias`` (int32) with the constant terms; the rest is of
    :func:`_double_rounding`."""

    bias: np.ndarray
    multiplier: np.ndarray
    left: np.ndarray
    half: np.ndarray  # with the output's zero point, shifted left by ``right``
    away: np.ndarray
    right: np.ndarray


def aligned(size: int) -> np.ndarray:
    """(size,) int8 zeros, the first at a multiple of 64: bytes across two cache lines are read twice."""
    raw = np.zeros(size + _ALIGNMENT, np.int8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size]


def packable(command: Matmul, weights: np.ndarray, ifmap: TensorSpec, sums: type) -> bool:
    """Whether the instruction gives the exact sums of ``command``, and is here."""
    bytes_only = weights.itemsize == 1 and ifmap.container.itemsize == 1
    return chosen_unit() != PORTABLE and bytes_only and sums is np.int32


def _is_matrix(nest: Nest) -> bool:
    """Whether a window is a row of the ifmap, and each row is read once."""
    if nest.groups > 1 or nest.pad_top or nest.pad_left:
        return False
    kernel, size = (nest.kernel_h, nest.kernel_w), (nest.in_h, nest.in_w)
    out, stride = (nest.out_h, nest.out_w), (nest.stride_h, nest.stride_w)
    pixel = kernel == (1, 1) and stride == (1, 1) and out == size
    whole = kernel == size and out == (1, 1) and (nest.dilation_h, nest.dilation_w) == (1, 1)
    return pixel or whole


def _stretches(nest: Nest, width: int) -> tuple[np.ndarray, int]:
    """Offsets of a window's stretches in the padded image (of the first group), and their bytes."""
    channels = nest.groups * nest.k
    rows, cols = np.indices((nest.kernel_h, nest.kernel_w), np.int64)
    line = nest.dilation_h * width * channels
    if nest.groups == 1 and nest.dilation_w == 1:
        if nest.kernel_w == width and nest.dilation_h == 1:
            return np.zeros(1, np.int64), nest.kernel_h * nest.kernel_w * nest.k
        return np.arange(nest.kernel_h, dtype=np.int64) * line, nest.kernel_w * nest.k
    return (rows * line + cols * nest.dilation_w * channels).reshape(-1), nest.k


def pack(command: Matmul, weights: np.ndarray, channels: Channels, signed: bool) -> Packed:
    """``weights`` (groups, kernel_h, kernel_w, k, n) of codes in bytes; ``signed``: the ifmap's codes."""
    nest = command.nest
    height = (nest.out_h - 1) * nest.stride_h + (nest.kernel_h - 1) * nest.dilation_h + 1
    width = (nest.out_w - 1) * nest.stride_w + (nest.kernel_w - 1) * nest.dilation_w + 1
    flip = _FLIP if signed else 0
    values, zero = weights.astype(np.int64) - command.weight_offset, 0
    if values.min() < -_FLIP or values.max() >= _FLIP:
        zero = command.weight_offset - (0 if weights.dtype.kind == "i" else _FLIP)
        values += zero
    terms = nest.kernel_h * nest.kernel_w * nest.k
    above = command.ifmap_offset + flip
    totals = values.sum(axis=(1, 2, 3)).reshape(-1)
    bias = channels.bias - above * totals + terms * above * zero
    depthwise, matrix = nest.n == nest.k == 1 and nest.groups > 1, _is_matrix(nest)
    tiles = matrix and chosen_unit() == AMX
    multiple = amx.BYTES // STEP if tiles else 1
    form = _depthwise(nest, values, width) if depthwise else _dense(nest, values, width, multiple)
    joined = np.concatenate([*form.parts, form.ones])
    packed = aligned(joined.size)
    packed[:] = joined
    layout = Layout(height, width, nest.groups * nest.k, flip, form.steps)
    finish = _finish_of(bias, channels, command.requantize.zero_point)
    return Packed(
        packed, form.blocks, form.starts, layout, zero, joined.size - form.ones.size, finish,
        depthwise, matrix, tiles, _numbers(finish, form.blocks, command.requantize),
    )  # fmt: skip


class _Form(NamedTuple):
    """Weights in the order in which the instruction takes them; ``ones``: the same of 1 in each place."""

    parts: list[np.ndarray]
    ones: np.ndarray
    blocks: np.ndarray
    starts: np.ndarray
    steps: int


def _dense(nest: Nest, values: np.ndarray, width: int, multiple: int) -> _Form:
    """``multiple``: of the steps of a stretch."""
    starts, length = _stretches(nest, width)
    steps, columns = -(-length // (STEP * multiple)) * multiple, MOST_VECTORS * LANES
    by_step = np.zeros((nest.groups, starts.size, steps * STEP, nest.n), np.int8)
    by_step[:, :, :length] = values.reshape(nest.groups, starts.size, length, nest.n)
    by_step = by_step.reshape(nest.groups, starts.size * steps, STEP, nest.n)
    blocks, parts, offset = [], [], 0
    for group in range(nest.groups):
        for first in range(0, nest.n, columns):
            part = by_step[group, :, :, first : first + columns].transpose(0, 2, 1)
            vectors = -(-part.shape[1] // LANES)
            whole = np.zeros((part.shape[0], vectors * LANES, STEP), np.int8)
            whole[:, : part.shape[1]] = part
            blocks.append((group * nest.n + first, part.shape[1], vectors, offset))
            parts.append(whole.reshape(-1))
            offset += whole.size
    there = np.zeros((starts.size, steps * STEP), np.int8)
    there[:, :length] = 1
    ones = np.zeros((starts.size * steps, LANES, STEP), np.int8)
    ones[:, 0] = there.reshape(-1, STEP)
    groups = np.arange(nest.groups, dtype=np.int64)[:, None] * nest.k
    return _Form(
        parts, ones.reshape(-1), np.array(blocks, np.int64).reshape(nest.groups, -1, 4),
        groups + starts[None, :], steps,
    )  # fmt: skip


def _depthwise(nest: Nest, values: np.ndarray, width: int) -> _Form:
    """Of one input and one output channel in each group; one block holds them all."""
    taps, channels = nest.kernel_h * nest.kernel_w, nest.groups
    steps, vectors = -(-taps // STEP), -(-channels // LANES)
    rows, cols = np.indices((nest.kernel_h, nest.kernel_w), np.int64)
    places = rows * nest.dilation_h * width + cols * nest.dilation_w
    starts = np.zeros(steps * STEP, np.int64)
    starts[:taps] = places.reshape(-1) * channels

    def by_step(of_taps: np.ndarray) -> np.ndarray:
        whole = np.zeros((steps * STEP, vectors * LANES), np.int8)
        whole[:taps, :channels] = of_taps
        return whole.reshape(steps, STEP, vectors, LANES).transpose(2, 0, 3, 1).reshape(-1)

    blocks = np.array([[(0, channels, vectors, 0)]], np.int64)
    ones = by_step(np.ones((taps, channels), np.int8))
    weights = by_step(values.reshape(channels, taps).T.astype(np.int8))
    return _Form([weights], ones, blocks, starts[None, :], steps)


def _finish_of(bias: np.ndarray, channels: Channels, zero: int) -> Finish:
    """Behind the last channel is room for a whole register."""
    shift = channels.shift if channels.multiplier.any() else np.zeros_like(channels.shift)
    left, right = np.maximum(shift, 0), np.clip(-shift, 0, 62)
    half = np.where(right > 0, 1 << np.maximum(right - 1, 0), 0)
    found = (
        bias.astype(np.int32), channels.multiplier.astype(np.int32), left.astype(np.int32),
        half + (zero << np.minimum(right, 31)), np.where(right > 0, -1, 0), right,
    )  # fmt: skip
    return Finish(*(np.concatenate([part, np.zeros(LANES, part.dtype)]) for part in found))


def _numbers(finish: Finish, blocks: np.ndarray, stage: Requantize) -> np.ndarray:
    found = np.zeros((*blocks.shape[:2], 8), np.int64)
    for place, part in enumerate(finish):
        found[..., place] = part.ctypes.data + part.itemsize * blocks[..., 0]
    found[..., 6:] = stage.clamp_min, stage.clamp_max
    return found
