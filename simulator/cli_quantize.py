"""Commands of ``npusim`` that make quantized models of float ones."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from simulator.cli_shared import announce_compilation, at_least_one, progress, tell
from simulator.errors import UsageError

if TYPE_CHECKING:
    from simulator.graph import Graph
    from simulator.quantization.scheme import Scheme

_OK = 0
_ACTIVATION_BITS = 8


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
    if args.activations != _ACTIVATION_BITS:
        raise UsageError("--activations", str(args.activations), str(_ACTIVATION_BITS))
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
    accuracies = {}
    if data is not None:
        from simulator.npu import exact_device, simulate
        from simulator.quantizing import float_top1

        announce_compilation()
        accuracies["float"] = float_top1(graph, data, params)
        result = simulate(written, exact_device(), data)
        assert result.accuracy is not None
        accuracies["quantized"] = result.accuracy.top1
    report = quantization_report(found, accuracies)
    tell(args.json, quantization_to_dict(found, scheme, accuracies), f"{report}\n{args.output}")
    return _OK


def methods(args: argparse.Namespace) -> int:
    from simulator.explore.methods import Samples, compare_methods, methods_named
    from simulator.files import check_target
    from simulator.hwconfig import load_device
    from simulator.quantization.scheme import Scheme
    from simulator.quantizing import input_params, load_float_model
    from simulator.report.methods import methods_table, methods_to_dict
    from simulator.workload import load_dataset, load_samples

    at_least_one("--samples", args.samples)
    check_target(args.json)
    chosen = methods_named(args.methods.split(",") if args.methods else [])
    base = Scheme(
        limits=args.limits, activation_limits=args.activation_limits, scale=args.scale,
        equalize=args.equalize, rounding="adaround" if args.adaround else "nearest",
        correct_bias=args.correct_bias, seed=args.seed,
    )  # fmt: skip
    devices = [load_device(name) for name in args.device]
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


def _scheme(args: argparse.Namespace) -> Scheme:
    from simulator.quantization.scheme import Scheme

    layer_bits = {}
    for text in args.layer or ():
        name, _, bits = text.rpartition("=")
        if not name or not bits.isdecimal():
            raise UsageError("--layer", repr(text), "NAME=BITS")
        layer_bits[name] = int(bits)
    return Scheme(
        args.scheme, args.weights, args.per, args.limits, args.scale, args.activation_limits,
        args.edges, layer_bits, args.group, args.vector, args.equalize,
        "adaround" if args.adaround else "nearest", args.correct_bias, args.seed,
    )  # fmt: skip


def _like(args: argparse.Namespace) -> Graph | None:
    from simulator.npu import load_model

    if args.input_like is None:
        return None
    if args.input_scale is not None or args.input_zero_point is not None:
        raise UsageError("--input-like", "with --input-scale or --input-zero-point", "one of them")
    return load_model(args.input_like)


def add_quantize(quantize: argparse.ArgumentParser) -> None:
    quantize.add_argument("model", help="a float32 .tflite or .onnx file")
    quantize.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="a .tflite or .onnx file to write"
    )
    quantize.add_argument(
        "--weights", type=int, default=8, metavar="BITS", help="default: %(default)s"
    )
    quantize.add_argument(
        "--activations", type=int, default=8, metavar="BITS", help="8: the only width so far"
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
        "--group", type=int, default=16, metavar="N", help="of scheme groups; default: %(default)s"
    )
    quantize.add_argument(
        "--vector", type=int, default=4, metavar="N", help="of scheme product; default: %(default)s"
    )
    quantize.add_argument("--json", metavar="OUT", help="also write it as JSON (- for stdout)")


def add_methods(methods: argparse.ArgumentParser) -> None:
    methods.add_argument("model", help="a float32 .tflite or .onnx file")
    methods.add_argument(
        "--device",
        action="append",
        required=True,
        help="one or several; each gets what a method asks for",
    )
    methods.add_argument("--methods", metavar="NAMES", help="with commas between; default: all")
    add_calibration(methods)
    methods.add_argument("--markdown", action="store_true", help="the table as Markdown")
    methods.add_argument("--json", metavar="OUT", help="also write it as JSON (- for stdout)")


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
    parser.add_argument(
        "--input-scale", type=float, metavar="S",
        help="what a step of integer samples stands for; a sample is S * (x - Z)",
    )  # fmt: skip
    parser.add_argument("--input-zero-point", type=int, metavar="Z", help="default: 0")
    parser.add_argument(
        "--input-like",
        metavar="MODEL",
        help="samples are codes of the input of this quantized model",
    )
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
