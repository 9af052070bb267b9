"""Which of the processor's multipliers the products of codes run on.

``amx``: tiles of 16 rows of 64 bytes, 16384 products at once, for products of whole rows of 8-bit codes;
the rest as ``vnni``: 64 products of unsigned by signed bytes at once, added to 16 sums (``vpdpbusd`` on 512
bits); codes of 9 to 16 bits as ``avx2``: 16 products of signed words at once, 32 where there are 512 bits
(``vpmaddwd``). ``portable``: the loops of ``matmul`` and ``chains`` as numba compiles them for any
processor, or as Python runs them. All give the same integers.
"""

from __future__ import annotations

import os
from functools import cache

from simulator.datapath import amx
from simulator.datapath.llvm import processor_has
from simulator.datapath.llvm_products import BYTES_NEED, WORDS_NEED
from simulator.errors import UsageError
from simulator.jit import numba_config

VARIABLE = "NPUSIM_KERNELS"
PORTABLE, AVX2, VNNI, AMX = "portable", "avx2", "vnni", "amx"
UNITS = (AMX, VNNI, AVX2, PORTABLE)
_NEEDED = {
    AVX2: WORDS_NEED,
    VNNI: (*WORDS_NEED, *BYTES_NEED),
    AMX: (*WORDS_NEED, *BYTES_NEED, "amx-tile", "amx-int8"),
}


@cache
def available_units() -> tuple[str, ...]:
    """The units that this processor has, best first."""
    if numba_config.DISABLE_JIT or numba_config.CPU_NAME or numba_config.CPU_FEATURES:
        return (PORTABLE,)  # interpreted, or compiled for another processor
    return tuple(
        unit
        for unit in UNITS
        if processor_has(*_NEEDED.get(unit, ())) and (unit != AMX or amx.permitted())
    )


def chosen_unit() -> str:
    """The best unit, or the one that ``$NPUSIM_KERNELS`` names."""
    known, wanted = available_units(), os.environ.get(VARIABLE, "")
    if not wanted:
        return known[0]
    if wanted not in known:
        raise UsageError(f"${VARIABLE}", repr(wanted), ", ".join(known))
    return wanted
