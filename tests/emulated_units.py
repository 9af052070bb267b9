"""A pytest plugin: the loops for AVX-512, VNNI and AMX on a processor that has none of them.

    PYTHONPATH=tests python -m pytest -p emulated_units tests/datapath/test_packed.py

Every instruction that the loops name is written out here as plain LLVM code after its definition in
Intel's manual of instructions (vpdpbusd, vpmaddwd, tileloadd, tilestored, tdpbusd), and LLVM compiles their
wide vectors for the processor at hand. What is tested thus is all but the instruction itself: addresses,
packing, blocks, borders, corrections. The kernels lie in a cache of their own.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llvmlite import ir

from simulator import jit

_HERE = Path(__file__)
os.environ["NPUSIM_CACHE_DIR"] = str(
    jit.cache_root() / f"emulated-{hashlib.sha256(_HERE.read_bytes()).hexdigest()[:16]}"
)
jit._CACHE_FOLDER = jit._prepare_cache()

from simulator.datapath import llvm  # noqa: E402 - its kernels are to be cached there

_INDEX, _BYTE, _WORD, _SUM = (ir.IntType(bits) for bits in (64, 8, 16, 32))
_ADDRESS, _VOID = _BYTE.as_pointer(), ir.VoidType()
_ROWS, _ROW_BYTES = 16, 64  # of a tile
_TILE = ir.ArrayType(ir.VectorType(_BYTE, _ROW_BYTES), _ROWS)
_EMULATED = ("avx512f", "avx512bw", "avx512vl", "avx512vnni", "amx-tile", "amx-int8")


def _sums_of(builder: Any, products: Any, at_once: int) -> Any:
    """16 sums of ``at_once`` neighbours each."""
    total = None
    for start in range(at_once):
        places = [lane * at_once + start for lane in range(_ROWS)]
        part = builder.shuffle_vector(
            products, products, ir.Constant(ir.VectorType(_SUM, _ROWS), places)
        )
        total = part if total is None else builder.add(total, part)
    return total


def _vpdpbusd(builder: Any, values: list[Any]) -> Any:
    sums, unsigned, signed = values
    as_bytes, wide = ir.VectorType(_BYTE, 64), ir.VectorType(_SUM, 64)
    left = builder.zext(builder.bitcast(unsigned, as_bytes), wide)
    right = builder.sext(builder.bitcast(signed, as_bytes), wide)
    return builder.add(sums, _sums_of(builder, builder.mul(left, right), 4))


def _vpmaddwd(builder: Any, values: list[Any]) -> Any:
    left, right = (builder.sext(value, ir.VectorType(_SUM, 32)) for value in values)
    return _sums_of(builder, builder.mul(left, right), 2)


def _instruction(
    builder: Any, name: str, result: Any, values: list[Any], write: Callable[..., Any]
) -> Any:
    """A call of a function of the module's own that returns what ``write`` writes; inlined, the loops
    would take minutes to compile."""
    module = builder.module
    function = module.globals.get(f"emulated.{name}")
    if function is None:
        kind = ir.FunctionType(result, [value.type for value in values])
        function = ir.Function(module, kind, f"emulated.{name}")
        function.linkage = "internal"
        function.attributes.add("noinline")
        body = ir.IRBuilder(function.append_basic_block())
        body.ret(write(body, list(function.args)))
    return builder.call(function, values)


def _tile(builder: Any, number: ir.Constant) -> Any:
    """Where a tile of the function being written is kept: all that a loop loads it also stores."""
    name = f"tile.{builder.function.name}.{number.constant}"
    known = _TILES.get((id(builder.module), name))
    if known is None:
        with builder.goto_entry_block():
            known = builder.alloca(_TILE, name=name)
        _TILES[id(builder.module), name] = known
    return known


_TILES: dict[tuple[int, str], Any] = {}


def _helper(module: Any, name: str, arguments: list[Any], write: Callable[..., None]) -> Any:
    """A function of the module's own, with ``write(builder, row, arguments)`` for each of 16 rows."""
    known = module.globals.get(name)
    if known is not None:
        return known
    function = ir.Function(module, ir.FunctionType(_VOID, arguments), name)
    function.linkage = "internal"
    entry, rows, done = (function.append_basic_block(part) for part in ("entry", "rows", "done"))
    builder = ir.IRBuilder(entry)
    builder.branch(rows)
    builder.position_at_end(rows)
    row = builder.phi(_INDEX)
    row.add_incoming(ir.Constant(_INDEX, 0), entry)
    write(builder, row, function.args)
    following = builder.add(row, ir.Constant(_INDEX, 1))
    row.add_incoming(following, rows)
    last = builder.icmp_signed("<", following, ir.Constant(_INDEX, _ROWS))
    builder.cbranch(last, rows, done)
    builder.position_at_end(done)
    builder.ret_void()
    return function


