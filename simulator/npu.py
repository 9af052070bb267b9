"""The façade: model + device + inputs -> Result. It connects the rooms and adds no arithmetic of its own
beyond dividing totals by each other."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from simulator.compiler import LATENCY, Goal, compile_graph
from simulator.dataflows import grid_of
from simulator.datapath.machine import CommandCounts, accumulator_bound
from simulator.energy.area import area_mm2
from simulator.energy.counts import Counts, count_program, with_activity
from simulator.energy.model import COMPONENTS, EnergyModel
from simulator.energy.prices import prices_of
from simulator.energy.uncertainty import Spread, effects, spread, total_work
from simulator.errors import UsageError
from simulator.evaluation import Evaluation, Progress, Stream, evaluate, operand_activity
from simulator.graph import Graph
from simulator.graph.batch import with_batch
from simulator.hwconfig import Device, OperatingPoint, device_from_dict
from simulator.importers import load_graph
from simulator.importers._check import check_graph
from simulator.networks import PREFIX, network
from simulator.ops._pruning import with_pruned
from simulator.ops._weight_bits import with_weight_bits
from simulator.profiles import profile_named
from simulator.program.activity import Activity
from simulator.program.commands import Command, Host, Matmul, Move
from simulator.program.nest import ORDERS
from simulator.program.program import Program
from simulator.result import Layer, Place, Result, Totals
from simulator.timing.cores import loading_cycles, steady_period, time_device
from simulator.timing.result import CommandTiming, Timing
from simulator.workload import Dataset, model_path

_DEFAULT_BATCH = 64


def load_model(
    name_or_path: str | Path, profile: str | None = None, weight_bits: int | None = None,
    prune: str | None = None,
) -> Graph:  # fmt: skip
    """A model file, a model of the catalogue by name, or ``shape:`` and a name of ``networks.NETWORKS``, as
    a canonical, checked graph.

    ``profile`` names the arithmetic to compute it in (``profiles.PROFILES``); by default it is the one
    that the file's format stands for. ``weight_bits``, 2 to 8: requantize its weights to so many bits
    (see ``ops._weight_bits``). ``prune``, N:M: keep the N largest of every M neighbouring weights (see
    ``ops._pruning``).
    """
    if profile is not None:
        profile_named(profile)  # an error now rather than after reading a large file
    if str(name_or_path).startswith(PREFIX):
        graph = in_profile(network(str(name_or_path)), profile)
    else:
        graph = in_profile(load_graph(model_path(name_or_path)), profile)
    graph = graph if prune is None else with_pruned(graph, prune)
    return graph if weight_bits is None else with_weight_bits(graph, weight_bits)


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
    }, "exact device")  # fmt: skip


OBJECTIVES = ("latency", "energy", "edp")


def compile(
    model: Graph, device: Device, operating_point: str | None = None, objective: str = "latency"
) -> Program:
    """The program of ``model`` on ``device``, mapped for one of ``OBJECTIVES`` (edp: the product of each
    layer's energy and delay)."""
    point = device.operating_point(operating_point)
    return compile_graph(model, device, point, goal=_goal(objective, EnergyModel(device, point)))


def _goal(objective: str, energy: EnergyModel) -> Goal:
    """What the compiler needs to know of energy."""
    if objective not in OBJECTIVES:
        raise UsageError("objective", repr(objective), ", ".join(OBJECTIVES))
    if objective == "latency":
        return LATENCY
    a = energy.actions
    read = a.scratchpad_read_per_bit + a.wire_per_bit
    return Goal(
        1, int(objective == "edp"), 8 * (a.dram_per_bit + a.scratchpad_write_per_bit), read,
        (a.accumulator_read_per_bit + a.accumulator_write_per_bit) / 2, a.register_per_bit,
        energy.leakage_pj_per_cycle + energy.idle_pj_per_cycle,
    )  # fmt: skip


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
    label_offset: int = 0,
    widths: bool = False,
    activity_samples: int = 0,
    samples_at_once: int = 1,
    objective: str = "latency",
    fuse: bool = False,
    batch: int = _DEFAULT_BATCH,
    threads: int | None = None,
    resume: str | Path | None = None,
    progress: Progress | None = None,
) -> Result:
    """One inference in cycles and picojoules; with ``data``, the values and the accuracy as well.

    ``inputs`` names the rule that brings samples to input codes (``datapath.inputs.RULES``); the class of
    a sample is its label plus ``label_offset``. ``progress`` is called with the number of samples just
    done. What a model remembers starts anew with each sample; with ``carry_state`` samples follow each
    other, as the frames of a stream do. ``widths``: look at every sum, how wide an accumulator it takes.
    ``activity_samples``: so many samples of ``data`` are looked at for zeros and changing bits among the
    operands of products, and what multipliers take follows them, in place of random values.
    ``objective``: what layers are mapped for, of ``OBJECTIVES``. ``fuse``: run layers depth first where
    what lies between them does not fit on chip and that is better.
    ``samples_at_once``: of one inference, without ``data``, whose values do not depend on it.
    ``resume``: a file that keeps what is done, and that a run goes on from. Numbers depend neither on
    ``batch`` nor on ``threads`` (by default as many as there are processors), nor on interruptions.
    """
    for name, value in (
        ("batch", batch), ("threads", threads), ("samples_at_once", samples_at_once)
    ):  # fmt: skip
        if value is not None and value < 1:
            raise UsageError(name, str(value), "at least 1")
    if activity_samples < 0:
        raise UsageError("activity_samples", str(activity_samples), "at least 0")
    if activity_samples and data is None:
        raise UsageError("activity_samples", f"{activity_samples} without data", "with data")
    if samples_at_once > 1:
        if data is not None:
            raise UsageError("samples_at_once", f"{samples_at_once} with data", "1 with data")
        model = with_batch(model, samples_at_once)
    point = device.operating_point(operating_point)
    # First, since a device whose energy table or voltage will not do should not run for an hour.
    energy = EnergyModel(device, point)
    program = compile_graph(model, device, point, goal=_goal(objective, energy), fuse=fuse)
    timing = time_device(program, point)
    counts = count_program(program, point)
    evaluation, busy = None, (None,) * len(counts)
    if data is not None:
        stream = Stream(
            data, inputs, carry_state, batch, threads or _processors(), label_offset, widths,
            Path(resume) if resume else None,
        )  # fmt: skip
        evaluation = evaluate(program, stream, progress)
        if activity_samples:
            busy = operand_activity(program, stream, activity_samples)
    counts = [
        c if a is None else with_activity(c, a, device.array)
        for c, a in zip(counts, busy, strict=True)
    ]
    return _result(model, energy, point, program, timing, counts, evaluation, samples_at_once, busy)


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


