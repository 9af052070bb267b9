"""The inner loops of sums in the device's own order: additions that saturate, and psums that wrap.

16 outputs of a few pixels at once: the sums of each stay in registers while the products of a fold are
added in turn; then the psum is added to the accumulator in memory.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from simulator.datapath.llvm import (
    INDEX,
    LANES,
    NOTHING,
    SUM,
    VECTOR,
    Writer,
    loop,
    number,
)

PIXELS = 2  # at once: with what is remembered of their sums, all stays in 16 registers of 256 bits
LEVELS = (
    5  # of a block: accumulators, largest and smallest psums, largest and smallest accumulators
)
_BYTES = 4 * LANES  # of a pixel's sums


class _Chain(Writer):
    """``spread``: the ifmap's word is one for all outputs; else one for each."""

    def __init__(self, builder: Any, spread: bool, saturating: bool) -> None:
        super().__init__(builder)
        self.spread, self.saturating = spread, saturating

    def of_pixel(self, block: Any, pixel: int) -> Any:
        """The address of a pixel's accumulators."""
        return self.b.add(block, number(pixel * _BYTES))

    def product(self, address: Any, weights: Any) -> Any:
        if self.spread:
            return self.b.mul(self.all_of(self.load(SUM, address)), weights)
        return self.b.mul(self.load(VECTOR, address), weights)

    def clamped(self, value: Any, low: Any, high: Any) -> Any:
        return self.smaller(self.larger(value, low), high)

    def updated(self, address: Any, better: Any, value: Any) -> None:
        """What is at an address, where that is further out."""
        self.store(better(self.load(VECTOR, address, 4), value), address, 4)

    def add_psum(self, block: Any, level_bytes: Any, pixel: int, psum: Any, limits: Any) -> None:
        """The end of a fold."""
        b, own = self.b, self.of_pixel(block, pixel)
        if self.saturating:
            exact = b.add(self.load(VECTOR, own, 4), psum)
            for level, better in ((3, self.larger), (4, self.smaller)):
                self.updated(b.add(own, b.mul(level_bytes, number(level))), better, exact)
            self.store(self.clamped(exact, limits[2], limits[3]), own, 4)
            return
        for level, better in ((1, self.larger), (2, self.smaller)):
            self.updated(b.add(own, b.mul(level_bytes, number(level))), better, psum)
        kept = b.ashr(b.shl(psum, limits[0]), limits[0])
        self.store(b.add(self.load(VECTOR, own, 4), kept), own, 4)

    def add_product(self, sums: list[Any], product: Any, limits: Any) -> list[Any]:
        """(psum, largest, smallest) with one product more."""
        psum, largest, smallest = sums
        exact = self.b.add(psum, product)
        if not self.saturating:
            return [exact, largest, smallest]
        kept = self.clamped(exact, limits[0], limits[1])
        return [kept, self.larger(largest, exact), self.smaller(smallest, exact)]

    def write(self, arguments: Any) -> None:
        b = self.b
        pixel_addresses, offsets, weights, lengths, numbers, block, level_bytes = arguments
        folds, *limits = self.loads(numbers, 5)
        limits = [self.all_of(b.trunc(limit, SUM)) for limit in limits]
        rows = self.loads(pixel_addresses, PIXELS)
        entry = b.block
        outer, inner, next_fold, done = self.blocks("fold", "product", "next", "done")
        zero, one = number(0), number(1)
        b.branch(outer)

        b.position_at_end(outer)
        fold = self.phi(INDEX, zero, entry)
        offsets_at = self.phi(INDEX, offsets, entry)
        weights_at = self.phi(INDEX, weights, entry)
        kept = [[self.phi(VECTOR, NOTHING, entry) for _ in range(2)] for _ in rows]
        length = b.load(b.gep(b.inttoptr(lengths, INDEX.as_pointer()), [fold]))
        b.branch(inner)

        b.position_at_end(inner)
        step = self.phi(INDEX, zero, outer)
        at = [self.phi(INDEX, start, outer) for start in (offsets_at, weights_at)]
        sums = [
            [self.phi(VECTOR, start, outer) for start in (NOTHING, *extremes)] for extremes in kept
        ]
        offset, taps = self.load(INDEX, at[0], 8), self.load(VECTOR, at[1], 4)
        made = [
            self.add_product(own, self.product(b.add(row, offset), taps), limits)
            for own, row in zip(sums, rows, strict=True)
        ]
        following = b.add(step, one)
        ahead = [b.add(at[0], number(8)), b.add(at[1], number(_BYTES))]
        self.loop(step, following, [*at, *chain(*sums)], [*ahead, *chain(*made)], inner)
        b.cbranch(b.icmp_signed("<", following, length), inner, next_fold)

        b.position_at_end(next_fold)
        for pixel, (psum, *_) in enumerate(made):
            self.add_psum(block, level_bytes, pixel, psum, limits)
        more = b.add(fold, one)
        extremes = [value for _, *found in made for value in found]
        carried = [offsets_at, weights_at, *chain(*kept)]
        self.loop(fold, more, carried, [*ahead, *extremes], next_fold)
        b.cbranch(b.icmp_signed("<", more, folds), outer, done)

        b.position_at_end(done)
        if self.saturating:
            for pixel, (_, largest, smallest) in enumerate(made):
                own = self.of_pixel(block, pixel)
                self.store(largest, b.add(own, level_bytes), 4)
                self.store(smallest, b.add(own, b.mul(level_bytes, number(2))), 4)


# Each takes addresses: of ``PIXELS`` addresses of int32 pixels; of the offsets of a window's operands, in
# the order in which they are multiplied; of their weights [operand][16 outputs], int32; of the lengths of
# the folds (int64, none 0); of five int64 numbers; of a block [level][pixel][16] of int32 that starts with
# the biases as its accumulators (narrowed already where they saturate, with the exact ones as largest and
# smallest); and the bytes from level to level. The numbers: how many folds; where sums saturate the lowest
# and highest psum, then accumulator; where they wrap 32 less the bits of a psum, and nothing (accumulators
# are left exact, to be wrapped at the end). ``_across``: 16 neighbouring channels of a depthwise product.
chain_saturating = loop(lambda builder: _Chain(builder, True, True))
chain_wrapping = loop(lambda builder: _Chain(builder, True, False))
chain_saturating_across = loop(lambda builder: _Chain(builder, False, True))
chain_wrapping_across = loop(lambda builder: _Chain(builder, False, False))
