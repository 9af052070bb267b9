"""Small layers on small devices, and every choice of tiles for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
from tflite_builder import Op, Tensor, build_model
from variants import TIMING_VARIANTS, unified, variant

from simulator.graph import Graph
from simulator.hwconfig import Device
from simulator.importers.tflite import read_tflite
from simulator.program.commands import Matmul
from simulator.program.nest import Nest, retiled, tile_count
from simulator.program.program import Program
from simulator.program.traffic import footprint, program_numbers

_MOST_TILES = 3000


def layer(kind: str, in_shape: tuple[int, ...], w_shape: tuple[int, ...], **options: int) -> Graph:
    """One product, stride 1, padding SAME."""
    rng = np.random.default_rng(0)
    channels = w_shape[3] if kind == "DEPTHWISE_CONV_2D" else w_shape[0]
    tensors = [
        Tensor("x", in_shape, "i8", np.float32(0.1), 0),
        Tensor("w", w_shape, "i8", np.float32(0.1), 0, rng.integers(-128, 128, w_shape, np.int8)),
        Tensor("b", (channels,), "i32", np.float32(0.01), 0, np.zeros(channels, np.int32)),
        Tensor("y", (*in_shape[:-1], channels), "i8", np.float32(0.1), 0),
    ]
    op = Op(kind, ["x", "w", "b"], "y", options)
    return read_tflite(build_model(tensors, [op], ["x"], ["y"]), kind.lower())


WINDOW = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
LAYERS = {
    "conv": layer("CONV_2D", (1, 12, 12, 16), (24, 3, 3, 16), **WINDOW),
    "pointwise": layer("CONV_2D", (1, 12, 12, 32), (48, 1, 1, 32), **WINDOW),
    "depthwise": layer(
        "DEPTHWISE_CONV_2D", (1, 12, 12, 24), (1, 3, 3, 24), DepthMultiplier=1, **WINDOW
    ),
    "dense": layer("FULLY_CONNECTED", (1, 200), (120, 200)),
}
DEVICES: dict[str, Device] = {
    "wear": variant("wear", {}),
    "ethos": variant("ethos-u55-256", {"scratchpad.capacity_bytes": 8192}),
    "gap9": variant("gap9", {"scratchpad.resident_weights": False}),
    "fsd": variant("fsd", {}),
    "output-stationary": variant("ethos-u55-256", {
        **TIMING_VARIANTS["output-stationary"], "scratchpad": unified(4096),
    }),
    "input-stationary": variant("ethos-u55-256", {
        **TIMING_VARIANTS["input-stationary"], "scratchpad": unified(6144, buffers=3),
    }),
    "serial": variant("wear", {**TIMING_VARIANTS["serial"], "scratchpad": unified(6144)}),
    "single": variant("wear", {"scratchpad": unified(6144, buffers=1), "accumulator.buffers": 1}),
}  # fmt: skip


def pieces(size: int) -> list[int]:
    """Tile sizes that cut ``size`` into 1, 2, 3 … parts, all different."""
    return sorted({-(-size // parts) for parts in range(1, size + 1)})


def choices(program: Program) -> Iterator[Nest]:
    """Other tiles of the only command that fit where its own do."""
    (command,) = program.commands
    assert isinstance(command, Matmul)
    nest, device = command.nest, program.device
    ((_, numbers),) = program_numbers(program, 1000)
    words = device.accumulator.capacity_bytes * 8 // device.array.accumulator_bits
    room = dict(program.capacities)
    # Rows or, of a single row, columns: the compiler does not cut both.
    pixels = [(h, nest.out_w) for h in pieces(nest.out_h)] + [(1, w) for w in pieces(nest.out_w)]
    for (h, w), g, n, k, order in product(
        pixels, pieces(nest.groups), pieces(nest.n), pieces(nest.k), range(2)
    ):
        other = retiled(nest, h, w, g, n, k, order)
        need = footprint(other, numbers, device.scratchpad.buffers)
        if h * w * g * n * device.accumulator.buffers > words or tile_count(other) > _MOST_TILES:
            continue
        if "unified" in room:
            fits = sum(need) + 64 <= room["unified"]
        else:
            fits = (
                need.ifmap + 64 <= room["ifmap"] and need.weights <= room["weights"]
                and need.ofmap + 64 <= room["ofmap"]
            )  # fmt: skip
        if fits:
            yield other


def with_nest(program: Program, nest: Nest) -> Program:
    (command,) = program.commands
    return replace(program, commands=(replace(command, nest=nest),))
