"""Narrow accumulators against the order of additions as the dataflows' docstrings state it.

The oracle here is plain Python: products of one output in the order of the reduction, cut into tiles
of k, those cut into the array's chains; each chain starts at zero and is added to the accumulator,
which starts at the bias. Every addition wraps or saturates. A fused PE adds a few products to a chain at
once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from random_devices import compile_tightly, small_device
from random_layers import LAYERS
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.fixedpoint.requantize import KINDS, requantize
from simulator.hwconfig import DATAFLOWS
from simulator.importers.tflite import read_tflite
from simulator.program.commands import Host, Matmul
from simulator.program.program import Program
from simulator.tensor import TensorSpec

PRODUCTS = ("conv_2d", "depthwise_conv_2d", "fully_connected", "transpose_conv", "batch_matmul")


@dataclass
class Adder:
    """Additions of one output at one width; ``excess`` is the most that one of them left its range by,
    ``widest`` the bits that its results took."""

    bits: int
    saturating: bool
    excess: int = 0
    widest: int = 1

    def narrow(self, value: int) -> int:
        low, high = -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1
        if self.saturating:
            self.see(value)
            return min(max(value, low), high)
        return (value - low) % 2**self.bits + low

    def see(self, value: int) -> None:
        """A value that must fit, or something is lost."""
        low, high = -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1
        self.excess = max(self.excess, value - high, low - value)
        self.widest = max(self.widest, signed_bits(value))


def signed_bits(value: int) -> int:
    return next(b for b in range(1, 99) if -(2 ** (b - 1)) <= value < 2 ** (b - 1))


def accumulate(
    inner: Adder, outer: Adder, bias: int, tiles: list[list[int]], chain: tuple[int, int]
) -> int:
    """The accumulator after all products; ``chain``: how many of them are summed within the array, and
    how many at once. Of sums that wrap at one width, only the last one must fit."""
    chain_length, at_once = chain
    total, exact = outer.narrow(bias), bias
    for products in tiles:
        for start in range(0, len(products), chain_length):
            fold, psum = products[start : start + chain_length], 0
            for t in range(0, len(fold), at_once):
                psum = inner.narrow(psum + sum(fold[t : t + at_once]))
            if not inner.saturating and inner.bits < outer.bits:
                inner.see(sum(fold))
            total = outer.narrow(total + psum)
            exact += psum if inner.bits < outer.bits else sum(fold)
    if not outer.saturating:
        outer.see(exact)
    return total


@dataclass
class Seen:
    """What became of all outputs: overflows, the first one's place, the worst; the widths taken."""

    overflows: int = 0
    first: int = -1
    excess: int = 0
    psum_bits: int = 0
    bits: int = 1
    outputs: np.ndarray | None = None

    def add(self, place: int, inner: Adder, outer: Adder, two: bool) -> None:
        excess = max(inner.excess, outer.excess)
        if excess > 0:
            self.overflows += 1
            self.first = place if self.first < 0 else self.first
        self.excess = max(self.excess, excess)
        if two:
            self.psum_bits = max(self.psum_bits, inner.widest)
            self.bits = max(self.bits, outer.widest)
        else:
            self.bits = max(self.bits, inner.widest, outer.widest)


