"""Choosing by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from simulator.errors import UsageError


class Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


def named(what: str, names: Sequence[str], known: Sequence[T]) -> list[T]:
    """Those of ``known`` that ``names`` names, in that order; all of them by default."""
    of = {one.name: one for one in known}
    for name in names:
        if name not in of:
            raise UsageError(f"{what}s", f"no {what} {name!r}", ", ".join(of))
    return [of[name] for name in names] if names else list(known)
