"""The inner loops of products of bytes, in the processor's own dot-product instruction.

Numba knows no vectors, so the loops are written for LLVM directly. Dense: ``rows`` by ``vectors`` registers
of 16 sums each, to which every step adds the products of four bytes of each row by four bytes of each
column. Depthwise: 16 channels of a few pixels, to which every step adds four taps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from simulator.datapath.llvm import called

LANES = 16  # sums in a register
STEP = 4  # bytes of the reduction that one instruction takes
# Rows of a block by the registers that hold its columns: with 24 sums or fewer all stay in registers.
ROWS = {1: 12, 2: 12, 3: 8, 4: 6}

# Pixels of a depthwise block.
PIXELS = 4

_INDEX = ir.IntType(64)
_BYTE = ir.IntType(8)
_SUM = ir.IntType(32)
_VECTOR = ir.VectorType(_SUM, LANES)
_WIDE = ir.VectorType(_INDEX, LANES // 2)
_ADDRESS = _BYTE.as_pointer()
_NOTHING = ir.Constant(_VECTOR, [0] * LANES)
_ARGUMENTS = 7
_COPIED = 64  # bytes at a time


def _number(value: int) -> ir.Constant:
    return ir.Constant(_INDEX, value)


def _eight(value: int) -> ir.Constant:
    return ir.Constant(_WIDE, [value] * 8)


class _Writer:
    """What the loops share."""

    def __init__(self, builder: Any) -> None:
        self.b = builder

    def dot(self, sums: Any, rows: Any, columns: Any) -> Any:
        """16 sums, and to each the products of four unsigned by four signed bytes."""
        return called(self.b, "llvm.x86.avx512.vpdpbusd.512", _VECTOR, [sums, rows, columns])

    def masked_store(self, values: Any, address: Any, mask: Any) -> None:
        """Bytes to an address, those whose bit of the mask is set."""
        kind = values.type
        pointer = self.b.inttoptr(address, kind.as_pointer())
        name = f"llvm.masked.store.v{kind.count}i8.p0v{kind.count}i8"
        called(self.b, name, ir.VoidType(), [values, pointer, ir.Constant(_SUM, 1), mask])

    def masked_load(self, address: Any, mask: Any) -> Any:
        """Bytes from an address; none is read whose bit is not set."""
        kind = ir.VectorType(_BYTE, mask.type.count)
        pointer = self.b.inttoptr(address, kind.as_pointer())
        name = f"llvm.masked.load.v{kind.count}i8.p0v{kind.count}i8"
        nothing = ir.Constant(kind, [0] * kind.count)
        return called(self.b, name, kind, [pointer, ir.Constant(_SUM, 1), mask, nothing])

    def blocks(self, *names: str) -> list[Any]:
        return [self.b.function.append_basic_block(name) for name in names]

    def phi(self, kind: Any, start: Any, block: Any) -> Any:
        found = self.b.phi(kind)
        found.add_incoming(start, block)
        return found

    def loads(self, address: Any, count: int) -> list[Any]:
        """``count`` numbers of 64 bits."""
        pointer = self.b.inttoptr(address, _INDEX.as_pointer())
        return [self.b.load(self.b.gep(pointer, [_number(i)])) for i in range(count)]

    def stored(self, values: list[Any], address: Any) -> None:
        """Registers of sums to neighbouring places."""
        target = self.b.inttoptr(address, _VECTOR.as_pointer())
        for v, value in enumerate(values):
            self.b.store(value, self.b.gep(target, [_number(v)])).align = 4

    def loop(
        self, index: Any, following: Any, carried: list[Any], made: list[Any], end: Any
    ) -> None:
        """What a loop's block takes to its own next round."""
        index.add_incoming(following, end)
        for value, new in zip(carried, made, strict=True):
            value.add_incoming(new, end)


