"""Make the float MobileNets: train them on CIFAR-10 and write them as ONNX files with their batch norms.

    python cifar10.py --out DATA
    python make_mobilenets.py --data DATA

writes `mobilenet_v1.onnx` and `mobilenet_v2.onnx` into this folder; a quarter of an hour to an hour for
each on one core.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from mobilenets_network import NETWORKS, PIXEL_SCALE, PIXEL_ZERO, train, write_onnx

from simulator.quantizing import float_top1, input_params, load_float_model
from simulator.workload import Dataset

SEED, EPOCHS = 0, 20


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the float MobileNets.")
    parser.add_argument("--data", type=Path, required=True, help="where cifar10_*.npz are")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="target folder")
    parser.add_argument("--network", choices=list(NETWORKS), help="only this one")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    args = parser.parse_args()
    torch.set_num_threads(1)  # small layers; two processes use two cores better than one
    known, unknown = (np.load(args.data / f"cifar10_{s}.npz") for s in ("train", "test"))
    test = Dataset("test", unknown["x"], unknown["y"])
    params = input_params(test.x, PIXEL_SCALE, PIXEL_ZERO)
    for name in [args.network] if args.network else NETWORKS:
        net = train(name, known["x"], known["y"], args.epochs, SEED, print)
        path = args.out / f"{name}.onnx"
        write_onnx(net, path, name)
        top1 = float_top1(load_float_model(path), test, params)
        print(f"{path}: {100 * top1:.2f} % of the test set")


if __name__ == "__main__":
    main()