def _sums(command: Command, program: Program, counts: CommandCounts | None) -> dict[str, Any]:
    """How a command's sums fit, as fields of its layer."""
    enough, array = _enough_bits(command, program), program.device.array
    if counts is None:
        return {"accumulator_bits": enough, "overflows": 0 if enough <= array.sum_bits else None}
    first = None
    if counts.first_overflow >= 0:
        spec = program.placements[command.ofmap].spec
        sample, element = divmod(counts.first_overflow, spec.elements)
        first = Place(sample, tuple(int(i) for i in np.unravel_index(element, spec.shape)))
    return {
        "accumulator_bits": enough, "overflows": counts.overflows, "first_overflow": first,
        "worst_excess": counts.worst_excess,
        "data_accumulator_bits": counts.accumulator_bits or None,
        "data_psum_bits": counts.psum_bits or None,
    }  # fmt: skip


def _busy(command: Command, program: Program, macs: int) -> float:
    """Cycles of a PE that a command's products take: fewer where it does several at once, more where it
    takes a weight bit by bit."""
    if not isinstance(command, Matmul):
        return 0.0
    ifmap_bits = program.placements[command.ifmap].spec.bits
    grid = grid_of(program.device, ifmap_bits, command.weight_bits, command.sparse, command.group)
    return macs * grid.step_cycles / grid.terms


def _tile_text(program: Program, command: Command) -> str:
    inner = command.command if isinstance(command, Host) else command
    if isinstance(inner, Move) or isinstance(command, Host):
        return "-"
    n = inner.nest
    other = ""
    if isinstance(inner, Matmul) and inner.dataflow != program.device.array.dataflow:
        other = f" {inner.dataflow}"
    return f"h{n.tile_h} w{n.tile_w} g{n.tile_g} n{n.tile_n} k{n.tile_k} {ORDERS[n.order]}{other}"