class _Dense(_Writer):
    """Over stretches of contiguous bytes, and over the steps of each."""

    def __init__(self, builder: Any, rows: int, vectors: int) -> None:
        super().__init__(builder)
        self.rows, self.vectors = rows, vectors

    def columns(self, address: Any) -> list[Any]:
        """Four bytes of each column."""
        pointer = self.b.inttoptr(address, _VECTOR.as_pointer())
        found = []
        for v in range(self.vectors):
            value = self.b.load(self.b.gep(pointer, [_number(v)]))
            value.align = 4 * LANES
            found.append(value)
        return found

    def row(self, address: Any) -> Any:
        """Four bytes of a row, once for each column."""
        value = self.b.load(self.b.inttoptr(address, _SUM.as_pointer()))
        value.align = 1
        unknown = ir.Constant(_VECTOR, ir.Undefined)
        first = self.b.insert_element(unknown, value, ir.Constant(_SUM, 0))
        return self.b.shuffle_vector(first, unknown, ir.Constant(_VECTOR, [0] * LANES))

    def step(
        self, addresses: list[Any], along: Any, columns: list[Any], sums: list[Any]
    ) -> list[Any]:
        added = []
        for r, address in enumerate(addresses):
            row = self.row(self.b.add(address, along))
            added += [
                self.dot(sums[r * self.vectors + v], row, column)
                for v, column in enumerate(columns)
            ]
        return added

    def write(self, arguments: Any) -> None:
        b = self.b
        row_addresses, starts, stretches, steps, weights, block, block_bytes = arguments
        entry = b.block
        outer, inner, next_stretch, done = self.blocks("stretch", "step", "next", "done")
        rows = self.loads(row_addresses, self.rows)
        zero, one = _number(0), _number(1)
        b.branch(outer)

        b.position_at_end(outer)
        stretch = self.phi(_INDEX, zero, entry)
        weights_at = self.phi(_INDEX, weights, entry)
        outer_sums = [self.phi(_VECTOR, _NOTHING, entry) for _ in range(self.rows * self.vectors)]
        start = b.load(b.gep(b.inttoptr(starts, _INDEX.as_pointer()), [stretch]))
        addresses = [b.add(row, start) for row in rows]
        b.branch(inner)

        b.position_at_end(inner)
        step = self.phi(_INDEX, zero, outer)
        columns_at = self.phi(_INDEX, weights_at, outer)
        inner_sums = [self.phi(_VECTOR, value, outer) for value in outer_sums]
        along = b.mul(step, _number(STEP))
        sums = self.step(addresses, along, self.columns(columns_at), inner_sums)
        following = b.add(step, one)
        columns_next = b.add(columns_at, _number(self.vectors * LANES * STEP))
        self.loop(step, following, [columns_at, *inner_sums], [columns_next, *sums], inner)
        b.cbranch(b.icmp_signed("<", following, steps), inner, next_stretch)

        b.position_at_end(next_stretch)
        more = b.add(stretch, one)
        self.loop(stretch, more, [weights_at, *outer_sums], [columns_next, *sums], next_stretch)
        b.cbranch(b.icmp_signed("<", more, stretches), outer, done)

        b.position_at_end(done)
        for r in range(self.rows):
            own = sums[r * self.vectors : (r + 1) * self.vectors]
            self.stored(own, b.add(block, b.mul(block_bytes, _number(r))))


class _Depthwise(_Writer):
    """Over blocks of 16 channels, and over the taps of each, four at a time."""

    def taps(self, addresses: list[Any]) -> Any:
        """16 bytes at each of four addresses, as four bytes for each of 16 channels."""
        b, kind = self.b, ir.VectorType(_BYTE, LANES)
        loaded = []
        for address in addresses:
            value = b.load(b.inttoptr(address, kind.as_pointer()))
            value.align = 1
            loaded.append(value)
        both = ir.Constant(ir.VectorType(_SUM, 2 * LANES), list(range(2 * LANES)))
        pairs = [b.shuffle_vector(*loaded[i : i + 2], both) for i in (0, 2)]
        order = [tap * LANES + channel for channel in range(LANES) for tap in range(STEP)]
        mixed = b.shuffle_vector(*pairs, ir.Constant(ir.VectorType(_SUM, STEP * LANES), order))
        return b.bitcast(mixed, _VECTOR)

    def write(self, arguments: Any) -> None:
        b = self.b
        pixel_addresses, starts, blocks, steps, weights, block, block_bytes = arguments
        entry = b.block
        outer, inner, next_block, done = self.blocks("channels", "taps", "next", "done")
        pixels = self.loads(pixel_addresses, PIXELS)
        zero, one = _number(0), _number(1)
        b.branch(outer)

        b.position_at_end(outer)
        channels = self.phi(_INDEX, zero, entry)
        weights_at = self.phi(_INDEX, weights, entry)
        bases = [b.add(pixel, b.mul(channels, _number(LANES))) for pixel in pixels]
        b.branch(inner)

        b.position_at_end(inner)
        step = self.phi(_INDEX, zero, outer)
        taps_at = self.phi(_INDEX, weights_at, outer)
        sums = [self.phi(_VECTOR, _NOTHING, outer) for _ in range(PIXELS)]
        offsets = self.loads(b.add(starts, b.mul(step, _number(8 * STEP))), STEP)
        column = b.load(b.inttoptr(taps_at, _VECTOR.as_pointer()))
        column.align = 4 * LANES
        added = [
            self.dot(own, self.taps([b.add(base, o) for o in offsets]), column)
            for own, base in zip(sums, bases, strict=True)
        ]
        following, taps_next = b.add(step, one), b.add(taps_at, _number(LANES * STEP))
        self.loop(step, following, [taps_at, *sums], [taps_next, *added], inner)
        b.cbranch(b.icmp_signed("<", following, steps), inner, next_block)

        b.position_at_end(next_block)
        for r, value in enumerate(added):
            row = b.add(block, b.mul(block_bytes, _number(r)))
            self.stored([value], b.add(row, b.mul(channels, _number(4 * LANES))))
        more = b.add(channels, one)
        self.loop(channels, more, [weights_at], [taps_next], next_block)
        b.cbranch(b.icmp_signed("<", more, blocks), outer, done)
        b.position_at_end(done)


