"""Commands of ``npusim`` that make quantized models of float ones."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from simulator.cli_shared import add_json, announce_compilation, at_least_one, progress, tell
from simulator.errors import UsageError

if TYPE_CHECKING:
    from simulator.graph import Graph
    from simulator.quantization.scheme import Scheme
    from simulator.tensor import QuantParams
    from simulator.workload import Dataset

_OK = 0


def quantize(args: argparse.Namespace) -> int:
    from simulator.exporters import profile_of
    from simulator.files import check_target
    from simulator.quantizing import (
        input_params,
        load_float_model,
        quantize_graph,
        write_quantized,
    )
    from simulator.report.quantization import quantization_report, quantization_to_dict
    from simulator.workload import load_dataset, load_samples

    at_least_one("--samples", args.samples)
    check_target(args.json)
    profile = profile_of(args.output)
    scheme = _scheme(args)
    x = load_samples(args.calibrate)[: args.samples]
    data = load_dataset(args.data) if args.data else None
    graph = load_float_model(args.model)
    like = _like(args)
    params = input_params(x, args.input_scale, args.input_zero_point, like)
    with progress(x.shape[0], graph.name) as update:
        found = quantize_graph(graph, x, scheme, profile, params, update)
    written = write_quantized(found, args.output)
    accuracies = _accuracies(graph, written, data, params)
    report = quantization_report(found, accuracies)
    tell(args.json, quantization_to_dict(found, scheme, accuracies), f"{report}\n{args.output}")
    return _OK


def methods(args: argparse.Namespace) -> int:
    from simulator.explore.methods import Samples, compare_methods, methods_named
    from simulator.files import check_target
    from simulator.hwconfig import load_device, with_array
    from simulator.quantizing import input_params, load_float_model
    from simulator.report.methods import methods_table, methods_to_dict
    from simulator.workload import load_dataset, load_samples

    at_least_one("--samples", args.samples)
    check_target(args.json)
    chosen = methods_named(args.methods.split(",") if args.methods else [])
    base = _base(args)
    devices = [load_device(name) for name in args.device]
    if args.precision_scaling is not None:
        devices = [with_array(d, precision_scaling=args.precision_scaling) for d in devices]
    x, graph = load_samples(args.calibrate), load_float_model(args.model)
    if args.data is None:
        raise UsageError("--data", "missing", "a labelled set to score on")
    data = load_dataset(args.data)
    params = input_params(x, args.input_scale, args.input_zero_point, _like(args))
    samples = Samples(x[: args.samples], data, params)
    announce_compilation()
    with progress(sum(len(m.bits) for m in chosen), graph.name, "row") as update:
        rows = compare_methods(graph, samples, devices, chosen, base, update)
    content = methods_to_dict(rows, graph.name, data.name)
    tell(args.json, content, methods_table(rows, args.markdown))
    return _OK


def mixed(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from simulator.explore.mixed import LIMITS, Request, choose_bits
    from simulator.exporters import profile_of
    from simulator.files import check_target
    from simulator.hwconfig import load_device
    from simulator.quantizing import input_params, load_float_model, write_quantized
    from simulator.report.machine_readable import about
    from simulator.report.methods import mixed_report
    from simulator.workload import load_dataset, load_samples

    at_least_one("--samples", args.samples)
    check_target(args.json)
    profile, device = profile_of(args.output), load_device(args.device)
    x = load_samples(args.calibrate)[: args.samples]
    data = load_dataset(args.data) if args.data else None
    graph = load_float_model(args.model)
    params = input_params(x, args.input_scale, args.input_zero_point, _like(args))
    limits = {name: getattr(args, name) for name in LIMITS if getattr(args, name) is not None}
    request = Request(_widths(args.bits), limits, _base(args), profile, params)
    announce_compilation()
    with progress(len(request.bits) + 1, graph.name, "step") as update:
        made, found = choose_bits(graph, x, device, request, update)
    written = write_quantized(made, args.output)
    accuracies = _accuracies(graph, written, data, params)
    lines = [mixed_report(found)]
    lines += [f"{100 * top1:.2f} % top-1, {what}" for what, top1 in accuracies.items()]
    content = {**about(1, graph.name, device), **asdict(found), "top1": accuracies}
    tell(args.json, content, "\n".join([*lines, args.output]))
    return _OK


def train(args: argparse.Namespace) -> int:
    _torch()
    from pathlib import Path

    from simulator.exporters import profile_of
    from simulator.importers._check import check_graph
    from simulator.quantizing import input_params, load_float_model, real_samples, write_graph
    from simulator.report.quantization import training_report
    from simulator.training.network import PROFILE
    from simulator.training.train import Lesson, Training, train
    from simulator.training.weights import Remedies
    from simulator.workload import load_dataset

    if profile_of(args.output) != PROFILE:
        raise UsageError(args.output, "is trained in another arithmetic", "an .onnx file")
    how = Training(
        args.method, args.weights, args.per, args.activations, args.edges, args.epochs, args.batch,
        args.learning_rate, seed=args.seed,
        remedies=Remedies(
            not args.no_outlier_mask, not args.no_second_moment, args.stable, args.rounding
        ),
        norms="trained" if args.train_norms else "folded",
    )  # fmt: skip
    graph, data = load_float_model(args.model), load_dataset(args.data)
    test = load_dataset(args.test) if args.test else None
    params = input_params(data.x, args.input_scale, args.input_zero_point, _like(args))
    lesson = Lesson(real_samples(data.x, params), data.y, params)
    with progress(how.epochs, graph.name, "epoch") as update:
        net = train(graph, lesson, how, update, Path(args.resume) if args.resume else None)
    made = check_graph(net.quantized())
    written = write_graph(made, args.output)
    accuracies = _accuracies(graph, written, test, params)
    print(f"{training_report(made, how.method, accuracies)}\n{args.output}")
    return _OK


def remedies(args: argparse.Namespace) -> int:
    _torch()
    from pathlib import Path

    from simulator.explore.remedies import Study, effects, outlier_shifts, run_study
    from simulator.files import check_target
    from simulator.quantizing import load_float_model
    from simulator.report.remedies import study_report, study_to_dict

    check_target(args.json)
    study = Study(
        tuple(args.model), args.data, args.test, args.input_scale, args.input_zero_point,
        args.samples, args.scored, tuple(args.variants.split(",") if args.variants else ()),
        _widths(args.bits), args.seeds, args.epochs, args.batch, args.learning_rate,
        args.scale_rate,
    )  # fmt: skip
    announce_compilation()
    with progress(len(study.jobs()), "remedies", "run") as update:
        runs = run_study(study, Path(args.output), args.processes, update)
    found = effects(runs)
    shifts = {
        Path(name).stem: outlier_shifts(load_float_model(name), study.bits) for name in study.models
    }
    text = study_report(runs, found, shifts, args.markdown)
    tell(args.json, study_to_dict(runs, found, shifts), text)
    return _OK


def _torch() -> None:
    """An error now where there is no torch."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise UsageError(
            "training", "the package torch is not installed", "pip install 'npusim[train]'"
        )


