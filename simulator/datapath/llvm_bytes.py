"""Loops over bytes: the output stage of sums that become bytes, and copies."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from simulator.datapath.llvm import (
    BYTE,
    INDEX,
    LANES,
    SUM,
    VECTOR,
    Writer,
    loop,
    number,
    processor_has,
)

_WIDE = ir.VectorType(INDEX, LANES // 2)
_COPIED = 64  # bytes at a time
_MASKS = ("avx512bw", "avx512vl")  # to store some bytes of a vector


def _eight(value: int) -> ir.Constant:
    return ir.Constant(_WIDE, [value] * 8)


def _all_lanes(value: int) -> ir.Constant:
    return ir.Constant(VECTOR, [value] * LANES)


class _Finish(Writer):
    """Over 16 channels at a time, and over the rows of each: double rounding of sums to bytes."""

    def sixteen(self, address: Any, first: Any) -> Any:
        """16 numbers of 32 bits from ``first`` on."""
        return self.load(VECTOR, self.b.add(address, self.b.mul(first, number(4))), 4)

    def high_product(self, left: Any, right: Any) -> Any:
        """(2 * left * right + 2**31) >> 32 of 16 numbers each: those in even places, and those in odd ones,
        as numbers of 64 bits, whose middle the shifts bring to their own places."""
        b, up = self.b, _eight(32)
        # Even places are widened from where they are, odd ones from where they are moved to: a shift would
        # do, but LLVM makes one multiplication of 32 by 32 bits of this form only.
        moved = ir.Constant(ir.VectorType(SUM, LANES), [i | 1 for i in range(LANES)])
        odd_ones = [b.shuffle_vector(value, value, moved) for value in (left, right)]
        even, odd = (
            [b.ashr(b.shl(b.bitcast(value, _WIDE), up), up) for value in values]
            for values in ((left, right), odd_ones)
        )
        half = _eight(1 << 30)
        low = b.lshr(b.add(b.mul(*even), half), _eight(31))
        high = b.shl(b.add(b.mul(*odd), half), _eight(1))
        places = [i if i % 2 == 0 else LANES + i for i in range(LANES)]
        return b.shuffle_vector(
            b.bitcast(low, VECTOR), b.bitcast(high, VECTOR),
            ir.Constant(ir.VectorType(SUM, LANES), places),
        )  # fmt: skip

    def rounded(self, sums: Any, channel: list[Any], limits: list[Any]) -> Any:
        """16 bytes of 16 sums; ``channel``: bias, multiplier, left, right, mask; ``limits``: zero point,
        lowest and highest code less the zero point. What the right shift drops rounds to nearest, ties
        away from zero."""
        b = self.b
        bias, multiplier, left, right, mask = channel
        zero, low, high = limits
        once = self.high_product(b.shl(b.add(sums, bias), left), multiplier)
        negative = b.lshr(once, _all_lanes(31))
        threshold = b.add(b.lshr(mask, _all_lanes(1)), negative)
        more = b.zext(b.icmp_signed(">", b.and_(once, mask), threshold), VECTOR)
        code = self.smaller(self.larger(b.add(b.ashr(once, right), more), low), high)
        return b.trunc(b.add(code, zero), ir.VectorType(BYTE, LANES))

    def put(self, codes: Any, address: Any, left_over: Any) -> None:
        """The first ``left_over`` of 16 codes (all, where it is more); ends the block it is in."""
        b = self.b
        whole, cut, after = self.blocks("whole", "cut", "after")
        b.cbranch(b.icmp_signed(">=", left_over, number(LANES)), whole, cut)
        b.position_at_end(whole)
        self.store(codes, address)
        b.branch(after)
        b.position_at_end(cut)
        if processor_has(*_MASKS):
            many = self.all_of(b.trunc(left_over, SUM))
            mask = b.icmp_signed("<", ir.Constant(VECTOR, list(range(LANES))), many)
            self.masked_store(codes, address, mask)
        else:
            self.put_in_parts(codes, address, left_over)
        b.branch(after)
        b.position_at_end(after)

    def put_in_parts(self, codes: Any, address: Any, left_over: Any) -> None:
        """Fewer than 16 codes, as 8, 4, 2 and 1 of them, by way of memory of their own."""
        b = self.b
        self.store(codes, self.room)
        for count in (8, 4, 2, 1):
            there, after = self.blocks("part", "rest")
            bit = b.and_(left_over, number(count))
            b.cbranch(b.icmp_signed("!=", bit, number(0)), there, after)
            b.position_at_end(there)
            before = b.and_(left_over, number(-2 * count))
            part = self.load(ir.IntType(8 * count), b.add(self.room, before))
            self.store(part, b.add(address, before))
            b.branch(after)
            b.position_at_end(after)

    def write(self, arguments: Any) -> None:
        b = self.b
        block, block_bytes, rows, columns, numbers, out, out_bytes = arguments
        with b.goto_entry_block():
            self.room = b.ptrtoint(b.alloca(ir.VectorType(BYTE, LANES)), INDEX)
        *addresses, zero_point, low, high = self.loads(numbers, 7)
        limits = [self.all_of(b.trunc(limit, SUM)) for limit in (zero_point, low, high)]
        entry = b.block
        outer, inner, next_columns, done = self.blocks("channels", "row", "next", "done")
        zero = number(0)
        b.branch(outer)

        b.position_at_end(outer)
        first = self.phi(INDEX, zero, entry)
        channel = [self.sixteen(address, first) for address in addresses]
        one = _all_lanes(1)
        channel.append(b.sub(b.shl(one, channel[-1]), one))
        left_over = b.sub(columns, first)
        sums_start = b.add(block, b.mul(first, number(4)))
        b.branch(inner)

        b.position_at_end(inner)
        row = self.phi(INDEX, zero, outer)
        sums_at = self.phi(INDEX, sums_start, outer)
        codes = self.rounded(self.load(VECTOR, sums_at, 4), channel, limits)
        self.put(codes, b.add(b.add(out, first), b.mul(row, out_bytes)), left_over)
        following, sums_next = b.add(row, number(1)), b.add(sums_at, block_bytes)
        self.loop(row, following, [sums_at], [sums_next], b.block)
        b.cbranch(b.icmp_signed("<", following, rows), inner, next_columns)

        b.position_at_end(next_columns)
        more = b.add(first, number(LANES))
        first.add_incoming(more, next_columns)
        b.cbranch(b.icmp_signed("<", more, columns), outer, done)
        b.position_at_end(done)


class _Copy(Writer):
    """Bytes from one place to another, each changed by the same bits; 64 at a time."""

    def write(self, arguments: Any) -> None:
        b = self.b
        target, source, count, flip, target_step = arguments[:5]
        wide = ir.VectorType(BYTE, _COPIED)
        flips = self.all_of(b.trunc(flip, BYTE), _COPIED)
        entry = b.block
        loop_, rest, done = self.blocks("bytes", "rest", "done")
        zero, step = number(0), number(_COPIED)
        whole = b.and_(count, number(-_COPIED))
        b.cbranch(b.icmp_signed(">", whole, zero), loop_, rest)

        b.position_at_end(loop_)
        at, target_at = self.phi(INDEX, zero, entry), self.phi(INDEX, target, entry)
        self.store(b.xor(self.load(wide, b.add(source, at)), flips), target_at)
        following, target_next = b.add(at, step), b.add(target_at, target_step)
        self.loop(at, following, [target_at], [target_next], loop_)
        b.cbranch(b.icmp_signed("<", following, whole), loop_, rest)

        b.position_at_end(rest)
        target_rest = self.phi(INDEX, target, entry)
        target_rest.add_incoming(target_next, loop_)
        left = self.all_of(b.trunc(b.sub(count, whole), BYTE), _COPIED)
        mask = b.icmp_unsigned("<", ir.Constant(wide, list(range(_COPIED))), left)
        values = self.masked_load(b.add(source, whole), mask)
        self.masked_store(b.xor(values, flips), target_rest, mask)
        b.branch(done)
        b.position_at_end(done)


# The sums of a block and the bytes to its next row; rows and columns; the address of seven int64 numbers:
# the addresses of bias, multiplier, left and right shift (int32, at most 31 bits), from the first channel
# on and 16 of each at least, then zero point, lowest and highest code less the zero point; the codes
# (bytes) and the bytes to their next row. Equal to ``fixedpoint.requantize.double_rounding``.
finish_bytes = loop(_Finish)
# To an address, from an address, how many bytes (at least 0), the bits to change in each, and from 64 of
# them to the next where they go to; the rest is not looked at.
copy_bytes = loop(_Copy, *_MASKS)