class _Finish(_Writer):
    """Over 16 channels at a time, and over the rows of each: double rounding of sums to bytes."""

    def half(self, value: Any, part: int) -> Any:
        """The first or the last eight of 16 numbers, widened to 64 bits."""
        picked = ir.Constant(ir.VectorType(_SUM, LANES // 2), [part * 8 + i for i in range(8)])
        return self.b.sext(self.b.shuffle_vector(value, value, picked), _WIDE)

    def halves(self, address: Any, first: Any) -> list[Any]:
        """16 numbers of 64 bits from ``first`` on, in two registers."""
        pointer = self.b.inttoptr(self.b.add(address, self.b.mul(first, _number(8))), _ADDRESS)
        whole = self.b.bitcast(pointer, _WIDE.as_pointer())
        found = []
        for part in range(2):
            value = self.b.load(self.b.gep(whole, [_number(part)]))
            value.align = 8
            found.append(value)
        return found

    def sixteen(self, address: Any, first: Any) -> Any:
        """16 numbers of 32 bits from ``first`` on."""
        pointer = self.b.inttoptr(self.b.add(address, self.b.mul(first, _number(4))), _ADDRESS)
        value = self.b.load(self.b.bitcast(pointer, _VECTOR.as_pointer()))
        value.align = 4
        return value

    def all_of(self, number: Any) -> Any:
        """Eight times a number of 64 bits."""
        unknown = ir.Constant(_WIDE, ir.Undefined)
        first = self.b.insert_element(unknown, number, ir.Constant(_SUM, 0))
        return self.b.shuffle_vector(first, unknown, ir.Constant(ir.VectorType(_SUM, 8), [0] * 8))

    def rounded(self, sums: Any, channel: list[Any], limits: list[Any]) -> Any:
        """16 bytes of 16 sums; ``channel``: bias, multiplier, left, half, away, right."""
        b = self.b
        bias, multiplier, left, half, away, right = channel
        shifted = b.shl(b.add(sums, bias), left)
        parts = []
        for part in range(2):
            product = b.mul(self.half(shifted, part), self.half(multiplier, part))
            once = b.ashr(b.add(product, _eight(1 << 30)), _eight(31))
            signs = b.and_(b.ashr(once, _eight(63)), away[part])
            code = b.ashr(b.add(b.add(once, half[part]), signs), right[part])
            for compare, limit in zip(("<", ">"), limits, strict=True):
                code = b.select(b.icmp_signed(compare, code, limit), limit, code)
            parts.append(b.trunc(code, ir.VectorType(_BYTE, 8)))
        both = ir.Constant(ir.VectorType(_SUM, LANES), list(range(LANES)))
        return b.shuffle_vector(*parts, both)

    def write(self, arguments: Any) -> None:
        b = self.b
        block, block_bytes, rows, columns, numbers, out, out_bytes = arguments
        *addresses, low, high = self.loads(numbers, 8)
        limits = [self.all_of(low), self.all_of(high)]
        entry = b.block
        outer, inner, next_columns, done = self.blocks("channels", "row", "next", "done")
        zero = _number(0)
        b.branch(outer)

        b.position_at_end(outer)
        first = self.phi(_INDEX, zero, entry)
        channel = [
            *(self.sixteen(address, first) for address in addresses[:3]),
            *(self.halves(address, first) for address in addresses[3:]),
        ]
        left_over = b.trunc(b.sub(columns, first), _SUM)
        unknown = ir.Constant(_VECTOR, ir.Undefined)
        many = b.insert_element(unknown, left_over, ir.Constant(_SUM, 0))
        many = b.shuffle_vector(many, unknown, ir.Constant(_VECTOR, [0] * LANES))
        mask = b.icmp_signed("<", ir.Constant(_VECTOR, list(range(LANES))), many)
        sums_start = b.add(block, b.mul(first, _number(4)))
        b.branch(inner)

        b.position_at_end(inner)
        row = self.phi(_INDEX, zero, outer)
        sums_at = self.phi(_INDEX, sums_start, outer)
        sums = b.load(b.inttoptr(sums_at, _VECTOR.as_pointer()))
        sums.align = 4
        codes = self.rounded(sums, channel, limits)
        self.masked_store(codes, b.add(b.add(out, first), b.mul(row, out_bytes)), mask)
        following, sums_next = b.add(row, _number(1)), b.add(sums_at, block_bytes)
        self.loop(row, following, [sums_at], [sums_next], inner)
        b.cbranch(b.icmp_signed("<", following, rows), inner, next_columns)

        b.position_at_end(next_columns)
        more = b.add(first, _number(LANES))
        first.add_incoming(more, next_columns)
        b.cbranch(b.icmp_signed("<", more, columns), outer, done)
        b.position_at_end(done)


class _Copy(_Writer):
    """Bytes from one place to another, each changed by the same bits; 64 at a time."""

    def write(self, arguments: Any) -> None:
        b = self.b
        target, source, count, flip, target_step = arguments[:5]
        wide = ir.VectorType(_BYTE, _COPIED)
        unknown, everywhere = ir.Constant(wide, ir.Undefined), [0] * _COPIED
        zeros = ir.Constant(ir.VectorType(_SUM, _COPIED), everywhere)
        first = b.insert_element(unknown, b.trunc(flip, _BYTE), ir.Constant(_SUM, 0))
        flips = b.shuffle_vector(first, unknown, zeros)
        entry = b.block
        loop, rest, done = self.blocks("bytes", "rest", "done")
        zero, step = _number(0), _number(_COPIED)
        whole = b.and_(count, _number(-_COPIED))
        b.cbranch(b.icmp_signed(">", whole, zero), loop, rest)

        b.position_at_end(loop)
        at, target_at = self.phi(_INDEX, zero, entry), self.phi(_INDEX, target, entry)
        read = b.load(b.inttoptr(b.add(source, at), wide.as_pointer()))
        read.align = 1
        b.store(b.xor(read, flips), b.inttoptr(target_at, wide.as_pointer())).align = 1
        following, target_next = b.add(at, step), b.add(target_at, target_step)
        self.loop(at, following, [target_at], [target_next], loop)
        b.cbranch(b.icmp_signed("<", following, whole), loop, rest)

        b.position_at_end(rest)
        target_rest = self.phi(_INDEX, target, entry)
        target_rest.add_incoming(target_next, loop)
        number = b.insert_element(
            unknown, b.trunc(b.sub(count, whole), _BYTE), ir.Constant(_SUM, 0)
        )
        places = ir.Constant(wide, list(range(_COPIED)))
        mask = b.icmp_unsigned("<", places, b.shuffle_vector(number, unknown, zeros))
        values = self.masked_load(b.add(source, whole), mask)
        self.masked_store(b.xor(values, flips), target_rest, mask)
        b.branch(done)
        b.position_at_end(done)


def _multiplier(writer: Callable[[Any], Any]) -> Callable[..., None]:
    @intrinsic
    def multiply(
        typing: Any, rows: Any, starts: Any, outer: Any, steps: Any, weights: Any, block: Any,
        block_bytes: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            writer(builder).write(values)
            return context.get_dummy_value()

        return types.void(*[types.intp] * _ARGUMENTS), generate

    return multiply


# Each takes addresses and counts, all int64: of ``ROWS`` row addresses; of the offsets at which the
# stretches of a row start; the stretches; the steps of each; the weights [stretch][step][column][4 bytes],
# aligned to 64; the block of sums to fill; the bytes from one row of the block to the next. Row bytes are
# unsigned, weights signed.
multiply_1, multiply_2, multiply_3, multiply_4 = (
    _multiplier(lambda builder, v=vectors: _Dense(builder, ROWS[v], v)) for vectors in ROWS
)
# Of ``PIXELS`` pixel addresses; of the offsets of their taps, a multiple of four; the blocks of 16
# channels; the steps of four taps; the weights [block][step][channel][4 taps]; the rest as above.
multiply_depthwise = _multiplier(_Depthwise)
# The sums of a block and the bytes to its next row; rows and columns; the address of eight int64 numbers:
# the addresses of bias, multiplier and left shift (int32), half, away and right shift (int64), from the
# first channel on and 16 of each at least, then the lowest and the highest code; the codes (bytes) and the
# bytes to their next row. ``half`` holds the output's zero point, shifted left by ``right``. Equal to
# ``fixedpoint.requantize.double_rounding``.
finish_bytes = _multiplier(_Finish)
# To an address, from an address, how many bytes (at least 0), the bits to change in each, and from 64 of
# them to the next where they go to; the rest is not looked at.
copy_bytes = _multiplier(_Copy)