def _widths(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise UsageError("--bits", repr(text), "numbers with commas: 2,4,8")
    return tuple(int(part) for part in parts)


def _accuracies(
    graph: Graph, written: Graph, data: Dataset | None, params: QuantParams | None
) -> dict[str, float]:
    """Top-1 of the float model and of what was read back from the file."""
    if data is None:
        return {}
    from simulator.npu import exact_device, simulate
    from simulator.quantizing import float_top1, input_rule, scored

    announce_compilation()
    given = scored(written, data, params)
    result = simulate(written, exact_device(), given, inputs=input_rule(written, given.x))
    assert result.accuracy is not None
    return {"float": float_top1(graph, data, params), "quantized": result.accuracy.top1}


def _base(args: argparse.Namespace) -> Scheme:
    """What is told of a scheme whatever its quantizer and its bits."""
    from simulator.quantization.scheme import Scheme

    return Scheme(
        limits=args.limits, activation_limits=args.activation_limits, scale=args.scale,
        equalize=args.equalize, rounding="adaround" if args.adaround else "nearest",
        correct_bias=args.correct_bias, seed=args.seed,
    )  # fmt: skip


def _scheme(args: argparse.Namespace) -> Scheme:
    layer_bits = {}
    for text in args.layer or ():
        name, _, bits = text.rpartition("=")
        if not name or not bits.isdecimal():
            raise UsageError("--layer", repr(text), "NAME=BITS")
        layer_bits[name] = int(bits)
    settings = {
        "weights": args.scheme, "bits": args.weights, "per": args.per, "edge_bits": args.edges,
        "layer_bits": layer_bits, "group": args.group, "vector": args.vector, "ranges": args.ranges,
        "activation_bits": args.activations, "form": args.form,
    }  # fmt: skip
    return replace(_base(args), **settings)


def _like(args: argparse.Namespace) -> Graph | None:
    from simulator.npu import load_model

    if args.input_like is None:
        return None
    if args.input_scale is not None or args.input_zero_point is not None:
        raise UsageError("--input-like", "with --input-scale or --input-zero-point", "one of them")
    return load_model(args.input_like)


def _add_files(parser: argparse.ArgumentParser, written: str = "a .tflite or .onnx file") -> None:
    """A float model, and where its quantized form goes."""
    parser.add_argument("model", help="a float32 .tflite or .onnx file")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help=f"{written} to write")


