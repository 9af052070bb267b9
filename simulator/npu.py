"""The façade: model + device + inputs -> Result. It connects the rooms and adds no arithmetic of its own
beyond dividing totals by each other."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from simulator.compiler import compile_graph
from simulator.datapath.inputs import choose_rule, to_codes
from simulator.datapath.machine import Machine, accumulator_bound
from simulator.energy.counts import Counts, count_program
from simulator.energy.model import COMPONENTS, EnergyModel
from simulator.errors import DataError, UsageError
from simulator.graph import Graph
from simulator.hwconfig import Device, OperatingPoint, device_from_dict
from simulator.importers import load_graph
from simulator.importers._check import check_graph
from simulator.profiles import profile_named
from simulator.program.commands import Command, Host, Matmul, Move
from simulator.program.nest import ORDERS
from simulator.program.program import Program
from simulator.result import Accuracy, Layer, Result, Totals
from simulator.timing.pipeline import time_program
from simulator.timing.result import CommandTiming, Timing
from simulator.workload import Dataset, model_path

Progress = Callable[[int], object]
_DEFAULT_BATCH = 64
_BATCH_BYTES = 1 << 28  # of the machine's memories, for all samples run at once


def load_model(name_or_path: str | Path, profile: str | None = None) -> Graph:
    """A model file, or a model of the catalogue by name, as a canonical, checked graph.

    ``profile`` names the arithmetic to compute it in (``profiles.PROFILES``); by default it is the one
    that the file's format stands for.
    """
    if profile is not None:
        profile_named(profile)  # an error now rather than after reading a large file
    return in_profile(load_graph(model_path(name_or_path)), profile)


def in_profile(graph: Graph, profile: str | None) -> Graph:
    """``graph`` computed in ``profile``, checked again; None leaves it as it is."""
    if profile is None:
        return graph
    return check_graph(replace(graph, profile=profile_named(profile).name))


def exact_device() -> Device:
    """A device that adds nothing of its own to a profile: sums never overflow, all operators run on it.

    What it computes is what the profile says, whatever the device under study keeps of it.
    """
    return device_from_dict({
        "schema_version": 1, "name": "exact", "title": "no limits", "device_class": "reference",
        "array": {
            "rows": 16, "cols": 16, "ifmap_bits": 16, "weight_bits": 16, "accumulator_bits": 64,
        },
        "scratchpad": {
            "layout": "unified", "capacity_bytes": 1 << 34, "read_bytes_per_cycle": 1024,
        },
        "accumulator": {"capacity_bytes": 1 << 34},
        "vector": {"lanes": 16},
        "dma": {"bytes_per_cycle": 1024},
        "dram": {"kind": "lpddr4", "bandwidth_mb_per_s": 10_000},
        "host": {"operations_per_s": 1e9, "call_latency_s": 1e-6, "operation_pj": 10},
        "operating_points": [{"name": "nominal", "voltage_v": 0.8, "clock_mhz": 100.0}],
        "energy": {"node_nm": 28, "wire_mm": 1.0},
        "power": {"leakage_mw": 1, "idle_mw": 1},
    }, "exact device")  # fmt: skip


def compile(model: Graph, device: Device, operating_point: str | None = None) -> Program:
    """The program of ``model`` on ``device``."""
    return compile_graph(model, device, device.operating_point(operating_point))


def versions() -> dict[str, str]:
    """Versions a result depends on."""
    found = {"python": platform.python_version()}
    for package in ("npusim", "numpy", "numba"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def simulate(
    model: Graph,
    device: Device,
    data: Dataset | None = None,
    *,
    operating_point: str | None = None,
    inputs: str = "auto",
    carry_state: bool = False,
    batch: int = _DEFAULT_BATCH,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """One inference in cycles and picojoules; with ``data``, the values and the accuracy as well.

    ``inputs`` names the rule that brings samples to input codes (``datapath.inputs.RULES``);
    ``progress`` is called with the number of samples just done. What a model remembers starts anew with
    each sample; with ``carry_state`` samples follow each other, as the frames of a stream do. Numbers
    depend neither on ``batch`` nor on ``threads`` (by default as many as there are processors).
    """
    for name, value in (("batch", batch), ("threads", threads)):
        if value is not None and value < 1:
            raise UsageError(name, str(value), "at least 1")
    point = device.operating_point(operating_point)
    # First, since a device whose energy table or voltage will not do should not run for an hour.
    energy = EnergyModel(device, point)
    program = compile_graph(model, device, point)
    timing = time_program(program, point)
    counts = count_program(program, point)
    enough = [_enough_bits(command, program) for command in program.commands]
    # 0 for each command whose weights rule an overflow out.
    narrow = device.array.accumulator_bits
    accuracy, overflows = None, [None if bits > narrow else 0 for bits in enough]
    if data is not None:
        stream = _Stream(data, inputs, carry_state, batch, threads or _processors())
        accuracy, overflows = _evaluate(program, stream, progress)
    return _result(model, energy, point, program, timing, counts, accuracy, overflows, enough)


def _enough_bits(command: Command, program: Program) -> int:
    """The narrowest accumulator for a product on the array, by its weights and bias; else 0."""
    if not isinstance(command, Matmul):
        return 0
    return accumulator_bound(command, program).bit_length() + 1


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class _Stream:
    """Samples, how they become codes, and how they follow each other."""

    data: Dataset
    inputs: str
    carry_state: bool
    batch: int
    threads: int

    def batches(self, most: int) -> Iterator[np.ndarray]:
        size = min(self.batch, most)
        for start in range(0, self.data.x.shape[0], size):
            yield self.data.x[start : start + size]


def _evaluate(
    program: Program, stream: _Stream, progress: Progress | None
) -> tuple[Accuracy, list[int | None]]:
    data, inputs = stream.data, stream.inputs
    if len(program.inputs) != 1:
        raise DataError(data.name, f"the model has {len(program.inputs)} inputs", "one")
    place = program.placements[program.inputs[0]]
    output = program.outputs[0]
    classes = program.placements[output].spec.elements
    if data.y.min() < 0 or data.y.max() >= classes:
        raise DataError(
            data.name, f"labels {data.y.min()}..{data.y.max()}",
            f"0..{classes - 1}, one per element of output {output!r}",
        )  # fmt: skip
    machine = Machine(program)
    overflows = [0] * len(program.commands)
    predictions, states = [], None
    for x in stream.batches(machine.samples_within(_BATCH_BYTES)):
        codes = {program.inputs[0]: to_codes(x, place, inputs, data.name)}
        values = machine.run(codes, states=states, carry=stream.carry_state, threads=stream.threads)
        states = values.states if stream.carry_state else None
        predictions.append(values.outputs[output].reshape(x.shape[0], -1).argmax(axis=1))
        overflows = [a + c.overflows for a, c in zip(overflows, values.counts, strict=True)]
        if progress is not None:
            progress(x.shape[0])
    predicted = np.concatenate(predictions)
    correct = int((predicted == data.y).sum())
    rule = choose_rule(data.x, place, inputs, data.name)
    samples = data.x.shape[0]
    accuracy = Accuracy(data.name, rule, samples, correct, correct / samples, predicted)
    return accuracy, list(overflows)


def _tile_text(command: Command) -> str:
    inner = command.command if isinstance(command, Host) else command
    if isinstance(inner, Move) or isinstance(command, Host):
        return "-"
    n = inner.nest
    return f"h{n.tile_h} w{n.tile_w} g{n.tile_g} n{n.tile_n} k{n.tile_k} {ORDERS[n.order]}"


def _layer(
    program: Program,
    point: OperatingPoint,
    index: int,
    timing: CommandTiming,
    counts: Counts,
    energy: dict[str, float],
    overflows: int | None,
    enough: int,
) -> Layer:
    command = program.commands[index]
    array = program.device.array
    latency_s = timing.cycles / (point.clock_mhz * 1e6)
    energy_pj = sum(energy.values())
    return Layer(
        name=command.name,
        operator=command.operator,
        tile=_tile_text(command),
        cycles=timing.cycles,
        latency_s=latency_s,
        cycles_by_cause=timing.by_cause,
        macs=counts.macs,
        utilization=counts.macs / (timing.cycles * array.rows * array.cols),
        energy_pj=energy_pj,
        energy_by_component_pj=energy,
        average_power_w=energy_pj * 1e-12 / latency_s,
        tops=2e-12 * counts.macs / latency_s,
        dram_bytes=counts.dram_read_bytes + counts.dram_write_bytes,
        scratchpad_bytes=(counts.scratchpad_read_bits + counts.scratchpad_write_bits) // 8,
        scratchpad_peak_bytes=program.scratchpad_bytes_at(index),
        overflows=overflows,
        accumulator_bits=enough,
        note=command.reason if isinstance(command, Host) else "",
    )


def _result(
    model: Graph, energy: EnergyModel, point: OperatingPoint, program: Program, timing: Timing,
    counts: list[Counts], accuracy: Accuracy | None, overflows: list[int | None],
    enough: list[int],
) -> Result:  # fmt: skip
    device = program.device
    layers = tuple(
        _layer(program, point, i, t, c, energy.command_pj(c, t.cycles), o, e)
        for i, (t, c, o, e) in enumerate(
            zip(timing.commands, counts, overflows, enough, strict=True)
        )
    )
    by_component = {k: sum(x.energy_by_component_pj[k] for x in layers) for k in COMPONENTS}
    known = [o for o in overflows if o is not None]
    totals = _totals(
        device, point, program, timing.cycles, layers, sum(by_component.values()),
        sum(known) if len(known) == len(overflows) else None,
    )  # fmt: skip
    return Result(
        model, device, point, program, timing, totals, timing.by_cause(), by_component, layers,
        accuracy,
    )  # fmt: skip


def _totals(
    device: Device, point: OperatingPoint, program: Program, cycles: int, layers: tuple[Layer, ...],
    energy_pj: float, overflows: int | None,
) -> Totals:  # fmt: skip
    latency_s = cycles / (point.clock_mhz * 1e6)
    macs = sum(layer.macs for layer in layers)
    power_w = energy_pj * 1e-12 / latency_s
    tops = 2e-12 * macs / latency_s
    return Totals(
        cycles=cycles,
        latency_s=latency_s,
        inferences_per_s=1 / latency_s,
        macs=macs,
        utilization=macs / (cycles * device.array.rows * device.array.cols * device.cores),
        energy_pj=energy_pj,
        average_power_w=power_w,
        peak_tops=device.peak_tops(point),
        tops=tops,
        tops_per_watt=tops / power_w,
        inferences_per_joule=1 / (energy_pj * 1e-12),
        dram_bytes=sum(layer.dram_bytes for layer in layers),
        scratchpad_bytes=sum(layer.scratchpad_bytes for layer in layers),
        scratchpad_peak_bytes=program.scratchpad_peak_bytes,
        resident_weight_bytes=program.resident_weight_bytes,
        overflows=overflows,
    )
