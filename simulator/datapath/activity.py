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
    held = weights.astype(np.int64).reshape(
        nest.groups, nest.kernel_h, nest.kernel_w, nest.k, nest.n
    )
    held = held - command.weight_offset
    images = values.shape[0]
    places = images * nest.out_h * nest.out_w
    zero_ifmap = zero_weight = zero_any = 0
    along_places = 0
    taps: list[
        np.ndarray
    ] = []  # of every kernel place: (places, groups, k), kept for output stationary
    keep = command.dataflow == "output_stationary"
    ifmap_bits = program.placements[command.ifmap].spec.bits + (command.ifmap_offset != 0)
    for row in range(nest.kernel_h):
        for column in range(nest.kernel_w):
            tap = _tap(values, nest, row, column, padding)
            zeros = np.count_nonzero(tap == 0, axis=0)  # (groups, k)
            none = np.count_nonzero(held[:, row, column] == 0, axis=2)  # (groups, k)
            zero_ifmap += int(zeros.sum()) * nest.n
            zero_weight += int(none.sum()) * places
            zero_any += int((zeros * nest.n + none * places - zeros * none).sum())
            if command.dataflow == "weight_stationary":
                images_apart = tap.reshape(images, -1, *tap.shape[1:])
                along_places += _changed(images_apart, 1, ifmap_bits)
            elif keep:
                taps.append(tap)
    macs = places * nest.groups * nest.kernel_h * nest.kernel_w * nest.k * nest.n
    toggled, streamed = _streamed(command, held, taps, ifmap_bits, places)
    if command.dataflow == "weight_stationary":
        pairs = images * (nest.out_h * nest.out_w - 1) * nest.groups * nest.k
        toggled, streamed = along_places, pairs * nest.kernel_h * nest.kernel_w * ifmap_bits
    return Activity(macs, zero_ifmap, zero_weight, zero_any, toggled, streamed)


def _streamed(
    command: Matmul, held: np.ndarray, taps: list[np.ndarray], ifmap_bits: int, places: int
) -> tuple[int, int]:
    """(bits that changed, bits that streamed) where sums or ifmaps stay."""
    bits = command.weight_bits + (command.weight_offset != 0)
    if command.dataflow == "input_stationary":
        changed = _changed(held, 4, bits)
        return changed, held[..., 1:].size * bits
    if command.dataflow != "output_stationary":
        return 0, 0
    terms = np.stack(taps, axis=2)  # (places, groups, kernel places, k)
    terms = terms.reshape(*terms.shape[:2], -1)
    weights = held.reshape(held.shape[0], -1, held.shape[-1])  # (groups, terms, n)
    # Every ifmap stream meets n channels, and every weight stream all places.
    changed = _changed(terms, 2, ifmap_bits) * held.shape[-1] + _changed(weights, 1, bits) * places
    pairs = places * weights[:, 1:].size
    return changed, pairs * (ifmap_bits + bits)


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