def _add_input(parser: argparse.ArgumentParser, like: bool = True) -> None:
    """What integer samples stand for; ``like``: or what a model says of it."""
    parser.add_argument(
        "--input-scale", type=float, metavar="S",
        help="what a step of integer samples stands for; a sample is S * (x - Z)",
    )  # fmt: skip
    parser.add_argument("--input-zero-point", type=int, metavar="Z", help="default: 0")
    if like:
        parser.add_argument(
            "--input-like", metavar="MODEL",
            help="samples are codes of the input of this quantized model",
        )  # fmt: skip


def add_quantize(quantize: argparse.ArgumentParser) -> None:
    _add_files(quantize)
    quantize.add_argument(
        "--weights", type=int, default=8, metavar="BITS", help="default: %(default)s"
    )
    quantize.add_argument(
        "--activations",
        type=int,
        default=8,
        metavar="BITS",
        help="default: %(default)s; fewer in form qonnx",
    )
    quantize.add_argument(
        "--scheme", default="symmetric", metavar="NAME",
        help="quantizer of weights, as npusim quantizers lists them; default: %(default)s",
    )  # fmt: skip
    add_calibration(quantize)
    quantize.add_argument(
        "--per", choices=["channel", "tensor"], default="channel",
        help="a scale for each output channel, or one; default: %(default)s",
    )  # fmt: skip
    quantize.add_argument(
        "--edges", type=int, metavar="BITS", help="of the first and last layer with weights"
    )
    quantize.add_argument(
        "--layer", action="append", metavar="NAME=BITS", help="of one layer, by its output's name"
    )
    quantize.add_argument(
        "--ranges", choices=["static", "dynamic"], default="static",
        help="of activations: as calibrated, or found by each product as it runs (.onnx, 8 bits); "
        "default: %(default)s",
    )  # fmt: skip
    quantize.add_argument(
        "--form", choices=["standard", "qonnx"], default="standard",
        help="of an .onnx file: standard operators, or QONNX's quantizers; default: %(default)s",
    )  # fmt: skip
    quantize.add_argument(
        "--group", type=int, default=16, metavar="N", help="of scheme groups; default: %(default)s"
    )
    quantize.add_argument(
        "--vector", type=int, default=4, metavar="N", help="of scheme product; default: %(default)s"
    )
    add_json(quantize)


def add_methods(methods: argparse.ArgumentParser) -> None:
    methods.add_argument("model", help="a float32 .tflite or .onnx file")
    methods.add_argument(
        "--device",
        action="append",
        required=True,
        help="one or several; each gets what a method asks for",
    )
    methods.add_argument(
        "--precision-scaling", choices=["none", "fused", "bit_serial"],
        help="what PEs do with narrower operands, in place of what the devices' do",
    )  # fmt: skip
    methods.add_argument("--methods", metavar="NAMES", help="with commas between; default: all")
    add_calibration(methods)
    methods.add_argument("--markdown", action="store_true", help="the table as Markdown")
    add_json(methods)


def add_mixed(mixed: argparse.ArgumentParser) -> None:
    _add_files(mixed)
    mixed.add_argument("--device", required=True, help="what costs are counted on")
    mixed.add_argument(
        "--bits", default="2,3,4,6,8", metavar="LIST", help="to choose from; default: %(default)s"
    )
    for name in ("latency", "energy", "size"):
        mixed.add_argument(
            f"--{name}", type=float, metavar="PART",
            help="at most this part of what the most bits for every layer take",
        )  # fmt: skip
    add_calibration(mixed)
    add_json(mixed)


