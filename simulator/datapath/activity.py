"""How busy operands keep a multiplier: zeros among them, and bits that change from one to the next.

Counted from the values that a program's products really read, in the order in which the dataflow streams
them past a PE: pixel after pixel for one weight (weight stationary), term after term of one sum (output
stationary, both operands), channel after channel for one ifmap (input stationary). Tiles are not looked at:
where one ends, the next operand is taken to be its neighbour in the tensor.
"""

from __future__ import annotations

import numpy as np

from simulator.program.activity import Activity
from simulator.program.commands import Matmul
from simulator.program.nest import Nest
from simulator.program.program import Program


def activity(command: Matmul, program: Program, ifmap: np.ndarray, weights: np.ndarray) -> Activity:
    """Of ``command`` on ``ifmap`` codes of shape (samples, ...), with ``weights`` of shape (groups,
    kernel_h, kernel_w, k, n)."""
    nest = command.nest
    codes = ifmap.reshape(-1, nest.in_h, nest.in_w, nest.groups, nest.k).astype(np.int64)
    values = codes - command.ifmap_offset
    padding = command.pad_code - command.ifmap_offset
    shape = nest.groups, nest.kernel_h, nest.kernel_w, nest.k, nest.n
    held = weights.astype(np.int64).reshape(shape) - command.weight_offset
    images = values.shape[0]
    places = images * nest.out_h * nest.out_w
    ifmap_bits = program.placements[command.ifmap].spec.bits + (command.ifmap_offset != 0)
    weight_bits = command.weight_bits + (command.weight_offset != 0)
    zero_ifmap = zero_weight = zero_any = toggled = 0
    taps: list[np.ndarray] = []  # of output stationary: what every kernel place reads
    for row in range(nest.kernel_h):
        for column in range(nest.kernel_w):
            tap = _tap(values, nest, row, column, padding)
            zeros = np.count_nonzero(tap == 0, axis=0)  # (groups, k)
            none = np.count_nonzero(held[:, row, column] == 0, axis=2)  # (groups, k)
            zero_ifmap += int(zeros.sum()) * nest.n
            zero_weight += int(none.sum()) * places
            zero_any += int((zeros * nest.n + none * places - zeros * none).sum())
            if command.dataflow == "weight_stationary":
                toggled += _changed(tap.reshape(images, -1, *tap.shape[1:]), 1, ifmap_bits)
            elif command.dataflow == "output_stationary":
                taps.append(tap)
    terms = nest.groups * nest.kernel_h * nest.kernel_w * nest.k
    if command.dataflow == "weight_stationary":
        streamed = (places - images) * terms * ifmap_bits
    elif command.dataflow == "input_stationary":
        toggled, streamed = _changed(held, 4, weight_bits), held[..., 1:].size * weight_bits
    else:
        toggled, streamed = _along_terms(taps, held, ifmap_bits, weight_bits)
    return Activity(places * terms * nest.n, zero_ifmap, zero_weight, zero_any, toggled, streamed)


def _along_terms(
    taps: list[np.ndarray], held: np.ndarray, ifmap_bits: int, weight_bits: int
) -> tuple[int, int]:
    """(bits that changed, bits that streamed) of both operands from one term of a sum to the next."""
    places, groups, _ = taps[0].shape
    ifmaps = np.stack(taps, axis=2).reshape(places, groups, -1)
    weights = held.reshape(groups, -1, held.shape[-1])
    # Every ifmap stream meets n channels, and every weight stream all places.
    changed = _changed(ifmaps, 2, ifmap_bits) * held.shape[-1]
    changed += _changed(weights, 1, weight_bits) * places
    return changed, places * weights[:, 1:].size * (ifmap_bits + weight_bits)


def _tap(values: np.ndarray, nest: Nest, row: int, column: int, padding: int) -> np.ndarray:
    """What one kernel place reads at all output places, of shape (places, groups, k)."""
    rows = np.arange(nest.out_h) * nest.stride_h + row * nest.dilation_h - nest.pad_top
    columns = np.arange(nest.out_w) * nest.stride_w + column * nest.dilation_w - nest.pad_left
    inside = ((rows >= 0) & (rows < nest.in_h))[:, None] & ((columns >= 0) & (columns < nest.in_w))
    read = values[:, rows.clip(0, nest.in_h - 1)][:, :, columns.clip(0, nest.in_w - 1)]
    read = np.where(inside[None, :, :, None, None], read, padding)
    return read.reshape(-1, nest.groups, nest.k)


def _changed(values: np.ndarray, axis: int, bits: int) -> int:
    """Bits that differ between neighbours along ``axis``, of codes of so many bits."""
    moved = np.moveaxis(values, axis, 0)
    different = ((moved[1:] ^ moved[:-1]) & ((1 << bits) - 1)).astype(np.uint64)
    return int(np.bitwise_count(different).sum())
