"""How an array takes constant weights that are stored as codes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.coding import LEVEL_BITS, Coding
from simulator.graph import GraphTensor
from simulator.hwconfig import Array

if TYPE_CHECKING:
    from simulator.ops._product import Product


def coded_weights(
    tensor: GraphTensor, product: Product, weight_offset: int, array: Array
) -> dict[str, Any]:
    """The fields of a Matmul that say how wide its weights are and how they are stored.

    What the array has no decoder for, a table of more or longer entries than its own, or factors of groups,
    is stored as the levels that PEs multiply. Codes are the shifts themselves where PEs shift.
    """
    plain = {"weight_bits": tensor.spec.bits}
    if isinstance(product.weights, str):
        return plain
    coding = tensor.coding
    if array.multiplier == "shift":
        terms = most_terms(product.weights.astype(np.int64) - weight_offset)
        bits = coding.bits if coding is not None and coding.vector == 1 and not coding.group else 0
        return {"weight_bits": bits or tensor.spec.bits, "shift_terms": max(terms, 1)}
    if coding is None:
        return plain
    if coding.table:
        return _of_table(coding, tensor, array)
    if coding.group:
        return _of_groups(coding, tensor, product, array)
    return {"weight_bits": coding.bits}


def _of_table(coding: Coding, tensor: GraphTensor, array: Array) -> dict[str, Any]:
    entries = len(coding.table)
    if coding.level_bits == 1:  # -1 and +1 need no table
        return {"weight_bits": 1}
    if entries > array.codebook_entries or coding.vector > array.codebook_vector:
        return {"weight_bits": coding.level_bits}
    return {
        "weight_bits": coding.level_bits, "stored_millibits": _millibits(coding, tensor),
        "table_entries": entries,
    }  # fmt: skip


def _of_groups(
    coding: Coding, tensor: GraphTensor, product: Product, array: Array
) -> dict[str, Any]:
    """A factor for each whole group of a sum's channels, if the array has such factors."""
    whole = product.nest.k % coding.group == 0
    if not whole or coding.factor_bits > array.group_factor_bits:
        largest = int(np.abs(np.asarray(product.weights).astype(np.int64)).max())
        return {"weight_bits": min(largest.bit_length() + 1, LEVEL_BITS)}
    return {
        "weight_bits": coding.bits, "stored_millibits": _millibits(coding, tensor),
        "group": coding.group, "factor_bits": coding.factor_bits,
    }  # fmt: skip


def _millibits(coding: Coding, tensor: GraphTensor) -> int:
    return math.ceil(1000 * coding.stored_bits(tensor.spec.shape) / tensor.spec.elements)


def most_terms(levels: np.ndarray) -> int:
    """The most signed powers of two that any of ``levels`` is a sum of: digits that are not 0 in its
    non-adjacent form, which has the fewest."""
    sizes = np.abs(levels)
    return int(np.bitwise_count(sizes ^ (3 * sizes)).max(initial=0))
