"""How far the tiles that the compiler finds are from the best of all, and how long it looks for them.

    python tests/bench/bench_mapper.py [--most 4000]

Small layers on small devices, every choice of tiles and order that fits timed by the exact recurrence.
Prints the cycles of the choice made over those of the best one, and the time of both searches.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tile_choices import DEVICES, LAYERS, choices, with_nest

from simulator.compiler import compile_graph
from simulator.timing.pipeline import time_program


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=4000, help="choices timed of one layer")
    most = parser.parse_args().most
    gaps, ours, theirs = [], 0.0, 0.0
    for device_name, device in DEVICES.items():
        for layer_name, layer in LAYERS.items():
            compile_graph(layer, device)
            start = time.perf_counter()
            program = compile_graph(layer, device)
            ours += time.perf_counter() - start
            point = device.operating_point()
            chosen = time_program(program, point).cycles
            others = list(choices(program))
            picked = np.random.default_rng(0).permutation(len(others))[:most]
            start = time.perf_counter()
            best = min(time_program(with_nest(program, others[i]), point).cycles for i in picked)
            theirs += time.perf_counter() - start
            gaps.append(chosen / min(best, chosen))
            print(
                f"{device_name:18} {layer_name:10} {len(picked):5} of {len(others):6} choices: "
                f"{chosen:8} cycles, the best {best:8}, {gaps[-1]:.3f}"
            )
    print(
        f"\n{len(gaps)} cases: {np.mean(gaps):.3f} of the best on average, {max(gaps):.3f} at most; "
        f"{1e3 * ours / len(gaps):.1f} ms a layer, everything else of compiling included, against "
        f"{1e3 * theirs / len(gaps):.0f} ms"
    )


if __name__ == "__main__":
    main()
