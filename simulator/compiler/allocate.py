"""Addresses for things that live for a while: the largest first, each at the lowest address that is
free for as long as it lives."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

ALIGNMENT_BYTES = 16


@dataclass(frozen=True)
class Request:
    """``size_bytes`` of ``region`` during commands ``first`` .. ``last``."""

    key: Hashable
    region: str
    size_bytes: int
    first: int
    last: int


def aligned(size_bytes: int) -> int:
    """``size_bytes`` rounded up to whole alignment units."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def allocate(
    requests: list[Request], capacities: dict[str, int]
) -> tuple[dict[Hashable, int], Request | None]:
    """Addresses by key, and the first request that found no place (None if all did).

    A region without a capacity is unbounded.
    """
    placed: dict[str, list[tuple[int, int, int, int]]] = {}
    addresses: dict[Hashable, int] = {}
    for request in sorted(requests, key=lambda r: (-r.size_bytes, r.first, str(r.key))):
        size = aligned(request.size_bytes)
        taken = placed.setdefault(request.region, [])
        address = 0
        for start, end, first, last in sorted(taken):
            if last < request.first or request.last < first:
                continue
            if start - address >= size:
                break
            address = max(address, end)
        capacity = capacities.get(request.region)
        if capacity is not None and address + size > capacity:
            return addresses, request
        taken.append((address, address + size, request.first, request.last))
        addresses[request.key] = address
    return addresses, None
