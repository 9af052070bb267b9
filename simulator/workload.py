"""Models and data sets by name or path: what ships under ``workloads/``, what the catalogue knows how
to fetch, and files of the user's."""

from __future__ import annotations

import os
import tomllib
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import DataError, ModelError
from simulator.resources import data_folder

FOLDER_VARIABLE = "NPUSIM_WORKLOADS"


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue; ``url`` is empty for a model that ships with the package."""

    name: str
    title: str
    file: str
    url: str
    sha256: str
    licence: str
    data: str


@cache
def catalogue() -> dict[str, Entry]:
    """Models by name, from ``workloads/catalogue.toml``."""
    text = (data_folder("workloads") / "catalogue.toml").read_text(encoding="utf-8")
    return {
        name: Entry(name=name, **{"url": "", "data": "", **values})
        for name, values in tomllib.loads(text)["models"].items()
    }


def model_path(name_or_path: str | Path) -> Path:
    """The file of a model: a path as given, or a catalogue name, fetched if need be.

    A catalogue model is looked for in the package, then in the folder ``$NPUSIM_WORKLOADS`` (by file
    name, anywhere below it), then fetched from its upstream address into the user's cache. What is
    found is checked against the catalogue's SHA-256.
    """
    text = str(name_or_path)
    if text in catalogue():
        return _catalogue_file(catalogue()[text])
    path = Path(name_or_path)
    if not path.is_file():
        allowed = f"the path of a .tflite file, or one of {', '.join(catalogue())}"
        raise ModelError(text, "no such file or model", allowed)
    return path


def _catalogue_file(entry: Entry) -> Path:
    shipped = data_folder("workloads") / entry.file
    if not entry.url:
        return _checked(shipped, entry)
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        found = sorted(Path(folder).rglob(Path(entry.file).name))
        if found:
            return _checked(found[0], entry)
    return _fetched(entry)


def _checked(path: Path, entry: Entry) -> Path:
    import hashlib

    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(str(path), f"cannot be read: {error.strerror}") from None
    if digest != entry.sha256:
        raise ModelError(str(path), f"SHA-256 {digest}", f"{entry.sha256} ({entry.name})")
    return path


def _fetched(entry: Entry) -> Path:
    import pooch

    try:
        fetched = pooch.retrieve(
            entry.url, f"sha256:{entry.sha256}", fname=Path(entry.file).name,
            path=pooch.os_cache("npusim") / "workloads", progressbar=False,
        )  # fmt: skip
    except Exception as error:  # pooch lets every kind of network error through
        raise ModelError(
            entry.name, f"cannot be fetched from {entry.url}: {error}",
            f"a network, or ${FOLDER_VARIABLE} set to a folder that holds {Path(entry.file).name}",
        ) from None  # fmt: skip
    return Path(fetched)


@dataclass(frozen=True)
class Dataset:
    """Labelled samples: ``x`` (samples, ...) and integer labels ``y`` (samples,)."""

    name: str
    x: np.ndarray
    y: np.ndarray


def load_dataset(name_or_path: str | Path) -> Dataset:
    """A data set by path (``.npz`` with ``x`` and ``y``), or by the name of a model that has one."""
    text = str(name_or_path)
    entry = catalogue().get(text)
    path = data_folder("workloads") / entry.data if entry and entry.data else Path(name_or_path)
    if not path.is_file():
        allowed = "the path of an .npz file with x and y, or one of " + ", ".join(
            e.name for e in catalogue().values() if e.data
        )
        raise DataError(text, "no such file or data set", allowed)
    arrays = _arrays(path)
    missing = [k for k in ("x", "y") if k not in arrays]
    if missing:
        raise DataError(str(path), f"holds {sorted(arrays) or 'no arrays'}", "arrays x and y")
    return Dataset(path.name, *_samples(path, arrays["x"], arrays["y"]))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as found:
            if not hasattr(found, "files"):
                raise DataError(str(path), "is a single array", "an .npz file with x and y")
            return {k: found[k] for k in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(str(path), f"cannot be read: {error}", "an .npz file") from None


def _samples(path: Path, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    if x.ndim < 2 or x.shape[0] == 0:
        raise DataError(str(path), f"x has shape {list(x.shape)}", "(samples, ...), at least one")
    if y.shape != (x.shape[0],) or y.dtype.kind not in "iu":
        raise DataError(
            str(path), f"y is {y.dtype} of shape {list(y.shape)}", f"integers, ({x.shape[0]},)"
        )
    if x.dtype.kind not in "iuf":
        raise DataError(str(path), f"x is {x.dtype}", "integers or floats")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise DataError(str(path), "x holds NaN or infinity", "finite numbers")
    return x, y.astype(np.int64)
