"""Where the time of ``npusim run`` goes: cold processes, with an empty and with a filled kernel cache.

    python tests/bench/bench_run.py [MODEL] [--device wear] [--runs 5]

Prints medians; asserts nothing, since a wall time says as much about the machine as about the program.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESNET = ROOT.parent / "shared/data/mlperf_tiny/pretrainedResnet_quant.tflite"

# Runs in a process of its own; ``sys.argv[1:]`` is model, device and how often to repeat.
PARTS = """
import json, sys, time
marks = [("", time.perf_counter())]
def mark(name):
    marks.append((name, time.perf_counter()))
model_name, device_name, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
import numpy
mark("import numpy")
import numba
mark("import numba")
import simulator
mark("import simulator")
import pydantic
mark("import pydantic")
from simulator.hwconfig import load_device
mark("import simulator.hwconfig")
from simulator.compiler import compile_graph
from simulator.energy.counts import count_program
from simulator.energy.model import EnergyModel
from simulator.npu import load_model, simulate
from simulator.report.text import run_report
from simulator.timing.pipeline import time_program
mark("import simulator.npu, report")
from simulator.fixedpoint.width import ceil_div
ceil_div(3, 2)
mark("first kernel (numba sets itself up)")
device = load_device(device_name)
mark("load device")
for turn in range(repeats):
    first = "first" if turn == 0 else "again"
    marks.append(("", time.perf_counter()))
    model = load_model(model_name)
    mark(f"{first}: import the model")
    point = device.operating_point()
    program = compile_graph(model, device, point)
    mark(f"{first}: compile")
    timing = time_program(program, point)
    mark(f"{first}: timing")
    counts = count_program(program, point)
    energy = EnergyModel(device, point)
    for c, t in zip(counts, timing.commands):
        energy.command_pj(c, t.cycles)
    mark(f"{first}: energy")
    result = simulate(model, device)
    mark(f"{first}: simulate (compile, timing, energy)")
    run_report(result, False)
    mark(f"{first}: report")
spent = {}
for (_, before), (name, after) in zip(marks, marks[1:]):
    if name:
        spent.setdefault(name, []).append(after - before)
print(json.dumps(spent))
"""


def environment(cache: str) -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "NPUSIM_CACHE_DIR": cache,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def wall_s(arguments: list[str], cache: str) -> float:
    """Seconds of one process from its start to its end."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], env=environment(cache), check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begin


def parts_s(model: str, device: str, repeats: int, cache: str) -> dict[str, float]:
    """Seconds of each part inside one process; medians where a part came more than once."""
    done = subprocess.run(
        [sys.executable, "-c", PARTS, model, device, str(repeats)],
        env=environment(cache), check=True, capture_output=True, text=True,
    )  # fmt: skip
    return {name: statistics.median(times) for name, times in json.loads(done.stdout).items()}


def row(name: str, seconds: list[float]) -> None:
    spread = f"{min(seconds) * 1e3:9.1f} .. {max(seconds) * 1e3:9.1f}" if len(seconds) > 1 else ""
    print(f"{name:<46}{statistics.median(seconds) * 1e3:11.1f}  {spread}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    default = str(RESNET) if RESNET.is_file() else "digits"
    parser.add_argument("model", nargs="?", default=default, help="default: %(default)s")
    parser.add_argument("--device", default="wear")
    parser.add_argument("--runs", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    run = ["-m", "simulator.cli", "run", args.model, "--device", args.device]
    print(
        f"npusim run {Path(args.model).name} --device {args.device}: medians of {args.runs}, in ms"
    )
    print(f"{'':<46}{'median':>11}  {'least':>9} .. {'most':>9}")
    with tempfile.TemporaryDirectory() as cache:
        row("whole command, empty kernel cache (once)", [wall_s(run, cache)])
        row("whole command, kernels cached", [wall_s(run, cache) for _ in range(args.runs)])
        row("python -c pass", [wall_s(["-c", "pass"], cache) for _ in range(args.runs)])
        imports = [wall_s(["-c", "import simulator"], cache) for _ in range(args.runs)]
        row("python -c 'import simulator'", imports)
        print(f"  import simulator in under 1 s: {'yes' if max(imports) < 1 else 'NO'}")
        found = [parts_s(args.model, args.device, 8, cache) for _ in range(args.runs)]
    print("\nin one process, kernels cached; 'again' is warm")
    for name in found[0]:
        row(f"  {name}", [parts[name] for parts in found])
    warm = ("import the model", "compile", "timing", "energy", "report")
    row("  the model part, warm", [sum(parts[f"again: {p}"] for p in warm) for parts in found])


if __name__ == "__main__":
    main()
