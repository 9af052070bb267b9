"""The words that ``npusim`` takes."""

from __future__ import annotations

import argparse
from typing import Any

from simulator.cli_quantize import add_methods, add_mixed, add_quantize, add_remedies, add_train
from simulator.cli_shared import add_json


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="npusim",
        description="Bits, cycles and picojoules of a quantized model on an edge NPU.",
    )
    commands = whole.add_subparsers(dest="command", required=True)
    _add_run(commands.add_parser("run", help="run a model on a device"))
    _add_verify(commands.add_parser(
        "verify", help="compare every tensor with a reference runtime or another profile"
    ))  # fmt: skip
    compiled = commands.add_parser("compile", help="print the program of a model on a device")
    compiled.add_argument("model")
    compiled.add_argument("--device", required=True)
    _add_point(compiled)
    compiled.add_argument("--graph", action="store_true", help="print the graph instead")
    _add_profile(compiled, "the one the file's format stands for")
    vectors = commands.add_parser("vectors", help="write test vectors for an operator's kernels")
    vectors.add_argument("operator", help="in lower case, e.g. conv_2d")
    vectors.add_argument("-o", "--output", metavar="FILE", help="default: OPERATOR_PROFILE.npz")
    _add_profile(vectors, "tflite")
    vectors.add_argument("--count", type=int, default=100, metavar="N", help="default: %(default)s")
    vectors.add_argument("--seed", type=int, default=0, help="of the random cases")
    devices = commands.add_parser("devices", help="list devices, or one with its sources")
    devices.add_argument("name", nargs="?")
    devices.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of device files"
    )
    devices.add_argument(
        "--published", action="store_true",
        help="peak, power and area beside what is published of them",
    )  # fmt: skip
    devices.add_argument("--markdown", action="store_true", help="the table as Markdown")
    commands.add_parser("ops", help="list operators and their rules")
    profiles = commands.add_parser(
        "profiles", help="list numeric profiles and how each operator's arithmetic is known"
    )
    profiles.add_argument("--markdown", action="store_true", help="the table as Markdown")
    commands.add_parser("models", help="list models known by name")
    plot = commands.add_parser("plot", help="draw a figure of a model on a device")
    plot.add_argument(
        "kind", help="gantt: engines over time; roofline: layers under the device's peak and bandwidth; "
        "cycles, energy-breakdown: where each layer's cycles and energy go; power: over time; "
        "throughput-power: devices over their operating points, among published ones",
    )  # fmt: skip
    plot.add_argument("model")
    plot.add_argument(
        "--device", action="append",
        help="several for throughput-power, where all that ship are the default",
    )  # fmt: skip
    _add_point(plot)
    plot.add_argument(
        "-o", "--output", metavar="FILE", help=".png, .svg or .pdf; default: KIND.png"
    )
    _add_profile(plot, "the one the file's format stands for")
    _add_quantizing(commands)
    _add_scale(commands.add_parser("scale", help="a model on one core, two, and more"))
    _add_power(commands.add_parser(
        "power", help="what a model draws over operating points, at a rate, and over time"
    ))  # fmt: skip
    energy = commands.add_parser(
        "energy", help="where a model's energy goes, how sure that is, area and cost of the device"
    )
    energy.add_argument("model")
    energy.add_argument("--device", required=True)
    _add_point(energy)
    add_json(energy)
    _add_profile(energy, "the one the file's format stands for")
    scalesim = commands.add_parser(
        "scalesim",
        help="the cycles of a SCALE-Sim topology on the array alone, as SCALE-Sim counts them",
    )
    scalesim.add_argument("topology", help="a .csv file of convolutions, or of M, N, K")
    scalesim.add_argument("config", help="a .cfg file: array and dataflow are taken from it")
    add_json(scalesim)
    return whole


