"""Action counts against a recount in plain Python, and against what the datapath really did."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import every_command
import numpy as np
import pytest
from random_devices import compile_tightly
from random_layers import LAYERS
from real_models import graph_of, random_inputs
from variants import TIMING_VARIANTS, variant

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.energy.counts import Counts, count_program, stage_parts
from simulator.hwconfig import Array
from simulator.importers.tflite import read_tflite
from simulator.ops import operator
from simulator.program.commands import Command, Host, Matmul, Move, Vector
from simulator.program.nest import ROWS_OUTER, Nest, tile_count
from simulator.program.program import Program

CASES = 60  # of each operator
Range = tuple[int, int]


def ceil(a: int, b: int) -> int:
    return -(-a // b)


def ranges(extent: int, tile: int) -> list[Range]:
    return [(start, min(start + tile, extent)) for start in range(0, extent, tile)]


def parts_of(nest: Nest, split: str, cores: int) -> list[tuple[str, Range]]:
    """What each core has of the axis that they divide."""
    axis = {"rows": "h", "columns": "w", "channels": "n", "groups": "g", "": "h"}[split]
    extent = {"h": nest.out_h, "w": nest.out_w, "n": nest.n, "g": nest.groups}[axis]
    return [(axis, part) for part in ranges(extent, ceil(extent, cores if split else 1))]


def tiles_of(nest: Nest, own: tuple[str, Range]) -> Iterator[dict[str, Range]]:
    """Tiles of one core in the order that ``program.nest`` states, as nested loops."""
    loops = {
        "b": ranges(nest.batch, 1), "h": ranges(nest.out_h, nest.tile_h),
        "w": ranges(nest.out_w, nest.tile_w), "g": ranges(nest.groups, nest.tile_g),
        "n": ranges(nest.n, nest.tile_n), "k": ranges(nest.k, nest.tile_k),
    }  # fmt: skip
    axis, (low, high) = own
    tile = {"h": nest.tile_h, "w": nest.tile_w, "n": nest.tile_n, "g": nest.tile_g}[axis]
    loops[axis] = [(low + a, low + b) for a, b in ranges(high - low, tile)]
    order = "bhwgnk" if nest.order == ROWS_OUTER else "gnbhwk"

    def walk(depth: int, chosen: dict[str, Range]) -> Iterator[dict[str, Range]]:
        if depth == len(order):
            yield dict(chosen)
            return
        for part in loops[order[depth]]:
            yield from walk(depth + 1, {**chosen, order[depth]: part})

    return walk(0, {})


def size(part: Range) -> int:
    return part[1] - part[0]


def input_positions(nest: Nest, tile: dict[str, Range]) -> int:
    """Rows times columns between the first and the last tap, as far as they lie in the image."""
    total = 1
    for part, stride, dilation, kernel, pad, extent in (
        (tile["h"], nest.stride_h, nest.dilation_h, nest.kernel_h, nest.pad_top, nest.in_h),
        (tile["w"], nest.stride_w, nest.dilation_w, nest.kernel_w, nest.pad_left, nest.in_w),
    ):
        taps = [o * stride - pad + j * dilation for o in range(*part) for j in range(kernel)]
        total *= sum(0 <= at < extent for at in range(min(taps), max(taps) + 1))
    return total


def widths_of(array: Array) -> tuple[int, int]:
    return array.ifmap_bits, array.weight_bits


def taken(bits: int, most: int) -> int:
    """Of a fused PE's bits."""
    return min(most, next(b for b in (2, 4, 8, 16) if b >= bits))


