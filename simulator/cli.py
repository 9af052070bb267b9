"""``npusim``: the command line. Results go to standard output, progress and errors to standard error.

Exit codes: 0 done (``verify``: equal), 1 ``verify`` found a difference, 2 the input was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.cli_arguments import parser
from simulator.cli_quantize import methods, mixed, quantize, remedies, train
from simulator.cli_shared import announce_compilation, at_least_one, known_rule, progress, tell
from simulator.cli_studies import energy, plot, power, scale
from simulator.errors import NpusimError, UsageError
from simulator.interrupts import interruptible

if TYPE_CHECKING:
    from simulator.hwconfig import Device
    from simulator.workload import Dataset

_OK, _DIFFERENT, _WRONG_INPUT, _INTERRUPTED = 0, 1, 2, 130


def _run(args: argparse.Namespace) -> int:
    from simulator.hwconfig import DATAFLOWS, load_device, with_array, with_keys
    from simulator.npu import load_model, simulate
    from simulator.report.machine_readable import check_target, result_to_dict, write_json
    from simulator.report.text import accumulator_table, run_report
    from simulator.workload import Dataset, load_dataset

    at_least_one("--limit", args.limit)
    at_least_one("--threads", args.threads)
    at_least_one("--batch", args.batch)
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
    known_rule(args.inputs)
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
    announce_compilation()
    if data is None:
        result = simulate(
            model, device, operating_point=args.operating_point, samples_at_once=args.batch,
            objective=args.objective, fuse=args.fuse,
        )  # fmt: skip
    else:
        data = Dataset(data.name, data.x[: args.limit], data.y[: args.limit])
        with progress(data.x.shape[0], data.name) as update:
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
    tell(args.json, result_to_dict(result), text)
    return _OK


def _verify(args: argparse.Namespace) -> int:
    from simulator.crosscheck import verify
    from simulator.hwconfig import load_device
    from simulator.report.machine_readable import check_target, verification_to_dict
    from simulator.report.verification import verification_report
    from simulator.workload import load_dataset

    at_least_one("--samples", args.samples)
    known_rule(args.inputs)
    if args.sample is not None and args.explain is None:
        raise UsageError("--sample", f"{args.sample} without --explain", "together with --explain")
    check_target(args.json)
    device = load_device(args.device)
    data = load_dataset(args.data) if args.data else None
    if (args.against == "rtl") != (args.layer is not None):
        given = f"{args.layer!r}" if args.layer else "missing"
        raise UsageError("--layer", given, "together with --against rtl, one layer of the model")
    announce_compilation()
    if args.layer is not None:
        return _verify_layer(args, device, data)
    if args.explain is not None:
        return _explain(args, device, data)
    total = min(args.samples, data.x.shape[0]) if data else args.samples
    with progress(total, args.model) as update:
        found = verify(
            args.model, device, args.against, profile=args.profile, samples=args.samples, data=data,
            inputs=args.inputs, seed=args.seed, progress=update,
        )  # fmt: skip
    tell(args.json, verification_to_dict(found), verification_report(found))
    return _DIFFERENT if found.different else _OK


def _verify_layer(args: argparse.Namespace, device: Device, data: Dataset | None) -> int:
    from simulator.crosscheck.rtl_layer import verify_layer
    from simulator.report.machine_readable import hardware_to_dict
    from simulator.report.verification import hardware_report

    if args.explain is not None:
        raise UsageError("--explain", "with --against rtl", "with a runtime or a profile")
    with progress(0, args.layer) as update:
        done = 0

        def shown(tiles: int, total: int) -> None:
            nonlocal done
            update(tiles - done)
            done = tiles

        check = verify_layer(
            args.model, device, args.layer, profile=args.profile, data=data, inputs=args.inputs,
            seed=args.seed, progress=shown,
        )  # fmt: skip
    tell(args.json, hardware_to_dict(check), hardware_report(check))
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
    tell(args.json, explanation_to_dict(found), explanation_report(found))
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
    announce_compilation()
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
        announce_compilation()
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


def _quantizers(args: argparse.Namespace) -> int:
    from simulator.report.catalogue import quantizer_table

    print(quantizer_table(args.markdown))
    return _OK


def _profiles(args: argparse.Namespace) -> int:
    from simulator.crosscheck.runtimes import RUNTIMES
    from simulator.report.profiles import profile_table

    versions = {name: entry.checked_with for name, entry in RUNTIMES.items()}
    print(profile_table(versions, args.markdown))
    return _OK


def _vectors(args: argparse.Namespace) -> int:
    from simulator.vectors import write_vectors

    announce_compilation()
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
    tell(args.json, array_alone_to_dict(reports, *array), text)
    return _OK


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run, "verify": _verify, "compile": _compile, "devices": _devices, "ops": _ops,
    "models": _models, "profiles": _profiles, "vectors": _vectors, "scalesim": _scalesim,
    "plot": plot, "scale": scale, "power": power, "energy": energy, "quantize": quantize,
    "quantizers": _quantizers, "methods": methods, "mixed": mixed, "train": train, "remedies": remedies,
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