def add_train(train: argparse.ArgumentParser) -> None:
    _add_files(train, "an .onnx file")
    train.add_argument(
        "--data", required=True, help="labelled set to train on: an .npz with x and y"
    )
    train.add_argument("--test", metavar="DATA", help="labelled set to score on")
    train.add_argument(
        "--method", default="lsq", metavar="NAME",
        help="lsq, dorefa, tqt, msqe, gradient, binary, ternary; default: %(default)s",
    )  # fmt: skip
    train.add_argument(
        "--weights", type=int, default=4, metavar="BITS", help="default: %(default)s"
    )
    train.add_argument(
        "--activations", default="lsq", metavar="NAME",
        help="their scales: static, lsq, pact, tqt; default: %(default)s",
    )  # fmt: skip
    train.add_argument("--per", choices=["channel", "tensor"], default="channel")
    train.add_argument(
        "--edges",
        type=int,
        default=8,
        metavar="BITS",
        help="of the first and last layer; default: 8",
    )
    train.add_argument("--epochs", type=int, default=10, metavar="N", help="default: %(default)s")
    train.add_argument("--batch", type=int, default=64, metavar="N", help="default: %(default)s")
    train.add_argument("--learning-rate", type=float, default=1e-3, metavar="R")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--rounding", default="msqe", metavar="NAME",
        help="of method gradient's exponents: ceil, nearest, msqe; default: %(default)s",
    )  # fmt: skip
    train.add_argument("--no-outlier-mask", action="store_true", help="of msqe and gradient")
    train.add_argument("--no-second-moment", action="store_true", help="likewise")
    train.add_argument("--stable", action="store_true", help="likewise: exponents stay at last")
    train.add_argument(
        "--train-norms", action="store_true",
        help="fold batch norms anew in every step, for the first half of all epochs",
    )  # fmt: skip
    _add_input(train)
    train.add_argument("--resume", metavar="FILE", help="keeps the state; goes on from it")


def add_remedies(remedies: argparse.ArgumentParser) -> None:
    remedies.add_argument("model", nargs="+", help="float32 .onnx or .tflite files")
    remedies.add_argument(
        "--data", required=True, help="labelled set to train on: an .npz with x and y"
    )
    remedies.add_argument("--test", required=True, metavar="DATA", help="labelled set to score on")
    remedies.add_argument(
        "-o", "--output", required=True, metavar="FOLDER",
        help="where runs are kept, and taken from by the next study",
    )  # fmt: skip
    remedies.add_argument("--variants", metavar="NAMES", help="with commas between; default: all")
    remedies.add_argument(
        "--bits", default="8,4,3,2", metavar="LIST", help="of weights; default: %(default)s"
    )
    remedies.add_argument("--seeds", type=int, default=3, metavar="N", help="default: %(default)s")
    remedies.add_argument(
        "--samples", type=int, metavar="N", help="the first N of --data; default: all"
    )
    remedies.add_argument(
        "--scored", type=int, metavar="N", help="the first N of --test; default: all"
    )
    remedies.add_argument("--epochs", type=int, default=2, metavar="N", help="default: %(default)s")
    remedies.add_argument("--batch", type=int, default=64, metavar="N", help="default: %(default)s")
    remedies.add_argument(
        "--learning-rate", type=float, default=1e-3, metavar="R", help="default: %(default)s"
    )
    remedies.add_argument(
        "--scale-rate", type=float, default=1e-2, metavar="R",
        help="learning rate of scales; default: %(default)s",
    )  # fmt: skip
    _add_input(remedies, like=False)
    remedies.add_argument(
        "--processes", type=int, default=1, metavar="N",
        help="runs at a time, each on one thread; default: %(default)s",
    )  # fmt: skip
    remedies.add_argument("--markdown", action="store_true", help="the tables as Markdown")
    add_json(remedies)


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """What any post-training quantization may be told."""
    parser.add_argument(
        "--calibrate", required=True, metavar="DATA",
        help="samples, without labels: an .npz file with x, or an .npy file",
    )  # fmt: skip
    parser.add_argument(
        "--samples", type=int, default=200, metavar="N",
        help="the first N samples of --calibrate; default: %(default)s",
    )  # fmt: skip
    _add_input(parser)
    parser.add_argument(
        "--limits", default="mse", metavar="RULE",
        help="for what is clipped of weights: min_max, percentile, kl, mse, aciq; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--activation-limits", default="mse", metavar="RULE",
        help="likewise of activations; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--scale", default="float", metavar="RULE",
        help="what scales may be: float, power_of_two, dyadic; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--equalize", action="store_true", help="cross-layer equalization, before")
    parser.add_argument(
        "--adaround", action="store_true",
        help="round weights so that outputs are nearest, not weights",
    )  # fmt: skip
    parser.add_argument(
        "--correct-bias", action="store_true",
        help="take the mean error of each channel from its bias",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    parser.add_argument("--data", help="labelled set to score on: an .npz file with x and y")
