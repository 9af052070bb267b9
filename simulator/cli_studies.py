"""Commands of ``npusim`` that look at a model from several sides: figures, cores, power, energy."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.cli_shared import announce_compilation, progress, tell
from simulator.errors import UsageError

if TYPE_CHECKING:
    from simulator.graph import Graph
    from simulator.hwconfig import Device

_OK = 0
_PLOTS_OF_POWER = ("power", "throughput-power")


def plot(args: argparse.Namespace) -> int:
    from simulator.files import check_target
    from simulator.hwconfig import device_names, load_device
    from simulator.npu import load_model
    from simulator.report.figures import draw, figure_suffix
    from simulator.report.figures.run import FIGURES

    kinds = (*FIGURES, *_PLOTS_OF_POWER)
    if args.kind not in kinds:
        raise UsageError("plot", f"no figure {args.kind!r}", ", ".join(kinds))
    target = args.output or f"{args.kind}.png"
    figure_suffix(target)
    check_target(target)
    several = args.kind == "throughput-power"
    names = args.device or (device_names() if several else [])
    if not several and len(names) != 1:
        raise UsageError("--device", f"{len(names)} of them", f"one, for {args.kind}")
    devices, model = [load_device(name) for name in names], load_model(args.model, args.profile)
    announce_compilation()
    draw(_figure(args, model, devices), target)
    print(target)
    return _OK


def _figure(
    args: argparse.Namespace, model: Graph, devices: Sequence[Device]
) -> Callable[[Any], Any]:
    """What makes the figure ``args.kind``, given ``matplotlib.pyplot``."""
    from simulator.npu import simulate
    from simulator.report.figures.devices import power_figure, throughput_power
    from simulator.report.figures.run import FIGURES

    if args.kind == "throughput-power":
        from simulator.explore.power import efficiency_curves, peaks

        with progress(len(devices), model.name, "device") as update:
            curves = efficiency_curves(model, devices, update)
            best = peaks(devices)
        return lambda plt: throughput_power(plt, curves, model.name, best)
    result = simulate(model, devices[0], operating_point=args.operating_point)
    if args.kind == "power":
        from simulator.explore.power import power_over_time

        title = f"{model.name} on {devices[0].name} at {result.point.name}"
        trace = power_over_time(result)
        return lambda plt: power_figure(plt, trace, title)
    return lambda plt: FIGURES[args.kind](plt, result)


def scale(args: argparse.Namespace) -> int:
    from simulator.explore.scaling import scaling
    from simulator.hwconfig import load_device
    from simulator.npu import load_model
    from simulator.report.figures import draw, figure_suffix
    from simulator.report.figures.devices import scaling_figure
    from simulator.report.machine_readable import check_target
    from simulator.report.scaling import scaling_report, scaling_to_dict

    check_target(args.json)
    if args.figure:
        figure_suffix(args.figure)
        check_target(args.figure)
    try:
        cores = [int(part) for part in args.cores.split(",")]
    except ValueError:
        raise UsageError("--cores", repr(args.cores), "numbers with commas: 1,2,4,8") from None
    device, model = load_device(args.device), load_model(args.model, args.profile)
    announce_compilation()
    points = scaling(
        model, device, cores, shared_scratchpad=args.shared_scratchpad,
        operating_point=args.operating_point,
    )  # fmt: skip
    at = device.operating_point(args.operating_point)
    if args.figure:
        title = f"{model.name} on cores like {device.name} at {at.clock_mhz:g} MHz"
        draw(lambda plt: scaling_figure(plt, points, title), args.figure)
    text = scaling_report(points, model.name, device, at)
    tell(args.json, scaling_to_dict(points, model.name, device), text)
    return _OK


def power(args: argparse.Namespace) -> int:
    from simulator.explore.power import power_points
    from simulator.files import write_text
    from simulator.hwconfig import load_device
    from simulator.npu import load_model
    from simulator.report.machine_readable import check_target
    from simulator.report.power import power_csv, power_report, power_to_dict

    check_target(args.json)
    check_target(args.trace)
    device, model = load_device(args.device), load_model(args.model, args.profile)
    announce_compilation()
    points = power_points(
        model, device, points=args.points, rate_per_s=args.rate, tdp_w=args.tdp,
        intervals=args.intervals,
    )  # fmt: skip
    if args.trace:
        write_text(Path(args.trace), power_csv(points[0].trace))
    text = power_report(points, model.name, device, args.rate, args.tdp)
    tell(args.json, power_to_dict(points, model.name, device), text)
    return _OK


def energy(args: argparse.Namespace) -> int:
    from simulator.hwconfig import load_device
    from simulator.npu import load_model, simulate
    from simulator.report.energy import energy_report, energy_to_dict
    from simulator.report.machine_readable import check_target

    check_target(args.json)
    device, model = load_device(args.device), load_model(args.model, args.profile)
    announce_compilation()
    result = simulate(model, device, operating_point=args.operating_point)
    tell(args.json, energy_to_dict(result), energy_report(result))
    return _OK
