"""The scratchpad's read port: nothing reads more than it gives, and only what the data needs."""

from __future__ import annotations

import pytest
from real_models import graph_of
from tflite_builder import Op, Tensor, build_model
from variants import variant

from simulator.compiler import compile_graph
from simulator.energy.counts import count_program
from simulator.importers.tflite import read_tflite
from simulator.program.commands import Matmul, Vector
from simulator.timing.pipeline import time_program

DATAFLOWS = ("weight_stationary", "output_stationary", "input_stationary")


@pytest.mark.parametrize("port_bytes", [1, 8, 64])
@pytest.mark.parametrize("overlap", ["serial", "pipelined"])
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_a_command_reads_no_more_than_the_port_gives(
    dataflow: str, overlap: str, port_bytes: int
) -> None:
    changes = {
        "array.dataflow": dataflow, "array.overlap": overlap, "vector.lanes": 512,
        "scratchpad.read_bytes_per_cycle": port_bytes,
    }  # fmt: skip
    for base in ("wear", "ethos-u55-256"):
        device = variant(base, changes)
        program = compile_graph(graph_of("digits"), device)
        point = device.operating_point()
        timing, counts = time_program(program, point), count_program(program, point)
        for command, one, span in zip(program.commands, counts, timing.commands, strict=True):
            if isinstance(command, Matmul | Vector):
                # What the DMA reads on the way out is not the port's.
                read = one.scratchpad_read_bits - 8 * one.dram_write_bytes
                assert span.cycles * port_bytes * 8 >= read


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_narrow_data_asks_no_more_of_the_port_on_wide_pes(dataflow: str) -> None:
    cycles = []
    for bits in (8, 16):
        changes = {
            "array.dataflow": dataflow, "array.ifmap_bits": bits, "array.weight_bits": bits,
            "scratchpad.read_bytes_per_cycle": 6,
        }  # fmt: skip
        device = variant("wear", changes)
        program = compile_graph(graph_of("digits"), device)
        cycles.append(time_program(program, device.operating_point()).cycles)
    assert cycles[0] == cycles[1]


def test_the_vector_unit_waits_for_the_port() -> None:
    device = variant("wear", {"scratchpad.read_bytes_per_cycle": 1, "vector.lanes": 1024})
    program = compile_graph(graph_of("digits"), device)
    timing = time_program(program, device.operating_point())
    index = next(i for i, c in enumerate(program.commands) if c.operator == "add")
    # 14 x 14 x 32 codes from each of two tensors, one byte per cycle.
    assert timing.commands[index].cycles == 2 * 14 * 14 * 32
    assert timing.commands[index].by_cause["scratchpad_stall"] > 0


def test_a_pad_takes_the_time_to_write_its_fill() -> None:
    import numpy as np

    amounts = np.array([[0, 0], [10, 10], [10, 10], [0, 0]], np.int32)
    scale = np.float32(0.5)
    tensors = [
        Tensor("x", (1, 2, 2, 1), "i8", scale, 0), Tensor("amounts", (4, 2), "i32", data=amounts),
        Tensor("p", (1, 22, 22, 1), "i8", scale, 0), Tensor("y", (1, 1, 1, 1), "i8", scale, 0),
    ]  # fmt: skip
    window = {"FilterHeight": 22, "FilterWidth": 22, "StrideH": 1, "StrideW": 1, "Padding": 1}
    ops = [Op("PAD", ["x", "amounts"], "p"), Op("MAX_POOL_2D", ["p"], "y", window)]
    graph = read_tflite(build_model(tensors, ops, ["x"], ["y"]), "padded")
    device = variant("wear", {"dma.bytes_per_cycle": 1, "dma.latency_cycles": 0})
    timing = time_program(compile_graph(graph, device), device.operating_point())
    assert timing.commands[0].cycles == 22 * 22