class Oracle:
    """The Matmul of a program, output by output."""

    def __init__(self, program: Program) -> None:
        inner = [c.command if isinstance(c, Host) else c for c in program.commands]
        (self.index,) = (i for i, c in enumerate(inner) if isinstance(c, Matmul))
        command = inner[self.index]
        assert isinstance(command, Matmul)
        self.c, self.nest, self.constants = command, command.nest, program.constants
        array, host = program.device.array, isinstance(program.commands[self.index], Host)
        self.bits = 64 if host else array.accumulator_bits
        self.psum_bits = 64 if host else array.psum_bits or self.bits
        self.saturating = array.overflow == "saturate" and not host
        # Output stationary keeps a sum in its PE; in the others it passes the array's rows.
        in_place = command.dataflow == "output_stationary"
        at_once = 1
        if array.precision_scaling == "fused" and not host:
            widths = program.placements[command.ifmap].spec.bits, command.weight_bits
            own = array.ifmap_bits, array.weight_bits
            taken = [next(p for p in (2, 4, 8, 16) if p >= min(w, 16)) for w in widths]
            parts = [max(1, o // t) for o, t in zip(own, taken, strict=True)]
            at_once = parts[0] * parts[1]
        self.chain = 1 << 30 if in_place else array.rows * at_once, at_once

    def weights(self, values: Mapping[str, np.ndarray], sample: int) -> np.ndarray:
        """(groups, kernel_h, kernel_w, k, n), the constant ones or what the program made."""
        nest = self.nest
        if not self.c.weights_made:
            return self.constants[self.c.weights]
        shape = (nest.groups, nest.kernel_h, nest.kernel_w, nest.k, nest.n)
        return values[self.c.weights][sample].reshape(shape)

    def products(
        self, x: np.ndarray, weights: np.ndarray, position: tuple[int, int], channel: int
    ) -> list[list[int]]:
        """The products of one output, one list per tile of k."""
        nest, c, (oy, ox) = self.nest, self.c, position
        g, n = divmod(channel, nest.n)
        tiles = []
        for k0 in range(0, nest.k, nest.tile_k):
            found = []
            for ky, kx in np.ndindex(nest.kernel_h, nest.kernel_w):
                iy = oy * nest.stride_h + ky * nest.dilation_h - nest.pad_top
                ix = ox * nest.stride_w + kx * nest.dilation_w - nest.pad_left
                for k in range(k0, min(k0 + nest.tile_k, nest.k)):
                    code = c.pad_code
                    if 0 <= iy < nest.in_h and 0 <= ix < nest.in_w:
                        code = int(x[iy, ix, g * nest.k + k])
                    weight = int(weights[g, ky, kx, k, n]) - c.weight_offset
                    found.append((code - c.ifmap_offset) * weight)
            tiles.append(found)
        return tiles

    def run(self, values: Mapping[str, np.ndarray], wide: bool = False) -> Seen:
        """All outputs, from all tensors of a run; ``wide``: of accumulators without limits."""
        nest, c = self.nest, self.c
        x = values[c.ifmap]
        images = x.reshape(x.shape[0], nest.batch, nest.in_h, nest.in_w, nest.groups * nest.k)
        shape = (*images.shape[:2], nest.out_h, nest.out_w, nest.groups * nest.n)
        out, seen = np.zeros(shape, np.int64), Seen()
        two = self.psum_bits < self.bits
        for place, (sample, b, oy, ox, channel) in enumerate(np.ndindex(*out.shape)):
            weights = self.weights(values, sample)
            tiles = self.products(images[sample, b], weights, (oy, ox), channel)
            inner = Adder(80 if wide else self.psum_bits, self.saturating)
            outer = Adder((81 if two else 80) if wide else self.bits, self.saturating)
            bias = int(self.constants[c.bias][channel])
            total = accumulate(inner, outer, bias, tiles, self.chain)
            seen.add(place, inner, outer, two)
            if not wide:
                out[sample, b, oy, ox, channel] = self.code(total, channel)
        seen.outputs = out
        return seen

    def code(self, total: int, channel: int) -> int:
        stage = self.c.requantize
        multiplier = int(self.constants[stage.multiplier][channel])
        shift = int(self.constants[stage.shift][channel])
        in_tail = channel >= self.nest.groups * self.nest.n - stage.tail_channels
        kind = KINDS[stage.tail_kind if in_tail else stage.kind]
        code = requantize(kind, total, multiplier, shift) + stage.zero_point
        return min(max(int(code), stage.clamp_min), stage.clamp_max)


def check(program: Program, inputs: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """(outputs, overflows), the datapath's being the oracle's."""
    oracle = Oracle(program)
    got = Machine(program).run(inputs, keep=program.placements, widths=True)
    expected = oracle.run({**inputs, **got.tensors})
    wide = oracle.run({**inputs, **got.tensors}, wide=True)
    made = got.tensors[oracle.c.ofmap]
    assert expected.outputs is not None
    np.testing.assert_array_equal(made.reshape(expected.outputs.shape), expected.outputs)
    counts = got.counts[oracle.index]
    assert counts.overflows == expected.overflows
    assert (counts.first_overflow, counts.worst_excess) == (expected.first, expected.excess)
    assert (counts.psum_bits, counts.accumulator_bits) == (wide.psum_bits, wide.bits)
    return expected.outputs.size, expected.overflows


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("levels", [1, 2])
def test_values_and_overflows(name: str, dataflow: str, overflow: str, levels: int) -> None:
    outputs = overflows = tiled = 0
    for seed in range(12):
        rng = np.random.default_rng([seed, PRODUCTS.index(name), levels])
        layer = LAYERS[name](rng)
        graph = read_tflite(layer.content, f"seed {seed}")
        wide = 8 if graph.spec("x").dtype == "i16" else 0
        bits = int(rng.integers(8 + wide, 25 + wide))
        program = compile_tightly(
            rng, graph, dataflow=dataflow, overflow=overflow, ifmap_bits=16, weight_bits=16,
            accumulator_bits=bits + (levels - 1) * int(rng.integers(1, 9)),
            psum_bits=bits if levels == 2 else None,
            precision_scaling=str(rng.choice(["none", "none", "fused"])),
        )  # fmt: skip
        counts = check(program, layer.inputs)
        outputs, overflows = outputs + counts[0], overflows + counts[1]
        nest = Oracle(program).nest
        tiled += nest.tile_k < nest.k
    assert outputs > 500
    assert outputs // 10 < overflows < outputs
    # A depthwise product has nothing to tile: k is 1; few of these are tiled, as their parts of k lie apart
    # in DRAM, or where sums stay in place.
    rarely = name == "transpose_conv" or (dataflow, name) == ("output_stationary", "batch_matmul")
    assert tiled > 0 or rarely or name == "depthwise_conv_2d"


def test_saturation_depends_on_the_order() -> None:
    """Otherwise the order would not be worth modelling, nor the test above worth much."""
    different = 0
    layers = (LAYERS["conv_2d"](np.random.default_rng(seed)) for seed in range(12))
    for layer in (layer for layer in layers if layer.inputs["x"].dtype == np.int8):
        graph, outputs = read_tflite(layer.content, "order"), set()
        for dataflow in DATAFLOWS:
            for rows in (1, 2, 32):
                device = small_device(
                    rows=rows, dataflow=dataflow, overflow="saturate", accumulator_bits=14
                )
                program = compile_graph(graph, device)
                check(program, layer.inputs)
                outputs.add(Machine(program).run(layer.inputs).outputs["y"].tobytes())
        different += len(outputs) > 1
    assert different > 0


@pytest.mark.golden
@pytest.mark.parametrize(
    ("dataflow", "rows", "expected"),
    [
        # Products 16129, 16129, -16129, -16129 in 15 bits (16383 at most), bias 0.
        ("output_stationary", 1, -15875),  # one chain: 16129, 16383, 254, -15875
        ("weight_stationary", 4, -15875),  # the same chain down four rows
        ("weight_stationary", 2, -1),  # chains 16383 and -16384
        ("input_stationary", 1, -15875),  # four chains of one, added to the memory in turn
    ],
)
def test_saturation_by_hand(dataflow: str, rows: int, expected: int) -> None:
    tensors = [
        Tensor("x", (1, 4), "i8", 1.0),
        Tensor("w", (1, 4), "i8", 1.0, data=np.array([[127, 127, -127, -127]], np.int8)),
        Tensor("b", (1,), "i32", 1.0, data=np.zeros(1, np.int32)),
        Tensor("y", (1, 1), "i8", 128.0),
    ]
    content = build_model(tensors, [Op("FULLY_CONNECTED", ["x", "w", "b"], "y")], ["x"], ["y"])
    device = small_device(rows=rows, dataflow=dataflow, overflow="saturate", accumulator_bits=15)
    program = compile_graph(read_tflite(content, "hand"), device)
    got = Machine(program).run({"x": np.full((1, 1, 4), 127, np.int8)})
    assert got.outputs["y"].item() == -((-expected + 64) // 128)
    assert got.counts[0].overflows == 1


@pytest.mark.parametrize("bits", range(14, 20))
def test_widths_around_the_largest_sum(bits: int) -> None:
    """Sums up to 4 * 127 * 128 = 65024 need 17 bits; at 16 and fewer the order must be played."""
    tensors = [
        Tensor("x", (1, 4), "i8", 1.0),
        Tensor("w", (2, 4), "i8", 1.0, data=np.array([[127] * 4, [127, -127] * 2], np.int8)),
        Tensor("y", (1, 2), "i8", 1024.0),
    ]
    content = build_model(tensors, [Op("FULLY_CONNECTED", ["x", "w"], "y")], ["x"], ["y"])
    device = small_device(accumulator_bits=bits, overflow="saturate")
    program = compile_graph(read_tflite(content, "widths"), device)
    x = np.array(list(np.ndindex(2, 2, 2, 2)), np.int8).reshape(-1, 1, 4)
    _, overflows = check(program, {"x": np.where(x > 0, np.int8(127), np.int8(-128))})
    assert (overflows > 0) == (bits < 17)


def sixteen_bit(program: Program, rng: np.random.Generator) -> tuple[Program, np.ndarray]:
    """The program with 16-bit weights and inputs of extreme values, as no importer makes it yet."""
    (command,) = program.commands
    assert isinstance(command, Matmul)
    shape = program.constants[command.weights].shape
    weights = rng.choice([-(2**15), 2**15 - 1], shape, p=[0.2, 0.8]).astype(np.int16)
    place = program.placements["x"]
    spec = TensorSpec(place.spec.shape, "i16")
    x = rng.choice([-(2**15), 2**15 - 1], (4, *spec.shape), p=[0.2, 0.8]).astype(np.int16)
    shift = program.constants[command.requantize.shift] - 30  # bring 2**34 back to codes
    wider = replace(
        program,
        # Twice as many bytes as the compiler left room for: put where nothing else lies.
        placements={
            "x": replace(place, spec=spec, address_bytes=1024),
            "y": program.placements["y"],
        },
        constants={
            **program.constants, command.weights: weights, command.requantize.shift: shift
        },
        commands=(replace(command, weight_bits=16, ifmap_offset=0, pad_code=0),),
    )  # fmt: skip
    return wider, x


@pytest.mark.parametrize(
    ("bits", "overflow"),
    [(48, "wrap"), (64, "saturate"), (32, "wrap"), (36, "saturate"), (33, "saturate")],
)
def test_sums_beyond_int32(bits: int, overflow: str) -> None:
    rng = np.random.default_rng(5)
    tensors = [
        Tensor("x", (1, 20), "i8", 0.5),
        Tensor("w", (6, 20), "i8", 0.5, data=np.ones((6, 20), np.int8)),
        Tensor("y", (1, 6), "i8", 1.0),
    ]
    content = build_model(tensors, [Op("FULLY_CONNECTED", ["x", "w"], "y")], ["x"], ["y"])
    device = small_device(accumulator_bits=bits, overflow=overflow, ifmap_bits=16, weight_bits=16)
    program = compile_graph(read_tflite(content, "wide"), device)
    program, x = sixteen_bit(program, rng)
    outputs, overflows = check(program, {"x": x})
    assert overflows == 0 if bits >= 36 else 0 < overflows <= outputs
