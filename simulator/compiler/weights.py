"""How the constant weights of a product lie in memory, by their values: encoded, and with 0s left out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from simulator.hwconfig import Array
from simulator.program.commands import Matmul


def stored(command: Matmul, array: Array, weights: np.ndarray) -> Matmul:
    """``command`` with what its ``weights``, (groups, kernel_h, kernel_w, k, n), take on ``array``."""
    if command.stored_millibits:  # as codes already
        return command
    values = weights.astype(np.int64) - command.weight_offset
    if is_sparse(values, array):
        kept, of = array.kept_of
        # Each of the N that are kept says which of the M it is.
        bits = (command.weight_bits + (of - 1).bit_length()) * kept / of
        return replace(command, sparse=True, stored_millibits=math.ceil(1000 * bits))
    if array.weight_codec == "none":
        return command
    found = codec_bits(values, command.weight_bits, array.weight_codec)
    return replace(command, stored_millibits=max(math.ceil(1000 * found), 1))


def is_sparse(values: np.ndarray, array: Array) -> bool:
    """Whether at most N of every M neighbouring input channels are not 0, in all of ``values``."""
    kept, of = array.kept_of
    groups, height, width, k, n = values.shape
    if of == 1 or k % of:
        return False
    filled = values.reshape(groups, height, width, k // of, of, n) != 0
    return int(filled.sum(axis=4).max(initial=0)) <= kept


def codec_bits(values: np.ndarray, bits: int, codec: str) -> float:
    """Bits of a weight on average.

    ``bitmask``: one, and ``bits`` if it is not 0. ``entropy``: Shannon's bound, -sum(p log2 p) over the
    codes of this layer, without the code table.
    """
    if codec == "bitmask":
        return 1 + bits * float(np.count_nonzero(values)) / values.size
    _, counts = np.unique(values, return_counts=True)
    parts = counts / values.size
    return float(-(parts * np.log2(parts)).sum())