def terms_of(array: Array, bits: tuple[int, int]) -> int:
    """Products of one sum that a PE does at once."""
    if array.precision_scaling != "fused":
        return 1
    return math.prod(w // taken(b, w) for b, w in zip(bits, widths_of(array), strict=True))


def add_product(
    total: Counter[str], program: Program, nest: Nest, tile: dict[str, Range], bits: tuple[int, int]
) -> None:
    """Operands of one tile, fold by fold, group by group; a chain of products ends with a fold. A word is
    what a PE takes at once."""
    array = program.device.array
    word = terms_of(array, bits)
    rows, cols, acc_bits = array.rows, array.cols, array.accumulator_bits
    m, n, groups = size(tile["h"]) * size(tile["w"]), size(tile["n"]), size(tile["g"])
    k = size(tile["k"]) * nest.kernel_h * nest.kernel_w
    ifmap = weights = reads = writes = 0
    first_k = tile["k"][0] == 0
    dataflow = array.dataflow
    if dataflow == "output_stationary":
        for i in ranges(m, rows):
            for j in ranges(n, cols):
                ifmap += size(i) * k
                weights += size(j) * k
                writes += size(i) * size(j)
                reads += 0 if first_k else size(i) * size(j)
        packed = max(1, min(groups, cols // n))
    else:
        rows *= word
        still, moving = (n, m) if dataflow == "weight_stationary" else (m, n)
        for i in ranges(k, rows):
            for j in ranges(still, cols):
                kept, streamed = size(i) * size(j), size(i) * moving
                ifmap += streamed if dataflow == "weight_stationary" else kept
                weights += kept if dataflow == "weight_stationary" else streamed
                writes += size(j) * moving
                reads += 0 if first_k and i[0] == 0 else size(j) * moving
        packed = max(1, min(groups, array.rows // ceil(k, word)))
        if dataflow == "weight_stationary":
            packed = max(1, min(packed, cols // n))
    passing = array.psum_bits or acc_bits
    passing += word * bits[0] if dataflow != "input_stationary" else 0
    passing += word * bits[1] if dataflow != "weight_stationary" else 0
    for g in ranges(groups, packed):
        total["registers"] += m * ceil(k, word) * n * size(g) ** 2 * passing
    macs, words = m * k * n * groups, m * ceil(k, word) * n * groups
    total["macs"] += macs
    total["psum_additions"] += words * (array.psum_bits or acc_bits)
    if array.precision_scaling == "bit_serial":
        # Row by row of the multiplier, the partial product in a register of both widths.
        total["multiplications"] += macs * array.ifmap_bits * bits[1]
        total["registers"] += macs * bits[1] * (array.ifmap_bits + bits[1])
    elif array.precision_scaling == "fused":
        a, w = (taken(b, most) for b, most in zip(bits, widths_of(array), strict=True))
        total["multiplications"] += macs * a * w
        # A tree of adders joins the products of a word: one less than there are.
        total["psum_additions"] += (macs - words) * (a + w + math.ceil(math.log2(word)))
    else:
        total["multiplications"] += macs * array.ifmap_bits * array.weight_bits
    total["pad_read"] += groups * (ifmap * bits[0] + weights * bits[1])
    total["acc_read"] += groups * reads * acc_bits
    total["acc_write"] += groups * writes * acc_bits


def recount(program: Program, command: Matmul | Vector) -> Counter[str]:
    nest, total = command.nest, Counter[str]()
    parts = parts_of(nest, command.split, program.device.cores)
    specs = [program.placements[name].spec for name in command.inputs]
    read = nest.batch * nest.in_h * nest.in_w * nest.groups * nest.k
    # What is not read element by element, such as a table, is loaded once as a whole.
    # Weights that the program makes come with the tiles' weights.
    product = isinstance(command, Matmul)
    if product:
        specs = specs[:1]
    tiled = [product or s.elements == read for s in specs]
    bits = [s.bits for s, t in zip(specs, tiled, strict=True) if t]
    given = command.streams.inputs[: len(specs)]
    streams = [s for s, t in zip(given, tiled, strict=True) if t]
    for spec, stream, t in zip(specs, given, tiled, strict=True):
        total["dram_read"] += len(parts) * spec.size_bytes * (stream and not t)
    out_bits = program.placements[command.ofmap].spec.bits
    acc_bits = program.device.array.accumulator_bits
    for own in parts:
        last: dict[str, tuple[Range, ...]] = {}
        for tile in tiles_of(nest, own):
            channels = size(tile["g"]) * size(tile["n"])
            weights, ifmap = (tile["g"], tile["n"], tile["k"]), tuple(tile[a] for a in "bhwgk")
            if isinstance(command, Matmul):
                add_product(total, program, nest, tile, (bits[0], command.weight_bits))
                taps = channels * size(tile["k"]) * nest.kernel_h * nest.kernel_w
                moved = taps * command.weight_bits
                moved += channels * command.channel_bits if tile["k"][0] == 0 else 0
                if command.streams.weights and weights != last.get("w"):
                    total["dram_read"] += ceil(moved, 8)
            elements = input_positions(nest, tile) * size(tile["g"]) * size(tile["k"])
            for width, streamed in zip(bits, streams, strict=False):
                total["dram_read"] += ceil(elements * width, 8) * (
                    streamed and ifmap != last.get("i")
                )
                total["pad_read"] += (
                    0 if isinstance(command, Matmul) else 8 * ceil(elements * width, 8)
                )
            last = {"w": weights, "i": ifmap}
            if tile["k"][1] == nest.k:
                made = size(tile["h"]) * size(tile["w"]) * channels
                total["outputs"] += made
                total["pad_write"] += 8 * ceil(made * out_bits, 8)
                total["acc_read"] += made * acc_bits * isinstance(command, Matmul)
                total["dram_write"] += ceil(made * out_bits, 8) * command.streams.ofmap
    total["wire"] = total["pad_read"] + total["pad_write"]
    total["pad_read"] += 8 * total["dram_write"]
    total["pad_write"] += 8 * total["dram_read"]
    return total


def named(counts: Counts) -> dict[str, int]:
    c = counts
    return {
        "macs": c.macs, "multiplications": c.mac_multiplier_bits2,
        "psum_additions": c.mac_adder_bits, "outputs": c.outputs, "registers": c.register_bits,
        "pad_read": c.scratchpad_read_bits, "pad_write": c.scratchpad_write_bits,
        "acc_read": c.accumulator_read_bits, "acc_write": c.accumulator_write_bits,
        "dram_read": c.dram_read_bytes, "dram_write": c.dram_write_bytes, "wire": c.wire_bits,
    }  # fmt: skip


def counted(program: Program) -> list[tuple[Command, Counts]]:
    found = count_program(program, program.device.operating_point())
    return list(zip(program.commands, found, strict=True))


@pytest.mark.parametrize("kind", LAYERS)
def test_counts_equal_a_recount(kind: str) -> None:
    tiled = 0
    for seed in range(CASES):
        rng = np.random.default_rng([seed, len(kind)])
        graph = read_tflite(LAYERS[kind](rng).content, kind)
        scaling = str(rng.choice(["none", "fused", "bit_serial"]))
        wide = {"ifmap_bits": 16, "weight_bits": int(rng.choice([8, 12, 16]))} if seed % 3 else {}
        narrow = {"psum_bits": 24} if seed % 4 == 0 else {}
        program = compile_tightly(rng, graph, precision_scaling=scaling, **wide, **narrow)
        for command, counts in counted(program):
            if isinstance(command, Matmul | Vector):
                assert named(counts) == {**named(counts), **recount(program, command)}
                lane = command.lane
                product = isinstance(command, Matmul)
                bare = isinstance(command, Matmul) and command.requantize.kind == "none"
                assert counts.vector_multiplies == (
                    0 if product else counts.outputs * lane.multiplies
                )
                assert (counts.stage_adder_bits > 0) == (product and not bare)
                assert counts.vector_adds == counts.outputs * lane.adds
                assert counts.vector_lookups == counts.outputs * lane.lookups
                tiled += tile_count(command.nest) > 1
    # What moves elements only, or runs on the host, has few tiles, or none.
    described = operator(kind)
    exempt = "DATA" in vars(described) or described.COMMAND.startswith("host")
    assert tiled >= CASES // 5 or exempt


@pytest.mark.parametrize("dataflow", ["weight_stationary", "output_stationary", "input_stationary"])
def test_counts_equal_a_recount_on_a_model(dataflow: str) -> None:
    device = variant("ethos-u55-256", {
        "array.dataflow": dataflow, "array.rows": 7, "array.cols": 13,
    })  # fmt: skip
    program = compile_graph(graph_of("digits"), device)
    for command, counts in counted(program):
        assert isinstance(command, Matmul | Vector)
        assert named(counts) == {**named(counts), **recount(program, command)}


@pytest.mark.parametrize("changes", TIMING_VARIANTS.values(), ids=list(TIMING_VARIANTS))
@pytest.mark.parametrize("model", ["resnet", "kws", "vww", "ad01", "digits"])
def test_static_counts_equal_the_datapath_s(model: str, changes: dict) -> None:
    samples = 2
    for base in ("wear", "ethos-u55-256"):
        program = compile_graph(graph_of(model), variant(base, changes))
        x = random_inputs(model, samples)
        run = Machine(program).run({program.inputs[0]: x}).counts
        for (_, static), done in zip(counted(program), run, strict=True):
            assert (samples * static.macs, samples * static.outputs) == (done.macs, done.outputs)


# Per result, by hand: (product of the multiplier's widths, adder bits, shifter and normalizer bits).
STAGES = {
    # 32 x 32 multiplier, two roundings to 32 bits, a left and a right shift of 32 bits.
    "double_rounding": (32 * 32, 64, 64),
    "double_rounding_up": (32 * 32, 64, 64),
    # 24 x 24; magnitude, two roundings to 24 bits, exponents, last rounding; shift and normalizer of 32.
    "float32_even": (24 * 24, 32 + 24 + 24 + 8 + 32, 32 + 32),
    # 32 x 53; no rounding on the way in; the last shift is 53 bits wide.
    "float64_away": (32 * 53, 32 + 53 + 11 + 32, 53 + 32),
    "power_of_two": (0, 32, 32),
    "reduced_multiplier": (32 * 16, 32, 48),
}


@pytest.mark.parametrize("kind", STAGES)
def test_parts_of_an_output_stage(kind: str) -> None:
    assert stage_parts(kind, 32) == STAGES[kind]


def test_an_output_stage_is_counted_by_its_requantizer_and_that_of_its_last_channels() -> None:
    program = compile_graph(graph_of("digits"), variant("wear", {}))
    index = next(i for i, c in enumerate(program.commands) if c.operator == "depthwise_conv_2d")
    command = program.commands[index]
    assert isinstance(command, Matmul)
    assert command.requantize.kind == "double_rounding"
    outputs = program.placements[command.ofmap].spec.elements
    channels = command.nest.groups * command.nest.n
    tailed = replace(
        command, requantize=replace(
            command.requantize, kind="float32_even", tail_kind="power_of_two", tail_channels=3
        ),
    )  # fmt: skip
    for made, parts in ((command, STAGES["double_rounding"]), (tailed, None)):
        commands = (*program.commands[:index], made, *program.commands[index + 1 :])
        found = counted(replace(program, commands=commands))[index][1]
        tail = outputs // channels * 3
        expected = [
            outputs * part if parts else (outputs - tail) * a + tail * b
            for part, a, b in zip(
                parts or (0, 0, 0), STAGES["float32_even"], STAGES["power_of_two"], strict=True
            )
        ]
        assert [
            found.stage_multiplier_bits2, found.stage_adder_bits, found.stage_shifter_bits
        ] == expected  # fmt: skip


def test_host_and_move() -> None:
    program = compile_graph(every_command.network(), every_command.device(softmax=False))
    for command, counts in counted(program):
        read = sum(program.placements[name].spec.size_bytes for name in command.inputs)
        made = program.placements[command.ofmap].spec.size_bytes
        if isinstance(command, Host):
            expected = Counts(*[0] * len(Counts._fields))._replace(
                outputs=made, dram_read_bytes=read, dram_write_bytes=made,
                host_operations=command.operations,
            )  # fmt: skip
            assert counts == expected
        elif isinstance(command, Move):
            ends = counts.scratchpad_read_bits // 8 + counts.dram_read_bytes
            assert (ends, counts.macs, counts.wire_bits) == (read, 0, 0)
