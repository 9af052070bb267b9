"""How much memory reading a model file may take.

A file says how large things are, and may name one part of itself any number of times: what it asks for
can exceed its own size by any factor. So whatever an importer makes beyond one copy of what is stored
(evaluated constants, first values of states, more copies, scales) is asked of the file's
:class:`Allowance` first. What parsing itself takes is proportional to the file. Together reading n bytes
takes at most ``memory_bound(n)``.
"""

from __future__ import annotations

from simulator.errors import ModelError

_BASE_BYTES = 256 << 20
# The protobuf package takes up to 107 for each byte of a list of empty messages, two bytes each.
_PER_BYTE = 128
# The part of it that importers give out.
_MADE_BASE_BYTES = 64 << 20
_MADE_PER_BYTE = 32

# What Python takes for one number or name in a tuple, its place there included.
OBJECT_BYTES = 40


def memory_bound(size_bytes: int) -> int:
    """The most bytes that reading a file of ``size_bytes`` allocates, beyond the file itself."""
    return _BASE_BYTES + _PER_BYTE * size_bytes


class Allowance:
    """What reading one file may still make; lives as long as its reader."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self.name = name
        self.whole = self.left = _MADE_BASE_BYTES + _MADE_PER_BYTE * size_bytes

    def take(self, size_bytes: int, where: str = "") -> None:
        """Use ``size_bytes`` of it, before they are allocated; a :class:`ModelError` if it is used up."""
        self.left -= size_bytes
        if self.left < 0:
            raise ModelError(
                where or self.name, f"takes {self.whole - self.left} bytes of memory to read so far",
                f"{self.whole} for a file of this size",
            )  # fmt: skip

    def objects(self, count: int, where: str = "") -> None:
        """As :meth:`take`, for a tuple of ``count`` numbers or names."""
        self.take(OBJECT_BYTES * count, where)