def _layer(
    program: Program,
    point: OperatingPoint,
    index: int,
    timing: CommandTiming,
    counts: Counts,
    energy: dict[str, float],
    done: CommandCounts | None,
    busy: Activity | None,
) -> Layer:
    command = program.commands[index]
    array = program.device.array
    latency_s = timing.cycles / (point.clock_mhz * 1e6)
    energy_pj = sum(energy.values())
    return Layer(
        name=command.name,
        operator=command.operator,
        tile=_tile_text(program, command),
        cycles=timing.cycles,
        latency_s=latency_s,
        cycles_by_cause=timing.by_cause,
        macs=counts.macs,
        utilization=_busy(command, program, counts.macs)
        / (timing.cycles * array.rows * array.cols * program.device.cores),
        energy_pj=energy_pj,
        energy_by_component_pj=energy,
        average_power_w=energy_pj * 1e-12 / latency_s,
        tops=2e-12 * counts.macs / latency_s,
        dram_bytes=counts.dram_read_bytes + counts.dram_write_bytes,
        scratchpad_bytes=(counts.scratchpad_read_bits + counts.scratchpad_write_bits) // 8,
        scratchpad_peak_bytes=program.scratchpad_bytes_at(index),
        note=command.reason if isinstance(command, Host) else "",
        zero_share=busy and busy.zero_share,
        toggle_rate=busy and busy.toggle_rate,
        **_sums(command, program, done),
    )


def _result(
    model: Graph, energy: EnergyModel, point: OperatingPoint, program: Program, timing: Timing,
    counts: list[Counts], evaluation: Evaluation | None, samples: int,
    busy: tuple[Activity | None, ...],
) -> Result:  # fmt: skip
    device = program.device
    done = evaluation.counts if evaluation else (None,) * len(counts)
    layers = tuple(
        _layer(program, point, i, t, c, energy.command_pj(c, t.cycles), d, a)
        for i, (t, c, d, a) in enumerate(zip(timing.commands, counts, done, busy, strict=True))
    )
    by_component = {k: sum(x.energy_by_component_pj[k] for x in layers) for k in COMPONENTS}
    known = [x.overflows for x in layers if x.overflows is not None]
    work = total_work(counts, timing.cycles)
    single = effects(device, point, work)
    totals = _totals(
        program, energy, samples, timing, layers, spread(device, point, work, single),
        sum(known) if len(known) == len(layers) else None,
    )  # fmt: skip
    return Result(
        model, device, point, program, timing, totals, timing.by_cause(), by_component, layers,
        evaluation.accuracy if evaluation else None, tuple(single),
    )  # fmt: skip


def _totals(
    program: Program, energy: EnergyModel, samples: int, timing: Timing, layers: tuple[Layer, ...],
    ends: Spread, overflows: int | None,
) -> Totals:  # fmt: skip
    point = energy.point
    energy_pj = sum(layer.energy_pj for layer in layers)
    hertz, cycles = point.clock_mhz * 1e6, timing.cycles
    latency_s = cycles / hertz
    macs = sum(layer.macs for layer in layers)
    power_w = energy_pj * 1e-12 / latency_s
    tops = 2e-12 * macs / latency_s
    table = prices_of(program.device).table
    low, high = (area_mm2(table, program.device, b).total for b in ("low", "high"))
    period = steady_period(program, point, timing)
    return Totals(
        samples=samples,
        cycles=cycles,
        first_cycles=cycles + loading_cycles(program, point),
        period_cycles=period,
        latency_s=latency_s,
        inferences_per_s=samples / latency_s,
        steady_inferences_per_s=samples * hertz / period,
        macs=macs,
        utilization=sum(x.utilization * x.cycles for x in layers) / cycles,
        energy_pj=energy_pj,
        energy_low_pj=ends.low,
        energy_high_pj=ends.high,
        energy_lowest_pj=ends.lowest,
        energy_highest_pj=ends.highest,
        average_power_w=power_w,
        peak_tops=program.device.peak_tops(point),
        tops=tops,
        tops_per_watt=tops / power_w,
        inferences_per_joule=samples / (energy_pj * 1e-12),
        area_mm2=energy.area.total,
        area_low_mm2=low,
        area_high_mm2=high,
        peak_tops_per_mm2=program.device.peak_tops(point) / energy.area.total,
        die_cost_usd=energy.die_cost_usd,
        dram_bytes=sum(layer.dram_bytes for layer in layers),
        scratchpad_bytes=sum(layer.scratchpad_bytes for layer in layers),
        scratchpad_peak_bytes=program.scratchpad_peak_bytes,
        resident_weight_bytes=program.resident_weight_bytes,
        overflows=overflows,
    )