def _row_of(builder: Any, tile: Any, row: Any, kind: Any) -> Any:
    pointer = builder.gep(tile, [ir.Constant(_INDEX, 0), row])
    return builder.bitcast(pointer, kind.as_pointer())


def _memory(builder: Any, pointer: Any, stride: Any, row: Any) -> Any:
    at = builder.gep(pointer, [builder.mul(stride, row)])
    return builder.bitcast(at, _TILE.element.as_pointer())


def _load_row(builder: Any, row: Any, arguments: Any) -> None:
    tile, pointer, stride = arguments
    value = builder.load(_memory(builder, pointer, stride, row), align=1)
    builder.store(value, _row_of(builder, tile, row, _TILE.element), align=1)


def _store_row(builder: Any, row: Any, arguments: Any) -> None:
    tile, pointer, stride = arguments
    value = builder.load(_row_of(builder, tile, row, _TILE.element), align=1)
    builder.store(value, _memory(builder, pointer, stride, row), align=1)


def _multiply_row(builder: Any, row: Any, arguments: Any) -> None:
    sums_tile, left, right = arguments
    vector = ir.VectorType(_SUM, _ROWS)
    sums_at = _row_of(builder, sums_tile, row, vector)
    sums = builder.load(sums_at, align=1)
    fours = builder.load(_row_of(builder, left, row, vector), align=1)
    for step in range(_ROWS):
        column = builder.load(_row_of(builder, right, ir.Constant(_INDEX, step), vector), align=1)
        places = ir.Constant(vector, [step] * _ROWS)
        same = builder.shuffle_vector(fours, fours, places)
        sums = _instruction(builder, "vpdpbusd", vector, [sums, same, column], _vpdpbusd)
    builder.store(sums, sums_at, align=1)


_OF_VECTORS: dict[str, Callable[..., Any]] = {
    "llvm.x86.avx512.vpdpbusd.512": _vpdpbusd,
    "llvm.x86.avx512.pmaddw.d.512": _vpmaddwd,
}
_OF_TILES: dict[str, tuple[int, Callable[..., None]]] = {
    "llvm.x86.tileloadd64": (1, _load_row),
    "llvm.x86.tilestored64": (1, _store_row),
    "llvm.x86.tdpbusd": (3, _multiply_row),
}


def _called(builder: Any, name: str, result: Any, values: list[Any]) -> Any:
    if name in _OF_VECTORS:
        return _instruction(builder, name, result, values, _OF_VECTORS[name])
    if name in ("llvm.x86.ldtilecfg", "llvm.x86.tilerelease"):
        return None  # nothing of a tile outlives the loop that loads it
    if name in _OF_TILES:
        tiles, write = _OF_TILES[name]
        given = [_tile(builder, value) for value in values[:tiles]] + values[tiles:]
        kinds = [value.type for value in given]
        helper = _helper(builder.module, f"emulated.{name}", kinds, write)
        return builder.call(helper, given)
    return _REAL(builder, name, result, values)


def _processor_has(*features: str) -> bool:
    return _REAL_FEATURES(*[name for name in features if name not in _EMULATED])


assert "simulator.datapath.llvm_products" not in sys.modules, "the loops were made before"
_REAL, _REAL_FEATURES = llvm.called, llvm.processor_has
llvm.called, llvm.processor_has = _called, _processor_has

from simulator.datapath import amx  # noqa: E402 - with what is replaced above

amx.permitted = lambda: True
