"""Loops written for LLVM directly: numba knows no vectors of its own.

Every loop takes addresses and counts, all int64; numba calls it like a function of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 16  # sums in a vector: one register of 512 bits, or two of 256
ARGUMENTS = 7  # of every loop

INDEX, BYTE, WORD, SUM = (ir.IntType(bits) for bits in (64, 8, 16, 32))
VECTOR = ir.VectorType(SUM, LANES)
NOTHING = ir.Constant(VECTOR, [0] * LANES)


def called(builder: Any, name: str, result: Any, values: list[Any]) -> Any:
    """What the function ``name`` of LLVM's makes of ``values``; it is declared where it is not yet."""
    known = builder.module.globals.get(name)
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(known or ir.Function(builder.module, kind, name), values)


@cache
def processor_has(*features: str) -> bool:
    """Whether this processor has all of ``features``, in LLVM's words."""
    found = llvmlite.binding.get_host_cpu_features()
    return all(found.get(name, False) for name in features)


def number(value: int) -> ir.Constant:
    return ir.Constant(INDEX, value)


class Writer:
    """What the loops are written with."""

    def __init__(self, builder: Any) -> None:
        self.b = builder

    def blocks(self, *names: str) -> list[Any]:
        return [self.b.function.append_basic_block(name) for name in names]

    def phi(self, kind: Any, start: Any, block: Any) -> Any:
        found = self.b.phi(kind)
        found.add_incoming(start, block)
        return found

    def loop(
        self, index: Any, following: Any, carried: list[Any], made: list[Any], end: Any
    ) -> None:
        """What a loop's block takes to its own next round."""
        index.add_incoming(following, end)
        for value, new in zip(carried, made, strict=True):
            value.add_incoming(new, end)

    def loads(self, address: Any, count: int) -> list[Any]:
        """``count`` numbers of 64 bits."""
        pointer = self.b.inttoptr(address, INDEX.as_pointer())
        return [self.b.load(self.b.gep(pointer, [number(i)])) for i in range(count)]

    def load(self, kind: Any, address: Any, align: int = 1) -> Any:
        value = self.b.load(self.b.inttoptr(address, kind.as_pointer()))
        value.align = align
        return value

    def store(self, value: Any, address: Any, align: int = 1) -> None:
        self.b.store(value, self.b.inttoptr(address, value.type.as_pointer())).align = align

    def all_of(self, value: Any, count: int = LANES) -> Any:
        """``count`` times a number."""
        unknown = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
        first = self.b.insert_element(unknown, value, ir.Constant(SUM, 0))
        places = ir.Constant(ir.VectorType(SUM, count), [0] * count)
        return self.b.shuffle_vector(first, unknown, places)

    def joined(self, first: Any, second: Any) -> Any:
        """Two vectors as one."""
        places = list(range(2 * first.type.count))
        return self.b.shuffle_vector(
            first, second, ir.Constant(ir.VectorType(SUM, len(places)), places)
        )

    def part(self, value: Any, start: int, count: int) -> Any:
        """Some of a vector."""
        places = ir.Constant(ir.VectorType(SUM, count), list(range(start, start + count)))
        return self.b.shuffle_vector(value, value, places)

    def smaller(self, left: Any, right: Any) -> Any:
        return self.b.select(self.b.icmp_signed("<", left, right), left, right)

    def larger(self, left: Any, right: Any) -> Any:
        return self.b.select(self.b.icmp_signed(">", left, right), left, right)

    def masked_store(self, values: Any, address: Any, mask: Any) -> None:
        """Bytes to an address, those whose bit of the mask is set."""
        kind = values.type
        pointer = self.b.inttoptr(address, kind.as_pointer())
        name = f"llvm.masked.store.v{kind.count}i8.p0v{kind.count}i8"
        called(self.b, name, ir.VoidType(), [values, pointer, ir.Constant(SUM, 1), mask])

    def masked_load(self, address: Any, mask: Any) -> Any:
        """Bytes from an address; none is read whose bit is not set."""
        kind = ir.VectorType(BYTE, mask.type.count)
        pointer = self.b.inttoptr(address, kind.as_pointer())
        name = f"llvm.masked.load.v{kind.count}i8.p0v{kind.count}i8"
        nothing = ir.Constant(kind, [0] * kind.count)
        return called(self.b, name, kind, [pointer, ir.Constant(SUM, 1), mask, nothing])


def loop(writer: Callable[[Any], Any], *needs: str) -> Callable[..., None]:
    """What ``writer(builder).write(arguments)`` writes, for numba to call.

    On a processor without the features it ``needs`` it is a trap: code that calls it compiles there, and
    must not run.
    """

    @intrinsic
    def run(
        typing: Any, first: Any, second: Any, third: Any, fourth: Any, fifth: Any, sixth: Any,
        seventh: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            if processor_has(*needs):
                writer(builder).write(values)
            else:
                called(builder, "llvm.trap", ir.VoidType(), [])
            return context.get_dummy_value()

        return types.void(*[types.intp] * ARGUMENTS), generate

    return run
