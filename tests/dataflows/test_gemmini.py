"""The laws against an array that we did not write: Gemmini's RTL, operands in its scratchpad and sums in
its accumulator memory, so that the array and the issue of tiles to it are all that takes time."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from simulator.dataflows import (
    OUTPUT_STATIONARY,
    PIPELINED,
    WEIGHT_STATIONARY,
    Gemm,
    Grid,
    work,
)

MEASURED = Path(__file__).parents[2].parent / "shared" / "reference" / "gemmini_rtl.csv"

# What the RTL takes beyond the law, whatever the product. Weight stationary: registers between mesh and
# memories. Output stationary: sums stay in the PEs until another tile operation, a row of them per cycle,
# brings them out, and one before it puts what they start with in: 16 rows each, and registers as above.
BEYOND = {"WS_SPAD": (WEIGHT_STATIONARY, 3), "OS_SPAD": (OUTPUT_STATIONARY, 2 * 16 + 6)}


@pytest.mark.skipif(not MEASURED.is_file(), reason="the measurements are not in this checkout")
@pytest.mark.parametrize("mode", BEYOND)
def test_cycles_of_the_mesh(mode: str) -> None:
    """First operand row in to last result row out: law and RTL are the same number of cycles apart in all
    125 products, of 1 to 216 tiles."""
    dataflow, beyond = BEYOND[mode]
    with MEASURED.open(newline="") as file:
        cases = [case for case in csv.DictReader(file) if case["mode"] == mode]
    assert len(cases) == 125
    for case in cases:
        assert (case["array_rows"], case["array_cols"], case["mismatches"]) == ("16", "16", "0")
        gemm = Gemm(int(case["m"]), int(case["k"]), int(case["n"]), 1)
        law = work(dataflow, PIPELINED, gemm, Grid(16, 16, 8, 8, 1 << 30))
        found = law.load + law.body + law.last + law.skew
        assert int(case["mesh_cycles"]) == found + beyond, case