def _add_quantizing(commands: Any) -> None:
    """Commands that make quantized models of float ones."""
    add_quantize(commands.add_parser(
        "quantize", help="make a quantized model of a float one, by unlabelled samples"
    ))  # fmt: skip
    add_methods(commands.add_parser(
        "methods", help="methods of quantization side by side: accuracy, and costs on devices"
    ))  # fmt: skip
    add_mixed(commands.add_parser(
        "mixed", help="bits for each layer of a float model, within limits that a device sets"
    ))  # fmt: skip
    add_train(commands.add_parser(
        "train", help="train a float model on what its quantized file computes"
    ))  # fmt: skip
    add_remedies(commands.add_parser(
        "remedies", help="train with and without what keeps power-of-two scales in place"
    ))  # fmt: skip
    quantizers = commands.add_parser("quantizers", help="list quantizers and rules for clipping")
    quantizers.add_argument("--markdown", action="store_true", help="the table as Markdown")


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("model", help="a model file, or the name of a catalogue model (e.g. digits)")
    run.add_argument("--device", required=True, help="a shipped device's name, or a .toml file")
    _add_point(run)
    run.add_argument(
        "--batch", type=int, default=1, metavar="N",
        help="samples of one inference, whose layers load their weights once for all of them",
    )  # fmt: skip
    run.add_argument(
        "--objective", choices=["latency", "energy", "edp"], default="latency",
        help="what tiles, loop orders and dataflows are searched for; default: %(default)s",
    )  # fmt: skip
    run.add_argument(
        "--fuse", action="store_true",
        help="run layers depth first, stripe by stripe, where what lies between them does not fit on chip",
    )  # fmt: skip
    run.add_argument(
        "--any-dataflow", action="store_true",
        help="let each layer have the best dataflow, in place of the device's",
    )  # fmt: skip
    run.add_argument("--cores", type=int, metavar="N", help="1 to 64, in place of the device's")
    run.add_argument("--data", help="labelled set: an .npz file with x and y, or a model's name")
    run.add_argument("--limit", type=int, metavar="N", help="only the first N samples of --data")
    run.add_argument(
        "--inputs",
        default="auto",
        help="how samples become codes: auto, codes, pixels, unsigned, real",
    )
    run.add_argument(
        "--carry-state", action="store_true",
        help="what the model remembers goes on from sample to sample of --data, as in a stream",
    )  # fmt: skip
    _add_widths(run)
    run.add_argument(
        "--label-offset", type=int, default=0, metavar="N",
        help="the class of a sample of --data is its label + N (1 where a model's class 0 is none)",
    )  # fmt: skip
    run.add_argument(
        "--resume", metavar="FILE",
        help="keep what is done of --data in FILE, and go on from it where it is there already",
    )  # fmt: skip
    run.add_argument(
        "--threads", type=int, metavar="N", help="for --data; default: one for each processor"
    )
    run.add_argument(
        "--activity", type=int, metavar="N", default=0,
        help="energy of multipliers by the values of the first N samples of --data, not by random ones",
    )  # fmt: skip
    run.add_argument("--layers", action="store_true", help="more columns for every layer")
    run.add_argument("--json", metavar="OUT", help="also write the result as JSON (- for stdout)")
    run.add_argument(
        "--trace", metavar="OUT",
        help="also write what every engine does when, for ui.perfetto.dev or chrome://tracing",
    )  # fmt: skip
    run.add_argument(
        "--dram-trace",
        metavar="OUT",
        help="also write every burst to and from DRAM, with its address",
    )
    run.add_argument(
        "--dram-trace-format", choices=["dramsim3", "ramulator2"], default="dramsim3",
        help="default: %(default)s",
    )  # fmt: skip
    _add_profile(run, "the one the file's format stands for")


def _add_scale(scale: argparse.ArgumentParser) -> None:
    scale.add_argument("model")
    scale.add_argument("--device", required=True, help="one core, and the DRAM that all share")
    scale.add_argument("--cores", default="1,2,4,8", metavar="N,N,...", help="default: %(default)s")
    scale.add_argument(
        "--shared-scratchpad", action="store_true",
        help="cores that divide an inference have one scratchpad together",
    )  # fmt: skip
    _add_point(scale)
    scale.add_argument("--figure", metavar="FILE", help="also draw it: .png, .svg or .pdf")
    add_json(scale)
    _add_profile(scale, "the one the file's format stands for")


