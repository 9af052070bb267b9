"""The machine against one that we did not write: Gemmini's RTL, simulated by others with every product.

``*_SPAD``: operands in its scratchpad and sums in its accumulator memory, so that the array and the issue
of tiles to it are all that takes time. ``OS`` and ``WS_LOOP``: operands come from memory and results go
there; what ``hwconfigs/devices/gemmini.toml`` and the software's own tiles predict for that.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from simulator.compiler import compile_graph
from simulator.compiler.tile import Tiles
from simulator.dataflows import (
    OUTPUT_STATIONARY,
    PIPELINED,
    WEIGHT_STATIONARY,
    Gemm,
    Grid,
    work,
)
from simulator.graph import Graph
from simulator.graph.ir import GraphTensor, Node, attributes
from simulator.hwconfig import Device, device_from_dict, load_device
from simulator.program.nest import ROWS_OUTER
from simulator.tensor import QuantParams, TensorSpec
from simulator.timing.pipeline import time_program

MEASURED = Path(__file__).parents[2].parent / "shared" / "reference" / "gemmini_rtl.csv"
measured = pytest.mark.skipif(
    not MEASURED.is_file(), reason="the measurements are not in this checkout"
)
SIDE = 16

# What the RTL takes beyond the law, whatever the product. Weight stationary: registers between mesh and
# memories. Output stationary: sums stay in the PEs until another tile operation, a row of them per cycle,
# brings them out, and one before it puts what they start with in: 16 rows each, and registers as above.
BEYOND = {"WS_SPAD": (WEIGHT_STATIONARY, 3), "OS_SPAD": (OUTPUT_STATIONARY, 2 * SIDE + 6)}


def cases(mode: str) -> list[dict[str, str]]:
    with MEASURED.open(newline="") as file:
        found = [case for case in csv.DictReader(file) if case["mode"] == mode]
    for case in found:
        assert (case["array_rows"], case["array_cols"], case["mismatches"]) == ("16", "16", "0")
        assert case["memory_latency_cycles"] == "20"
    return found


def sizes(case: dict[str, str]) -> tuple[int, int, int]:
    return int(case["m"]), int(case["k"]), int(case["n"])


@measured
@pytest.mark.parametrize("mode", BEYOND)
def test_cycles_of_the_mesh(mode: str) -> None:
    """First operand row in to last result row out: law and RTL are the same number of cycles apart in all
    125 products, of 1 to 216 tiles."""
    dataflow, beyond = BEYOND[mode]
    products = cases(mode)
    assert len(products) == 125
    for case in products:
        m, k, n = sizes(case)
        law = work(dataflow, PIPELINED, Gemm(m, k, n, 1), Grid(SIDE, SIDE, 8, 8, 1 << 30))
        found = law.load + law.body + law.last + law.skew
        assert int(case["mesh_cycles"]) == found + beyond, case


def product(m: int, k: int, n: int) -> Graph:
    """Two int8 matrices and their product, all in DRAM."""
    codes = QuantParams((0.05,), (0,))
    shapes = {"a": (1, m, k), "b": (1, k, n), "c": (1, m, n)}
    tensors = {
        name: GraphTensor(name, TensorSpec(shape, "i8"), codes, name)
        for name, shape in shapes.items()
    }
    node = Node("product", "batch_matmul", ("a", "b"), ("c",), attributes(adj_x=0, adj_y=0))
    return Graph("product", "tflite", tensors, {}, (node,), ("a", "b"), ("c",))


def device(mode: str) -> Device:
    """The shipped device; output stationary, software drives it tile by tile: one buffer, and results leave
    in rows of one tile."""
    content = load_device("gemmini").model_dump(exclude_none=True, exclude={"sources"})
    if mode == "OS":
        content["array"]["dataflow"] = "output_stationary"
        content["dma"]["write_request_bytes"] = SIDE
        content["accumulator"]["buffers"] = content["scratchpad"]["buffers"] = 1
    return device_from_dict(content, mode)


def library_tiles(mode: str, m: int, k: int, n: int) -> Tiles:
    """Tiles as Gemmini's library takes them (gemmini-rocc-tests, ``tiled_matmul_auto``): for the loop
    unroller, a square of blocks of 16 x 16 sums that half of the accumulator memory holds, first grown
    to the right, then downwards; k as a whole, here always within half of the scratchpad. All of these
    products fit whole where nothing is halved."""
    if mode == "OS":
        return Tiles(1, m, 1, n, k, ROWS_OUTER)
    blocks = 64 * 1024 // 2 // (SIDE * SIDE * 4)
    across, down = -(-n // SIDE), -(-m // SIDE)
    i, j = (min(extent, math.isqrt(blocks)) for extent in (down, across))
    grown = True
    while grown:
        grown = False
        if j < across and i * (j + 1) <= blocks:
            j, grown = j + 1, True
        if i < down and (i + 1) * j <= blocks:
            i, grown = i + 1, True
    return Tiles(1, min(m, i * SIDE), 1, min(n, j * SIDE), k, ROWS_OUTER)


def errors(mode: str) -> np.ndarray:
    """(predicted - measured) / measured of every product."""
    machine, found = device(mode), []
    for case in cases(mode):
        m, k, n = sizes(case)
        tiles = {"product": library_tiles(mode, m, k, n)}
        program = compile_graph(product(m, k, n), machine, tiles=tiles)
        cycles = time_program(program, machine.operating_point()).cycles
        found.append(cycles / int(case["total_cycles"]) - 1)
    return np.array(found)


@measured
@pytest.mark.parametrize("mode", ["OS", "WS_LOOP"])
def test_cycles_with_transfers(mode: str) -> None:
    """First command accepted to all results in memory, 216 products each; one number was fitted, to all of
    them together: the cycles of a command."""
    found = errors(mode)
    assert len(found) == 216
    assert np.abs(found).mean() <= 0.10
    assert np.abs(found).max() <= 0.25


if __name__ == "__main__":
    for name in ("OS", "WS_LOOP"):
        apart = errors(name)
        print(
            f"{name}: mean error {np.abs(apart).mean():.1%}, worst {np.abs(apart).max():.1%}, "
            f"bias {apart.mean():+.1%}"
        )
