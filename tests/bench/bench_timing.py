"""How long the two timing engines take for a network, once it is compiled.

    python tests/bench/bench_timing.py [MODEL] [--device D] [--side 32]

MODEL is a model file, a SCALE-Sim topology (by default ResNet-50, from the layers of the shared reference
reports) or a name of the catalogue. Prints the recurrence's time with and without making the plans of all
tiles, the event model's, and whether both say the same cycles.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from simulator.compiler import compile_graph
from simulator.hwconfig import load_device, with_array
from simulator.npu import load_model
from simulator.timing.events import simulate_plans
from simulator.timing.pipeline import time_plans, time_program
from simulator.timing.plan import pace_of, plan_program

REPEATS = 15
LAYERS = Path(__file__).parents[2].parent / "shared" / "reference" / "scalesim_layers.csv"


def median_s(run: Callable[[], object]) -> float:
    run()
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return sorted(found)[REPEATS // 2]


def resnet50(folder: str) -> Path:
    """SCALE-Sim's topology of ResNet-50, written from the shared reports on its layers."""
    keys = (
        "layer",
        "ifmap_h",
        "ifmap_w",
        "kernel_h",
        "kernel_w",
        "channels",
        "filters",
        "stride_h",
    )
    with LAYERS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["network"] == "Resnet50c"]
    path = Path(folder) / "resnet50.csv"
    header = "Layer,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides"
    path.write_text("\n".join([header, *(",".join(row[key] for key in keys) for row in rows)]))
    return path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?")
    parser.add_argument("--device", default="edge-stick")
    parser.add_argument("--side", type=int, default=32)
    args = parser.parse_args()
    device = with_array(load_device(args.device), rows=args.side, cols=args.side)
    point, pace = device.operating_point(), pace_of(device)
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(args.model or resnet50(folder))
    compile_graph(model, device)
    start = time.perf_counter()
    program = compile_graph(model, device)
    compiling = time.perf_counter() - start
    plans = plan_program(program, point)
    start = time.perf_counter()
    events = simulate_plans(plans, pace)
    event_s = time.perf_counter() - start
    cycles = time_plans(plans, pace).cycles
    tiles = sum(len(plan.tiles) for plan in plans)
    print(f"{model.name} on {args.side} x {args.side} of {args.device}: {len(plans)} commands, "
          f"{tiles} tiles, {cycles} cycles, both engines alike: {events.cycles == cycles}")  # fmt: skip
    print(f"compiling                  {compiling * 1e3:10.2f} ms")
    print(
        f"recurrence, plans included {median_s(lambda: time_program(program, point)) * 1e3:10.2f} ms"
    )
    print(f"recurrence alone           {median_s(lambda: time_plans(plans, pace)) * 1e3:10.2f} ms")
    print(f"event model                {event_s * 1e3:10.2f} ms")


if __name__ == "__main__":
    main()
