"""``npusim``: the command line. Results go to standard output, progress and errors to standard error.

Exit codes: 0 done (``verify``: equal), 1 ``verify`` found a difference, 2 the input was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.cli_arguments import parser
from simulator.errors import NpusimError, UsageError
from simulator.interrupts import interruptible

if TYPE_CHECKING:
    from simulator.graph import Graph
    from simulator.hwconfig import Device
    from simulator.workload import Dataset

_OK, _DIFFERENT, _WRONG_INPUT, _INTERRUPTED = 0, 1, 2, 130


@contextmanager
def _progress(total: int, what: str, unit: str = "sample") -> Iterator[Callable[[int], object]]:
    from tqdm import tqdm

    # disable=None: no bar where standard error is not a terminal, so that logs stay readable.
    with tqdm(total=total, desc=what, unit=unit, file=sys.stderr, leave=False, disable=None) as bar:
        yield bar.update


def _announce_compilation() -> None:
    from simulator.jit import cache_root, cache_state

    words = {
        "cold": "later runs find them in the cache",
        "none": f"so will every run, since nothing can be written to {cache_root()}: set "
        "NPUSIM_CACHE_DIR to another folder",
    }
    state = cache_state()
    if state != "warm":
        print(f"npusim: compiling the kernels, up to a minute; {words[state]}", file=sys.stderr)


def _run(args: argparse.Namespace) -> int:
    from simulator.hwconfig import DATAFLOWS, load_device, with_array, with_keys
    from simulator.npu import load_model, simulate
    from simulator.report.machine_readable import check_target, result_to_dict, write_json
    from simulator.report.text import accumulator_table, run_report
    from simulator.workload import Dataset, load_dataset

    _at_least_one("--limit", args.limit)
    _at_least_one("--threads", args.threads)
    _at_least_one("--batch", args.batch)
    if args.batch > 1 and args.data is not None:
        raise UsageError("--batch", f"{args.batch} with --data", "without --data")
    if args.limit is not None and args.data is None:
        raise UsageError("--limit", f"{args.limit} without --data", "together with --data")
    if args.activity < 0:
        raise UsageError("--activity", str(args.activity), "at least 1")
    for option in ("carry_state", "label_offset", "resume", "activity"):
        if getattr(args, option) and args.data is None:
            name = f"--{option.replace('_', '-')}"
            raise UsageError(name, "given without --data", "together with --data")
    _known_rule(args.inputs)
    check_target(args.json)
    check_target(args.trace)
    check_target(args.dram_trace)
    device = load_device(args.device)
    model = load_model(args.model, args.profile, args.weight_bits, args.prune)
    stated = {
        "accumulator_bits": args.accumulator_bits, "psum_bits": args.psum_bits,
        "overflow": args.overflow, "precision_scaling": args.precision_scaling,
        "sparsity": args.sparsity, "weight_codec": args.weight_codec,
    }  # fmt: skip
    stated = {key: value for key, value in stated.items() if value is not None}
    if stated:
        device = with_array(device, **stated)
    if args.cores is not None:
        device = with_keys(device, {"cores": args.cores})
    if args.any_dataflow:
        others = tuple(d for d in DATAFLOWS if d != device.array.dataflow)
        device = with_array(device, other_dataflows=others)
    data = load_dataset(args.data) if args.data else None
    _announce_compilation()
    if data is None:
        result = simulate(
            model, device, operating_point=args.operating_point, samples_at_once=args.batch,
            objective=args.objective, fuse=args.fuse,
        )  # fmt: skip
    else:
        data = Dataset(data.name, data.x[: args.limit], data.y[: args.limit])
        with _progress(data.x.shape[0], data.name) as update:
            result = simulate(
                model, device, data, operating_point=args.operating_point, inputs=args.inputs,
                carry_state=args.carry_state, threads=args.threads, resume=args.resume,
                label_offset=args.label_offset, widths=args.accumulators,
                activity_samples=args.activity,
                objective=args.objective, fuse=args.fuse, progress=update,
            )  # fmt: skip
    if args.trace:
        from simulator.report.trace import trace_of

        write_json(trace_of(result), args.trace, indent=None)
    if args.dram_trace:
        from simulator.files import write_text
        from simulator.report.dram_trace import dram_trace

        write_text(Path(args.dram_trace), dram_trace(result, args.dram_trace_format))
    text = run_report(result, args.layers)
    if args.accumulators:
        text += f"\n\n{accumulator_table(result)}"
    _tell(args.json, result_to_dict(result), text)
    return _OK


def _tell(target: str | None, content: dict[str, Any], text: str) -> None:
    """``content`` as JSON to ``target``, if any, and ``text`` unless that is standard output. The file
    first: where it cannot be written, nothing is printed either."""
    from simulator.report.machine_readable import write_json

    if target:
        write_json(content, target)
    if target != "-":
        print(text)


def _at_least_one(where: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise UsageError(where, str(value), "at least 1")


def _known_rule(rule: str) -> None:
    from simulator.datapath.inputs import RULES

    if rule not in RULES:
        raise UsageError("--inputs", f"rule {rule!r}", ", ".join(RULES))


def _verify(args: argparse.Namespace) -> int:
    from simulator.crosscheck import verify
    from simulator.hwconfig import load_device
    from simulator.report.machine_readable import check_target, verification_to_dict
    from simulator.report.verification import verification_report
    from simulator.workload import load_dataset

    _at_least_one("--samples", args.samples)
    _known_rule(args.inputs)
    if args.sample is not None and args.explain is None:
        raise UsageError("--sample", f"{args.sample} without --explain", "together with --explain")
    check_target(args.json)
    device = load_device(args.device)
    data = load_dataset(args.data) if args.data else None
    if (args.against == "rtl") != (args.layer is not None):
        given = f"{args.layer!r}" if args.layer else "missing"
        raise UsageError("--layer", given, "together with --against rtl, one layer of the model")
    _announce_compilation()
    if args.layer is not None:
        return _verify_layer(args, device, data)
    if args.explain is not None:
        return _explain(args, device, data)
    total = min(args.samples, data.x.shape[0]) if data else args.samples
    with _progress(total, args.model) as update:
        found = verify(
            args.model, device, args.against, profile=args.profile, samples=args.samples, data=data,
            inputs=args.inputs, seed=args.seed, progress=update,
        )  # fmt: skip
    _tell(args.json, verification_to_dict(found), verification_report(found))
    return _DIFFERENT if found.different else _OK


def _verify_layer(args: argparse.Namespace, device: Device, data: Dataset | None) -> int:
    from simulator.crosscheck.rtl_layer import verify_layer
    from simulator.report.machine_readable import hardware_to_dict
    from simulator.report.verification import hardware_report

    if args.explain is not None:
        raise UsageError("--explain", "with --against rtl", "with a runtime or a profile")
    with _progress(0, args.layer) as update:
        done = 0

        def shown(tiles: int, total: int) -> None:
            nonlocal done
            update(tiles - done)
            done = tiles

        check = verify_layer(
            args.model, device, args.layer, profile=args.profile, data=data, inputs=args.inputs,
            seed=args.seed, progress=shown,
        )  # fmt: skip
    _tell(args.json, hardware_to_dict(check), hardware_report(check))
    return _OK if check.equal else _DIFFERENT


def _explain(args: argparse.Namespace, device: Device, data: Dataset | None) -> int:
    from simulator.crosscheck import explain
    from simulator.report.machine_readable import element_equal, explanation_to_dict
    from simulator.report.verification import explanation_report

    node, text = args.explain
    try:
        index = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise UsageError("--explain", f"index {text!r}", "numbers with commas: 0,3,2,5") from None
    found = explain(
        args.model, device, node, index, args.against, profile=args.profile,
        sample=args.sample or 0, data=data, inputs=args.inputs, seed=args.seed,
    )  # fmt: skip
    _tell(args.json, explanation_to_dict(found), explanation_report(found))
    return _DIFFERENT if element_equal(found) is False else _OK


def _compile(args: argparse.Namespace) -> int:
    from simulator.graph.text import print_graph
    from simulator.hwconfig import load_device
    from simulator.npu import compile, load_model
    from simulator.program.text import print_program

    device, model = load_device(args.device), load_model(args.model, args.profile)
    if args.graph:
        print(print_graph(model), end="")
        return _OK
    _announce_compilation()
    print(print_program(compile(model, device, args.operating_point)), end="")
    return _OK


def _devices(args: argparse.Namespace) -> int:
    from simulator.hwconfig import device_names, json_schema, load_device
    from simulator.report.catalogue import device_details, device_table

    if args.schema:
        print(json.dumps(json_schema(), indent=2))
    elif args.published:
        from simulator.explore.published import published_check
        from simulator.report.published import published_table

        names = [args.name] if args.name else device_names()
        _announce_compilation()
        print(published_table([published_check(name) for name in names], args.markdown))
    elif args.name:
        print(device_details(load_device(args.name)))
    else:
        print(device_table(args.markdown))
    return _OK


def _ops(args: argparse.Namespace) -> int:
    from simulator.report.catalogue import operator_table

    print(operator_table())
    return _OK


def _profiles(args: argparse.Namespace) -> int:
    from simulator.crosscheck.runtimes import RUNTIMES
    from simulator.report.profiles import profile_table

    versions = {name: entry.checked_with for name, entry in RUNTIMES.items()}
    print(profile_table(versions, args.markdown))
    return _OK


def _vectors(args: argparse.Namespace) -> int:
    from simulator.vectors import write_vectors

    _announce_compilation()
    written = write_vectors(
        args.operator, args.output, profile=args.profile or "tflite", count=args.count,
        seed=args.seed,
    )  # fmt: skip
    print(f"{written.path}: {written.cases} cases of {args.operator}, {written.outputs:,} outputs")
    return _OK


def _models(args: argparse.Namespace) -> int:
    from simulator.workload import catalogue

    for entry in catalogue().values():
        where = entry.url or "ships with the package"
        print(f"{entry.name}: {entry.title}\n    {where}\n    licence: {entry.licence}")
    return _OK


def _plot(args: argparse.Namespace) -> int:
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
    _announce_compilation()
    draw(_figure(args, model, devices), target)
    print(target)
    return _OK


_PLOTS_OF_POWER = ("power", "throughput-power")


def _figure(
    args: argparse.Namespace, model: Graph, devices: Sequence[Device]
) -> Callable[[Any], Any]:
    """What makes the figure ``args.kind``, given ``matplotlib.pyplot``."""
    from simulator.npu import simulate
    from simulator.report.figures.devices import power_figure, throughput_power
    from simulator.report.figures.run import FIGURES

    if args.kind == "throughput-power":
        from simulator.explore.power import efficiency_curves, peaks

        with _progress(len(devices), model.name, "device") as update:
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


def _scalesim(args: argparse.Namespace) -> int:
    from simulator.importers.scalesim import read_config, read_topology
    from simulator.report.array_alone import array_alone_report, array_alone_to_dict
    from simulator.report.machine_readable import check_target
    from simulator.timing.array_alone import array_report

    check_target(args.json)
    config = read_config(Path(args.config))
    layers = read_topology(Path(args.topology))
    array = config.dataflow, config.rows, config.cols
    reports = [(layer.name, array_report(layer.nest, *array)) for layer in layers]
    text = array_alone_report(reports, *array, user_bandwidth=config.user_bandwidth)
    _tell(args.json, array_alone_to_dict(reports, *array), text)
    return _OK


def _scale(args: argparse.Namespace) -> int:
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
    _announce_compilation()
    points = scaling(
        model, device, cores, shared_scratchpad=args.shared_scratchpad,
        operating_point=args.operating_point,
    )  # fmt: skip
    at = device.operating_point(args.operating_point)
    if args.figure:
        title = f"{model.name} on cores like {device.name} at {at.clock_mhz:g} MHz"
        draw(lambda plt: scaling_figure(plt, points, title), args.figure)
    text = scaling_report(points, model.name, device, at)
    _tell(args.json, scaling_to_dict(points, model.name, device), text)
    return _OK


def _power(args: argparse.Namespace) -> int:
    from simulator.explore.power import power_over_time, power_points
    from simulator.files import write_text
    from simulator.hwconfig import load_device
    from simulator.npu import load_model, simulate
    from simulator.report.machine_readable import check_target
    from simulator.report.power import power_csv, power_report, power_to_dict

    check_target(args.json)
    check_target(args.trace)
    device, model = load_device(args.device), load_model(args.model, args.profile)
    _announce_compilation()
    points = power_points(
        model, device, points=args.points, rate_per_s=args.rate, tdp_w=args.tdp,
        intervals=args.intervals,
    )  # fmt: skip
    if args.trace:
        trace = power_over_time(simulate(model, device), args.intervals)
        write_text(Path(args.trace), power_csv(trace))
    text = power_report(points, model.name, device, args.rate, args.tdp)
    _tell(args.json, power_to_dict(points, model.name, device), text)
    return _OK


def _energy(args: argparse.Namespace) -> int:
    from simulator.hwconfig import load_device
    from simulator.npu import load_model, simulate
    from simulator.report.energy import energy_report, energy_to_dict
    from simulator.report.machine_readable import check_target

    check_target(args.json)
    device, model = load_device(args.device), load_model(args.model, args.profile)
    _announce_compilation()
    result = simulate(model, device, operating_point=args.operating_point)
    _tell(args.json, energy_to_dict(result), energy_report(result))
    return _OK


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run, "verify": _verify, "compile": _compile, "devices": _devices, "ops": _ops,
    "models": _models, "profiles": _profiles, "vectors": _vectors, "scalesim": _scalesim,
    "plot": _plot, "scale": _scale, "power": _power, "energy": _energy,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = parser().parse_args(arguments)
    try:
        with interruptible():
            code = _COMMANDS[args.command](args)
            sys.stdout.flush()
        return code
    except NpusimError as error:
        print(f"npusim: {error}", file=sys.stderr)
        return error.exit_code
    except MemoryError:
        problem = "needs more memory than there is"
        print(f"npusim: {args.command}: {problem}; allowed: a smaller model", file=sys.stderr)
        return _WRONG_INPUT
    except KeyboardInterrupt:
        print("npusim: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return _OK  # the reader of our output (head, less) has gone; nothing is wrong
    except OSError as error:
        _drop_output()
        print(f"npusim: the system reports: {error}", file=sys.stderr)
        return _WRONG_INPUT


def _drop_output() -> None:
    # What is left in the buffer would fail once more when Python exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
