"""Whole labelled sets through ``npusim run``: time and peak memory of the process, start-up included.

    python tests/bench/bench_sets.py [--device edge-stick] [--threads 2]

The first run of a set fills the kernel cache and is not counted. Prints; asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

DATA = Path(__file__).resolve().parents[2].parent / "shared/data"
SETS = [
    ("mlperf_tiny/pretrainedResnet_quant.tflite", "cifar10_test_first2000.npz", 0),
    ("mlperf_tiny/kws_ref_model.tflite", "kws01.npz", 0),
    ("coral/tf2_mobilenet_v2_1.0_224_ptq.tflite", "imagenet_samples_125_224.npz", 1),
]


def measured(arguments: list[str]) -> tuple[float, float, str]:
    """(seconds, MiB at the most, what was printed)."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator.cli", "run", *arguments],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.perf_counter() - start, usage.ru_maxrss / 1024, text


def main() -> None:
    parser = argparse.ArgumentParser(description="Labelled sets: time and peak memory.")
    parser.add_argument("--device", default="edge-stick")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for model, labelled, offset in SETS:
        if not (DATA / model).is_file():
            print(f"{model}: not in this checkout")
            continue
        arguments = [
            str(DATA / model), "--device", options.device, "--data", str(DATA / "labelled" / labelled),
            "--label-offset", str(offset), "--threads", str(options.threads),
        ]  # fmt: skip
        measured(arguments)
        seconds, most, text = measured(arguments)
        accuracy = next(x for x in text.splitlines() if x.startswith("accuracy"))
        print(f"{Path(model).stem}: {seconds:.1f} s, {most:.0f} MiB; {accuracy.split(None, 1)[1]}")


if __name__ == "__main__":
    main()
