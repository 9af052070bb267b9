"""The inner loop of a product of bytes on the processor's matrix tiles.

A tile holds 16 rows of 64 bytes. Two by two tiles of 16 x 16 sums take two tiles of rows and two of
columns at each step of 64 bytes of the reduction.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from simulator.datapath.llvm import called

ROWS = 16
BYTES = 64  # of a tile's row; a step of the reduction
TILE_BYTES = ROWS * BYTES
BLOCK = 2 * ROWS  # rows, and columns, of a block of sums

# Of Linux on x86-64: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18
_TILES = 8
_INDEX, _BYTE, _VOID = ir.IntType(64), ir.IntType(8), ir.VoidType()
_ADDRESS = _BYTE.as_pointer()
_SUMS, _LEFT, _RIGHT = (0, 1, 2, 3), (4, 5), (6, 7)


@cache
def permitted() -> bool:
    """Whether the system lets this process use the tiles: it is asked once."""
    if not sys.platform.startswith("linux"):
        return False
    return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0


def configuration() -> np.ndarray:
    """All tiles of 16 rows of 64 bytes, as ``ldtilecfg`` takes it: (64,) uint8."""
    found = np.zeros(64, np.uint8)
    found[0] = 1  # the palette
    found[16 : 16 + 2 * _TILES : 2] = BYTES
    found[48 : 48 + _TILES] = ROWS
    return found


def _configure() -> Callable[..., None]:
    @intrinsic
    def configure(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pointer = builder.inttoptr(values[0], _ADDRESS)
            called(builder, "llvm.x86.ldtilecfg", _VOID, [pointer])
            return context.get_dummy_value()

        return types.void(types.intp), generate

    return configure


def _release() -> Callable[..., None]:
    @intrinsic
    def release(typing: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            called(builder, "llvm.x86.tilerelease", _VOID, [])
            return context.get_dummy_value()

        return types.void(), generate

    return release


class _Block:
    """The loop being written, for one or two tiles of columns; the sums ``start`` anew or go on."""

    def __init__(self, builder: Any, columns: int, start: bool) -> None:
        self.b, self.columns, self.start = builder, columns, start

    def tile(self, name: str, tile: int, address: Any, stride: Any) -> None:
        pointer = self.b.inttoptr(address, _ADDRESS)
        called(self.b, f"llvm.x86.{name}", _VOID, [ir.Constant(_BYTE, tile), pointer, stride])

    def each_sum(self, name: str, block: Any, stride: Any) -> None:
        """Load or store the tiles of sums."""
        down = self.b.mul(stride, ir.Constant(_INDEX, ROWS))
        for r in range(2):
            row = self.b.add(block, self.b.mul(down, ir.Constant(_INDEX, r)))
            for c in range(self.columns):
                address = self.b.add(row, ir.Constant(_INDEX, c * BYTES))
                self.tile(name, _SUMS[2 * r + c], address, stride)

    def write(self, arguments: Any) -> None:
        b = self.b
        rows, tile_bytes, weights, weight_bytes, steps, block, block_bytes, first = arguments
        if self.start:  # every row of the tiles is the same one
            self.each_sum("tileloadd64", first, ir.Constant(_INDEX, 0))
        else:
            self.each_sum("tileloadd64", block, block_bytes)
        entry, function = b.block, b.function
        loop, done = (function.append_basic_block(name) for name in ("step", "done"))
        b.branch(loop)

        b.position_at_end(loop)
        step, row_at, weights_at = (b.phi(_INDEX) for _ in range(3))
        starts = (ir.Constant(_INDEX, 0), rows, weights)
        for value, start in zip((step, row_at, weights_at), starts, strict=True):
            value.add_incoming(start, entry)
        for r in range(2):
            address = b.add(row_at, b.mul(tile_bytes, ir.Constant(_INDEX, r)))
            self.tile("tileloadd64", _LEFT[r], address, ir.Constant(_INDEX, BYTES))
        for c in range(self.columns):
            address = b.add(weights_at, ir.Constant(_INDEX, c * BYTES))
            self.tile("tileloadd64", _RIGHT[c], address, weight_bytes)
            for r in range(2):
                tiles = [ir.Constant(_BYTE, t) for t in (_SUMS[2 * r + c], _LEFT[r], _RIGHT[c])]
                called(b, "llvm.x86.tdpbusd", _VOID, tiles)
        following = b.add(step, ir.Constant(_INDEX, 1))
        more = b.add(row_at, ir.Constant(_INDEX, TILE_BYTES))
        further = b.add(weights_at, b.mul(weight_bytes, ir.Constant(_INDEX, ROWS)))
        for value, new in zip((step, row_at, weights_at), (following, more, further), strict=True):
            value.add_incoming(new, loop)
        b.cbranch(b.icmp_signed("<", following, steps), loop, done)

        b.position_at_end(done)
        self.each_sum("tilestored64", block, block_bytes)


def _multiplier(columns: int, start: bool) -> Callable[..., None]:
    @intrinsic
    def multiply(
        typing: Any, rows: Any, tile_bytes: Any, weights: Any, weight_bytes: Any, steps: Any, block: Any,
        block_bytes: Any, first: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            _Block(builder, columns, start).write(values)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 8), generate

    return multiply


# Each makes, or adds to, 32 rows of 16 or 32 int32 sums. It takes addresses and counts, all int64: of the
# first 16 rows of unsigned bytes [step of 64 bytes][row][64 bytes]; from there to the other 16; of the
# weights [step of 4 bytes][column][4 bytes]; the bytes to the next of those steps; the steps of 64 bytes;
# the block of sums; the bytes to its next row; the sums that each row starts with (not looked at where it
# goes on).
start_16, start_32 = (_multiplier(columns, True) for columns in (1, 2))
add_16, add_32 = (_multiplier(columns, False) for columns in (1, 2))
# Take the configuration at an address; leave the tiles as they are at the start of a thread.
configure, release = _configure(), _release()