def _add_power(power: argparse.ArgumentParser) -> None:
    power.add_argument("model")
    power.add_argument("--device", required=True)
    power.add_argument(
        "--points", type=int, metavar="N",
        help="so many operating points over the device's voltages, in place of those of its file",
    )  # fmt: skip
    power.add_argument(
        "--rate", type=float, metavar="R", help="inferences a second, asleep between them"
    )
    power.add_argument(
        "--tdp",
        type=float,
        metavar="W",
        help="watts that can be carried away, in place of the device's",
    )
    power.add_argument(
        "--trace", metavar="OUT", help="also write power over time at the first point, as CSV"
    )
    power.add_argument(
        "--intervals", type=int, default=200, metavar="N",
        help="of an inference, for its peak and --trace; default: %(default)s",
    )  # fmt: skip
    add_json(power)
    _add_profile(power, "the one the file's format stands for")


def _add_widths(run: argparse.ArgumentParser) -> None:
    """What takes the place of the device's and the model's own widths."""
    run.add_argument(
        "--weight-bits", type=int, metavar="N",
        help="2 to 8: requantize the model's weights to so many bits",
    )  # fmt: skip
    run.add_argument(
        "--accumulator-bits", type=int, metavar="N", help="8 to 64, in place of the device's"
    )
    run.add_argument(
        "--overflow", choices=["wrap", "saturate"], help="of accumulators, in place of the device's"
    )
    run.add_argument(
        "--psum-bits", type=int, metavar="N",
        help="8 to 64, of sums within the array, in place of the device's",
    )  # fmt: skip
    run.add_argument(
        "--precision-scaling", choices=["none", "fused", "bit_serial"],
        help="what PEs do with narrower operands, in place of what the device's do",
    )  # fmt: skip
    run.add_argument(
        "--prune", metavar="N:M",
        help="keep only the N largest of every M neighbouring weights, as in 2:4",
    )  # fmt: skip
    run.add_argument(
        "--sparsity", metavar="N:M", help="PEs skip weights that are 0 in this pattern"
    )
    run.add_argument(
        "--weight-codec", choices=["none", "bitmask", "entropy"],
        help="how weights are stored, in place of what the device does",
    )  # fmt: skip
    run.add_argument(
        "--accumulators", action="store_true",
        help="a table of how wide accumulators must be: on --data, and by proof from the weights",
    )  # fmt: skip


def _add_point(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--operating-point", metavar="NAME", help="default: the device's first")


def _add_profile(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--profile", metavar="NAME", help=f"arithmetic to compute in; default: {default}"
    )


def _add_verify(verify: argparse.ArgumentParser) -> None:
    verify.add_argument("model")
    verify.add_argument(
        "--against", metavar="NAME",
        help="litert, litert-xnnpack, litert-ruy, onnxruntime, qonnx, a profile, or rtl (one --layer, with "
        "its cycles); default: by the file's format",
    )  # fmt: skip
    verify.add_argument(
        "--layer", metavar="L",
        help="with --against rtl: a command's number, name or ofmap, as npusim compile prints them",
    )  # fmt: skip
    verify.add_argument("--device", default="edge-stick", help="default: %(default)s")
    verify.add_argument(
        "--samples", type=int, default=100, metavar="N", help="default: %(default)s"
    )
    verify.add_argument("--data", help="use these samples rather than random ones")
    verify.add_argument("--inputs", default="auto", help="how samples become codes, as for run")
    verify.add_argument("--seed", type=int, default=0, help="of the random inputs")
    verify.add_argument(
        "--explain", nargs=2, metavar=("NODE", "INDEX"),
        help="instead, how one element came about, step by step: --explain conv1/Relu 0,3,2,5",
    )  # fmt: skip
    verify.add_argument("--sample", type=int, metavar="N", help="of --explain; default: 0")
    verify.add_argument("--json", metavar="OUT", help="also write the comparison (- for stdout)")
    _add_profile(verify, "the runtime's, or the file's")
