"""In which order TensorFlow Lite's optimised kernels walk two shapes that broadcast.

Their vector code takes whole blocks of a row's elements and rounds what is left over otherwise, so the
length of a row decides bits (``ProcessBroadcastShapes`` and ``BinaryBroadcastFiveFold``).
"""

from __future__ import annotations

import math


def row_length(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[str, int]:
    """(kind, elements of a row).

    ``same``: equal shapes, one row. ``rows``: two vectors meet element by element. ``scalar``: the rows of
    one operand each meet one element of the other. ``generic``: more than five alternations of broadcast
    and shared dimensions; taken element by element.
    """
    rank = max(len(first), len(second))
    a, b = ((1,) * (rank - len(shape)) + shape for shape in (first, second))
    if a == b:
        return "same", math.prod(a)
    last = max(d for d in range(rank) if a[d] != b[d])
    if a[last] != 1:
        a, b = b, a  # a is repeated along the last dimension that differs
    sizes = [1, 1, 1, 1, 1]
    d = rank - 1
    for fold in (4, 3, 2, 1, 0):
        while d >= 0 and _belongs(fold, a[d], b[d]):
            sizes[fold] *= max(a[d], b[d])
            d -= 1
    if d >= 0:
        return "generic", 1
    return ("rows", sizes[4]) if sizes[4] > 1 else ("scalar", sizes[3])


def _belongs(fold: int, a: int, b: int) -> bool:
    """Whether a dimension of sizes ``a`` and ``b`` goes on with fold 3 (a repeats), 1 (b repeats), or one
    of those that both share."""
    if fold == 3:
        return a == 1
    return b == 1 if fold == 1 else a == b
