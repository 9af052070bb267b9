"""One layer of a model through the array in SystemVerilog, tile by tile, as its program says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.crosscheck.inputs import data_inputs, random_inputs
from simulator.crosscheck.rtl import Core, OutputStage, Rtl, address_bits_for, folds_of, version
from simulator.crosscheck.sides import Simulated
from simulator.dataflows import INPUT_STATIONARY, PIPELINED, Gemm, Grid, grid_of, work
from simulator.datapath.counts import width_of
from simulator.datapath.machine import output_stage
from simulator.datapath.matmul import any_rounding
from simulator.errors import CrosscheckError, UsageError
from simulator.graph import Graph
from simulator.hwconfig import DATAFLOWS, OVERLAPS, Device
from simulator.npu import compile, load_model
from simulator.program.commands import Host, Matmul
from simulator.program.nest import Nest, Tile, tile_at, tile_count
from simulator.program.program import Program
from simulator.result import HardwareCheck, HardwareDifference
from simulator.workload import Dataset

_DOUBLE_ROUNDING = "double_rounding"
_PORT_BYTES = 1 << 30  # the RTL's memories give whole rows


@dataclass(frozen=True)
class _Layer:
    """A product of a program with the values it meets: codes of one sample, as what enters the PEs."""

    program: Program
    command: Matmul
    ifmap: np.ndarray  # (batch, in_h, in_w, channels)
    weights: np.ndarray  # (groups, kernel_h, kernel_w, k, n)
    ofmap: np.ndarray  # (batch, out_h, out_w, channels), codes

    @property
    def pad(self) -> int:
        return self.command.pad_code - self.command.ifmap_offset


def verify_layer(
    model: str | Path,
    device: Device,
    layer: str,
    *,
    profile: str | None = None,
    data: Dataset | None = None,
    inputs: str = "auto",
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> HardwareCheck:
    """Values and cycles of ``layer`` of ``model`` on ``device``: ours, and those of the RTL.

    ``layer`` is a command's number in ``npusim compile``, its name, or the name of the tensor it makes.
    Runs one random sample drawn with ``seed``, or the first of ``data``; every tile goes through the RTL by
    itself. ``progress`` is called with tiles done and all tiles.
    """
    graph = load_model(model, profile)
    program = compile(graph, device)
    command = _command(program, layer)
    if device.array.overlap == "ideal":
        allowed = "an overlap of serial or pipelined"
        raise CrosscheckError("rtl", f"{device.name} loads without taking time", allowed)
    if device.array.precision_scaling != "none":
        problem = f"{device.name} has {device.array.precision_scaling} PEs"
        raise CrosscheckError("rtl", problem, "precision_scaling none")
    met = _values(graph, program, command, data, inputs, seed)
    return _Check(met, progress or (lambda done, total: None)).run(graph.name)


def _command(program: Program, layer: str) -> Matmul:
    for number, command in enumerate(program.commands):
        if layer in (str(number), command.name, command.ofmap):
            if not isinstance(command, Matmul):
                where = "the host" if isinstance(command, Host) else "the vector unit or the DMA"
                raise UsageError("--layer", f"{layer!r} runs on {where}", "a product on the array")
            return command
    products = [c.name for c in program.commands if isinstance(c, Matmul)]
    raise UsageError("--layer", repr(layer), ", ".join(products))


def _values(
    graph: Graph, program: Program, command: Matmul, data: Dataset | None, inputs: str, seed: int
) -> _Layer:
    feed = (
        random_inputs(graph, 1, seed)
        if data is None
        else data_inputs(graph, program, data, inputs, 1)
    )
    there = Simulated(program).values(feed, [*command.inputs, command.ofmap])
    nest = command.nest
    shape = (nest.groups, nest.kernel_h, nest.kernel_w, nest.k, nest.n)
    made = (
        there[command.inputs[1]][0] if command.weights_made else program.constants[command.weights]
    )
    ifmap = there[command.ifmap][0].astype(np.int64) - command.ifmap_offset
    weights = made.reshape(shape).astype(np.int64) - command.weight_offset
    pixels = nest.batch, nest.in_h, nest.in_w, nest.groups * nest.k
    outputs = nest.batch, nest.out_h, nest.out_w, nest.groups * nest.n
    ofmap = there[command.ofmap][0].reshape(outputs)
    return _Layer(program, command, ifmap.reshape(pixels), weights, ofmap)


def _gemm(layer: _Layer, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """The product of a tile: ifmap (groups, m, k) and weights (groups, k, n), taps before channels."""
    nest = layer.command.nest
    rows = np.arange(tile.h0, tile.h1) * nest.stride_h - nest.pad_top
    cols = np.arange(tile.w0, tile.w1) * nest.stride_w - nest.pad_left
    iy = rows[:, None] + np.arange(nest.kernel_h) * nest.dilation_h  # (rows, kernel_h)
    ix = cols[:, None] + np.arange(nest.kernel_w) * nest.dilation_w
    rows_inside, cols_inside = (iy >= 0) & (iy < nest.in_h), (ix >= 0) & (ix < nest.in_w)
    inside = rows_inside[:, None, :, None] & cols_inside[None, :, None, :]
    image = layer.ifmap[tile.batch]
    taken = image[
        iy.clip(0, nest.in_h - 1)[:, None, :, None], ix.clip(0, nest.in_w - 1)[None, :, None, :]
    ]  # (rows, cols, kernel_h, kernel_w, channels)
    taken = np.where(inside[..., None], taken, layer.pad)
    channels = taken.reshape(*taken.shape[:4], nest.groups, nest.k)
    own = channels[..., tile.g0 : tile.g1, tile.k0 : tile.k1].transpose(4, 0, 1, 2, 3, 5)
    weights = layer.weights[tile.g0 : tile.g1, :, :, tile.k0 : tile.k1, tile.n0 : tile.n1]
    groups, m = own.shape[0], own.shape[1] * own.shape[2]
    return own.reshape(groups, m, -1), weights.reshape(groups, -1, weights.shape[-1])


class _Check:
    """One layer's run; lives for one call of :meth:`run`."""

    def __init__(self, layer: _Layer, progress: Callable[[int, int], object]) -> None:
        command, program = layer.command, layer.program
        self.layer, self.progress = layer, progress
        self.nest: Nest = command.nest
        self.dataflow = DATAFLOWS.index(command.dataflow)  # type: ignore[arg-type]
        device = program.device
        self.overlap = OVERLAPS.index(device.array.overlap)  # type: ignore[arg-type]
        spec = program.placements[command.ifmap].spec
        grid = grid_of(device, spec.bits, command.weight_bits, command.sparse, command.group)
        self.grid: Grid = grid._replace(port_bytes=_PORT_BYTES)
        stage = command.requantize
        self.multiplier = program.constants[stage.multiplier]
        self.shift = program.constants[stage.shift]
        self.staged = stage.kind == _DOUBLE_ROUNDING and stage.tail_channels == 0
        self.sums = np.zeros(layer.ofmap.shape, np.int64)
        self.sums[:] = program.constants[command.bias]
        self.codes = np.zeros_like(self.sums)

    def run(self, model: str) -> HardwareCheck:
        tiles = [tile_at(self.nest, i) for i in range(tile_count(self.nest))]
        device = self.layer.program.device
        ours = theirs = apart = folds = 0
        with Rtl(self._core(tiles)) as rtl:
            for index, tile in enumerate(tiles):
                law, seen, count = self._tile(rtl, tile)
                ours, theirs, folds = ours + sum(law), theirs + sum(seen), folds + count
                apart += law != seen
                self.progress(index + 1, len(tiles))
        if not self.staged:
            self._our_stage()
        different = np.argwhere(self.codes != self.layer.ofmap)
        first = None
        if len(different):
            at = tuple(int(i) for i in different[0])
            first = HardwareDifference(at, int(self.layer.ofmap[at]), int(self.codes[at]))
        return HardwareCheck(
            model=model, device=device.name, layer=self.layer.command.name,
            operator=self.layer.command.operator, rtl_version=version(), rows=device.array.rows,
            cols=device.array.cols, dataflow=self.layer.command.dataflow,
            overlap=device.array.overlap, staged_by_rtl=self.staged, tiles=len(tiles),
            folds=folds, outputs=self.codes.size, different=len(different),
            first_difference=first, law_cycles=ours, rtl_cycles=theirs, tiles_apart=apart,
        )  # fmt: skip

    def _core(self, tiles: list[Tile]) -> Core:
        array, layer = self.layer.program.device.array, self.layer
        entering = [int(layer.ifmap.min()), int(layer.ifmap.max()), layer.pad, 0]
        bits = (
            width_of(min(entering), max(entering)),
            width_of(int(layer.weights.min()), int(layer.weights.max())),
        )
        left, top = reversed(bits) if self.dataflow == INPUT_STATIONARY else bits
        # Tiles at the edges are smaller: the first one is as large as any.
        largest = self._folds(tiles[0])
        return Core(
            array.rows, array.cols, left, top, array.sum_bits, array.accumulator_bits,
            array.overflow == "saturate", address_bits_for(largest),
        )  # fmt: skip

    def _folds(self, tile: Tile) -> list:
        return folds_of(self.dataflow, *_gemm(self.layer, tile), self.grid.rows, self.grid.cols)

    def _tile(self, rtl: Rtl, tile: Tile) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """The law's and the RTL's (load, body, last, skew), and the folds."""
        nest, stage = self.nest, self.layer.command.requantize
        groups, n = tile.g1 - tile.g0, tile.n1 - tile.n0

        def own(values: np.ndarray) -> np.ndarray:
            """This tile's (rows, cols, groups, n) of (batch, out_h, out_w, channels)."""
            area = values[tile.batch, tile.h0 : tile.h1, tile.w0 : tile.w1]
            split = area.reshape(*area.shape[:2], nest.groups, nest.n)
            return split[:, :, tile.g0 : tile.g1, tile.n0 : tile.n1]

        def of_channels(values: np.ndarray) -> np.ndarray:
            if not self.staged:
                return np.zeros((groups, n), np.int64)
            return values.reshape(nest.groups, nest.n)[tile.g0 : tile.g1, tile.n0 : tile.n1]

        start = own(self.sums)
        flat = start.transpose(2, 0, 1, 3).reshape(groups, -1, n)
        folds = self._folds(tile)
        played = rtl.play(
            self.dataflow, self.overlap == PIPELINED, folds, flat,
            OutputStage(of_channels(self.multiplier), of_channels(self.shift), stage.zero_point,
                        stage.clamp_min, stage.clamp_max),
        )  # fmt: skip
        shape = (groups, *start.shape[:2], n)
        start[:] = played.sums.reshape(shape).transpose(1, 2, 0, 3)
        if tile.last_k:
            own(self.codes)[:] = played.codes.reshape(shape).transpose(1, 2, 0, 3)
        k = nest.kernel_h * nest.kernel_w * (tile.k1 - tile.k0)
        law = work(self.dataflow, self.overlap, Gemm(flat.shape[1], k, n, groups), self.grid)
        expected = (int(law.load), int(law.body), int(law.last), int(law.skew))
        return expected, (played.load, played.body, played.last_fold, played.skew), len(folds)

    def _our_stage(self) -> None:
        """The RTL has one output stage; of other kinds, ours on the RTL's sums."""
        last = self.nest.groups * self.nest.n
        any_rounding(
            self.sums.reshape(-1, last), *output_stage(self.layer.program, self.layer.command),
            self.codes.reshape(-1, last),
        )  # fmt: skip
