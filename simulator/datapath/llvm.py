"""Functions of LLVM's that numba has no words for."""

from __future__ import annotations

from typing import Any

from llvmlite import ir


def called(builder: Any, name: str, result: Any, values: list[Any]) -> Any:
    """What the function ``name`` of LLVM's makes of ``values``; it is declared where it is not yet."""
    known = builder.module.globals.get(name)
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(known or ir.Function(builder.module, kind, name), values)
