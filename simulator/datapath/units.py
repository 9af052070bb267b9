"""Which of the processor's multipliers the products of 8-bit codes run on.

``amx``: tiles of 16 rows of 64 bytes, 16384 products at once, for products of whole rows; the rest as
``vnni``: 64 products of unsigned by signed bytes at once, added to 16 sums (``vpdpbusd`` on 512 bits).
``portable``: the loops of ``matmul`` as numba compiles them for any processor, or as Python runs them. All
give the same integers.
"""

from __future__ import annotations

import os
from functools import cache

import llvmlite.binding as llvm

from simulator.datapath import amx
from simulator.errors import UsageError
from simulator.jit import numba_config

VARIABLE = "NPUSIM_KERNELS"
PORTABLE, VNNI, AMX = "portable", "vnni", "amx"
UNITS = (AMX, VNNI, PORTABLE)
_VECTORS = ("avx512f", "avx512vnni")
_NEEDED = {VNNI: _VECTORS, AMX: (*_VECTORS, "amx-tile", "amx-int8")}


@cache
def available_units() -> tuple[str, ...]:
    """The units that this processor has, best first."""
    if numba_config.DISABLE_JIT or numba_config.CPU_NAME or numba_config.CPU_FEATURES:
        return (PORTABLE,)  # interpreted, or compiled for another processor
    features = llvm.get_host_cpu_features()
    return tuple(
        unit
        for unit in UNITS
        if all(features.get(name) for name in _NEEDED.get(unit, ()))
        and (unit != AMX or amx.permitted())
    )


def chosen_unit() -> str:
    """The best unit, or the one that ``$NPUSIM_KERNELS`` names."""
    known, wanted = available_units(), os.environ.get(VARIABLE, "")
    if not wanted:
        return known[0]
    if wanted not in known:
        raise UsageError(f"${VARIABLE}", repr(wanted), ", ".join(known))
    return wanted
