"""The inner loops of products, in the processor's own dot-product instructions.

Of bytes, unsigned by signed: 64 products added to 16 sums at once (``vpdpbusd`` on 512 bits). Of words,
signed: 16 or 32 products in pairs (``vpmaddwd`` on 256 or 512 bits), and an addition of the pairs.

Dense: ``rows`` by ``vectors`` vectors of 16 sums each, to which every step adds the products of four bytes
of each row by four bytes of each column. Depthwise: 16 channels of a few pixels, to which every step adds
as many taps as four bytes hold.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from simulator.datapath.llvm import (
    BYTE,
    INDEX,
    LANES,
    NOTHING,
    SUM,
    VECTOR,
    WORD,
    Writer,
    called,
    loop,
    number,
    processor_has,
)

STEP = 4  # bytes of the reduction in one step
BYTES_NEED = ("avx512f", "avx512bw", "avx512vl", "avx512vnni")
WORDS_NEED = ("avx2",)
_WIDE_WORDS = ("avx512f", "avx512bw")
# Rows of a block by the vectors that hold its columns, so that all sums stay in registers: of 32 ones of
# 512 bits, or of 16 ones of 256 bits.
_MANY = {1: 12, 2: 12, 3: 8, 4: 6}
_FEW = {1: 6}
BYTE_ROWS = _MANY
WORD_ROWS = _MANY if processor_has(*_WIDE_WORDS) else _FEW
# Pixels of a depthwise block.
PIXELS = 4


class _Products(Writer):
    """What both kinds of loops need: ``size`` is of an operand, in bytes."""

    def __init__(self, builder: Any, size: int) -> None:
        super().__init__(builder)
        self.size = size

    def dot(self, sums: Any, rows: Any, columns: Any) -> Any:
        """16 sums, and to each the products of four bytes of a row by four of a column."""
        if self.size == 1:
            return called(self.b, "llvm.x86.avx512.vpdpbusd.512", VECTOR, [sums, rows, columns])
        words = ir.VectorType(WORD, 2 * LANES)
        rows, columns = self.b.bitcast(rows, words), self.b.bitcast(columns, words)
        if processor_has(*_WIDE_WORDS):
            made = called(self.b, "llvm.x86.avx512.pmaddw.d.512", VECTOR, [rows, columns])
            return self.b.add(sums, made)
        half = ir.VectorType(SUM, LANES // 2)
        parts = [
            called(
                self.b, "llvm.x86.avx2.pmadd.wd", half,
                [self.part(rows, start, LANES), self.part(columns, start, LANES)],
            )
            for start in (0, LANES)
        ]  # fmt: skip
        return self.b.add(sums, self.joined(*parts))

    def stored(self, values: list[Any], address: Any) -> None:
        """Vectors of sums to neighbouring places."""
        for v, value in enumerate(values):
            self.store(value, self.b.add(address, number(4 * LANES * v)), 4)


class _Dense(_Products):
    """Over stretches of contiguous bytes, and over the steps of each."""

    def __init__(self, builder: Any, size: int, rows: int, vectors: int) -> None:
        super().__init__(builder, size)
        self.rows, self.vectors = rows, vectors

    def step(self, addresses: list[Any], along: Any, columns_at: Any, sums: list[Any]) -> list[Any]:
        columns = [
            self.load(VECTOR, self.b.add(columns_at, number(4 * LANES * v)), 4 * LANES)
            for v in range(self.vectors)
        ]
        added = []
        for r, address in enumerate(addresses):
            row = self.all_of(self.load(SUM, self.b.add(address, along)))
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
        zero, one = number(0), number(1)
        b.branch(outer)

        b.position_at_end(outer)
        stretch = self.phi(INDEX, zero, entry)
        weights_at = self.phi(INDEX, weights, entry)
        outer_sums = [self.phi(VECTOR, NOTHING, entry) for _ in range(self.rows * self.vectors)]
        start = b.load(b.gep(b.inttoptr(starts, INDEX.as_pointer()), [stretch]))
        addresses = [b.add(row, start) for row in rows]
        b.branch(inner)

        b.position_at_end(inner)
        step = self.phi(INDEX, zero, outer)
        columns_at = self.phi(INDEX, weights_at, outer)
        inner_sums = [self.phi(VECTOR, value, outer) for value in outer_sums]
        along = b.mul(step, number(STEP))
        sums = self.step(addresses, along, columns_at, inner_sums)
        following = b.add(step, one)
        columns_next = b.add(columns_at, number(self.vectors * LANES * STEP))
        self.loop(step, following, [columns_at, *inner_sums], [columns_next, *sums], inner)
        b.cbranch(b.icmp_signed("<", following, steps), inner, next_stretch)

        b.position_at_end(next_stretch)
        more = b.add(stretch, one)
        self.loop(stretch, more, [weights_at, *outer_sums], [columns_next, *sums], next_stretch)
        b.cbranch(b.icmp_signed("<", more, stretches), outer, done)

        b.position_at_end(done)
        for r in range(self.rows):
            own = sums[r * self.vectors : (r + 1) * self.vectors]
            self.stored(own, b.add(block, b.mul(block_bytes, number(r))))


class _Depthwise(_Products):
    """Over blocks of 16 channels, and over the taps of each."""

    def taps(self, addresses: list[Any]) -> Any:
        """16 operands at each address, as four bytes for each of 16 channels."""
        b, count = self.b, STEP // self.size
        kind = ir.VectorType(BYTE if self.size == 1 else WORD, LANES)
        loaded = [self.load(kind, address) for address in addresses]
        while len(loaded) > 1:
            loaded = [self.joined(*loaded[i : i + 2]) for i in range(0, len(loaded), 2)]
        order = [tap * LANES + channel for channel in range(LANES) for tap in range(count)]
        places = ir.Constant(ir.VectorType(SUM, count * LANES), order)
        return b.bitcast(b.shuffle_vector(loaded[0], loaded[0], places), VECTOR)

    def write(self, arguments: Any) -> None:
        b, at_once = self.b, STEP // self.size
        pixel_addresses, starts, blocks, steps, weights, block, block_bytes = arguments
        entry = b.block
        outer, inner, next_block, done = self.blocks("channels", "taps", "next", "done")
        pixels = self.loads(pixel_addresses, PIXELS)
        zero, one = number(0), number(1)
        b.branch(outer)

        b.position_at_end(outer)
        channels = self.phi(INDEX, zero, entry)
        weights_at = self.phi(INDEX, weights, entry)
        bases = [b.add(pixel, b.mul(channels, number(LANES * self.size))) for pixel in pixels]
        b.branch(inner)

        b.position_at_end(inner)
        step = self.phi(INDEX, zero, outer)
        taps_at = self.phi(INDEX, weights_at, outer)
        sums = [self.phi(VECTOR, NOTHING, outer) for _ in range(PIXELS)]
        offsets = self.loads(b.add(starts, b.mul(step, number(8 * at_once))), at_once)
        column = self.load(VECTOR, taps_at, 4 * LANES)
        added = [
            self.dot(own, self.taps([b.add(base, o) for o in offsets]), column)
            for own, base in zip(sums, bases, strict=True)
        ]
        following, taps_next = b.add(step, one), b.add(taps_at, number(LANES * STEP))
        self.loop(step, following, [taps_at, *sums], [taps_next, *added], inner)
        b.cbranch(b.icmp_signed("<", following, steps), inner, next_block)

        b.position_at_end(next_block)
        for r, value in enumerate(added):
            row = b.add(block, b.mul(block_bytes, number(r)))
            self.stored([value], b.add(row, b.mul(channels, number(4 * LANES))))
        more = b.add(channels, one)
        self.loop(channels, more, [weights_at], [taps_next], next_block)
        b.cbranch(b.icmp_signed("<", more, blocks), outer, done)
        b.position_at_end(done)


# Each takes the address of the addresses of its rows; of the offsets at which the stretches of a row start;
# the stretches; the steps of each; the weights [stretch][step][column][4 bytes], aligned to 64; the block
# of sums to fill; the bytes from one row of the block to the next.
bytes_1, bytes_2, bytes_3, bytes_4 = (
    loop(lambda builder, v=v: _Dense(builder, 1, BYTE_ROWS[v], v), *BYTES_NEED) for v in BYTE_ROWS
)
words_1, words_2, words_3, words_4 = (
    loop(
        lambda builder, v=v: _Dense(builder, 2, WORD_ROWS[v], v),
        *(WORDS_NEED if v in WORD_ROWS else _WIDE_WORDS),
    )
    for v in _MANY
)
# Of ``PIXELS`` pixel addresses; of the offsets of their taps, a multiple of what a step takes; the blocks
# of 16 channels; the steps; the weights [block][step][channel][4 bytes]; the rest as above.
bytes_depthwise = loop(lambda builder: _Depthwise(builder, 1), *BYTES_NEED)
words_depthwise = loop(lambda builder: _Depthwise(builder, 2), *WORDS_NEED)
