"""How fast cycles are counted: ``npusim scalesim`` and SCALE-Sim itself on the same files, whole processes.

    python tests/bench/bench_scalesim.py [--python PYTHON] [--networks Resnet18 ...]

PYTHON is one that has the package ``scalesim`` (it does not run with numpy 2.4 or later); without it, what
SCALE-Sim takes is not measured, only what we do. Networks are those of the shared reports, 128 x 128 PEs,
weight stationary. Prints CPU seconds and ratios; asserts only that the cycles of both are equal.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPORTS = Path(__file__).resolve().parents[2].parent / "shared/reference/scalesim_layers.csv"
ROWS = COLS = "128"
_SIZES = ("ifmap_h", "ifmap_w", "kernel_h", "kernel_w", "channels", "filters", "stride_h")
_HEADER = (
    "Layer, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
)
# How SCALE-Sim lays tensors out in banks, which this configuration does not look at.
_LAYOUT = ", ".join(
    ["1"] * 6 + [str(place) for place in (0, 1, 2, 4, 5, 3, 3, 2, 1, 0, 4, 5, 6, 7)]
)
_CONFIG = f"""[general]
run_name = bench
[architecture_presets]
ArrayHeight: {ROWS}
ArrayWidth: {COLS}
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: ws
MemoryBanks: 1
ReadRequestBuffer: 64
WriteRequestBuffer: 64
[layout]
IfmapCustomLayout: False
FilterCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


def layers_of(network: str) -> list[dict[str, str]]:
    with REPORTS.open(newline="") as file:
        found = [
            layer
            for layer in csv.DictReader(file)
            if layer["network"].lower() == network.lower()
            and (layer["array_rows"], layer["array_cols"], layer["dataflow"]) == (ROWS, COLS, "ws")
        ]
    if not found:
        raise SystemExit(f"no reports of {network}")
    return found


def cpu_seconds(command: list[str]) -> tuple[float, str]:
    """CPU time of a whole process and its children, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}: {ended.stderr.strip() or ended.stdout[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, ended.stdout


def counted_again(topology: Path, config: Path) -> float:
    """Median CPU seconds from the files to all cycles, kernels loaded."""
    from simulator.importers.scalesim import read_config, read_topology
    from simulator.timing.array_alone import array_report

    def count() -> None:
        array = read_config(config)
        for layer in read_topology(topology):
            array_report(layer.nest, array.dataflow, array.rows, array.cols)

    count()
    spent = []
    for _ in range(20):
        start = time.process_time()
        count()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--python")
    parser.add_argument("--networks", nargs="*", default=["Resnet18", "mobilenet"])
    args = parser.parse_args()
    for network in args.networks:
        layers = layers_of(network)
        with tempfile.TemporaryDirectory() as folder:
            topology, config = Path(folder, "net.csv"), Path(folder, "array.cfg")
            assert all(la["stride_h"] == la["stride_w"] for la in layers)  # it takes one
            lines = [f"{la['layer']}, {', '.join(la[s] for s in _SIZES)}," for la in layers]
            topology.write_text("\n".join([_HEADER, *lines, ""]))
            config.write_text(_CONFIG)
            own = [sys.executable, "-m", "simulator.cli", "scalesim", str(topology), str(config)]
            own += ["--json", "-"]
            cpu_seconds(own)  # compiles the kernels where they are not
            spent, shown = zip(*(cpu_seconds(own) for _ in range(5)), strict=True)
            ours, cycles = statistics.median(spent), json.loads(shown[0])["cycles"]
            reported = sum(int(la["total_cycles"]) - int(la["stall_cycles"]) for la in layers)
            assert cycles == reported, (cycles, reported)
            warm = counted_again(topology, config)
            print(
                f"{network}: {len(layers)} layers, {cycles:,} cycles as reported; ours {ours:.2f} s CPU, "
                f"nearly all of it Python's start; once started, files to cycles, {1e3 * warm:.2f} ms"
            )
            if args.python:
                layout = Path(folder, "layout.csv")
                lines = [f"{la['layer']}, {_LAYOUT}," for la in layers]
                layout.write_text("\n".join(["Layer,", *lines, ""]))
                files = ["-c", str(config), "-t", str(topology), "-l", str(layout), "-p", folder]
                theirs, _ = cpu_seconds([args.python, "-m", "scalesim.scale", *files, "-s", "N"])
                with next(Path(folder).rglob("COMPUTE_REPORT.csv")).open() as file:
                    rows = list(csv.DictReader(file, skipinitialspace=True))
                found = sum(int(row["Total Cycles"]) - int(row["Stall Cycles"]) for row in rows)
                assert found == cycles, (found, cycles)
                print(
                    f"  SCALE-Sim {theirs:.0f} s, the same cycles: {theirs / ours:.0f} times as long, and "
                    f"{theirs / warm:,.0f} times as long as ours once started"
                )


if __name__ == "__main__":
    main()
