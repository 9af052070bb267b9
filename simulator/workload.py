"""Models and data sets by name or path: what ships under ``workloads/``, what the catalogue knows how
to fetch, and files of the user's."""

from __future__ import annotations

import hashlib
import math
import os
import tomllib
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from simulator.errors import DataError, ModelError
from simulator.resources import data_folder

FOLDER_VARIABLE = "NPUSIM_WORKLOADS"
_MAPPED_BYTES = 1 << 24  # of samples from which on they stay in their file
_CHECKED = 1 << 20  # numbers at a time


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue; ``url`` is empty for a model that ships with the package. ``data``:
    labelled images that ship with it, ``samples``: others, without labels."""

    name: str
    title: str
    file: str
    url: str
    sha256: str
    licence: str
    data: str
    samples: str = ""


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
        problem = "is a folder" if path.is_dir() else "no such file or model"
        allowed = f"the path of a .tflite file, or one of {', '.join(catalogue())}"
        raise ModelError(text, problem, allowed)
    return path


def _catalogue_file(entry: Entry) -> Path:
    shipped = data_folder("workloads") / entry.file
    if not entry.url:
        return _checked(shipped, entry)
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        if not Path(folder).is_dir():
            raise ModelError(f"${FOLDER_VARIABLE}", f"there is no folder {folder!r}", "a folder")
        found = sorted(Path(folder).rglob(Path(entry.file).name))
        if found:
            # Another file of that name may lie beside the right one: complain of it only alone.
            return _checked(next((p for p in found if _digest(p) == entry.sha256), found[0]), entry)
    return _fetched(entry)


def _checked(path: Path, entry: Entry) -> Path:
    digest = _digest(path)
    if digest != entry.sha256:
        raise ModelError(str(path), f"SHA-256 {digest}", f"{entry.sha256} ({entry.name})")
    return path


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(str(path), f"cannot be read: {error.strerror}") from None


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


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled samples: ``x`` (samples, ...) and integer labels ``y`` (samples,), at least one."""

    name: str
    x: np.ndarray
    y: np.ndarray

    def __post_init__(self) -> None:
        x, y = self.x, self.y
        if x.dtype.kind not in "iuf":
            raise DataError(self.name, f"x is {x.dtype}", "integers or floats")
        if x.ndim < 2 or x.size == 0:
            raise DataError(
                self.name, f"x has shape {list(x.shape)}", "(samples, ...), none of them 0"
            )
        if y.shape != (x.shape[0],) or y.dtype.kind not in "iu":
            raise DataError(
                self.name, f"y is {y.dtype} of shape {list(y.shape)}",
                f"one integer per sample: shape [{x.shape[0]}]",
            )  # fmt: skip
        some = max(1, _CHECKED // x[0].size)
        parts = (x[i : i + some] for i in range(0, x.shape[0], some))
        if x.dtype.kind == "f" and not all(np.isfinite(part).all() for part in parts):
            raise DataError(self.name, "x holds NaN or infinity", "finite numbers")


def load_dataset(name_or_path: str | Path) -> Dataset:
    """A data set by path (``.npz`` with ``x`` and ``y``), or by the name of a model that has one."""
    text = str(name_or_path)
    entry = catalogue().get(text)
    path = data_folder("workloads") / entry.data if entry and entry.data else Path(name_or_path)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "no such file or data set"
        allowed = "the path of an .npz file with x and y, or one of " + ", ".join(
            e.name for e in catalogue().values() if e.data
        )
        raise DataError(text, problem, allowed)
    return Dataset(path.name, *_arrays(path))


def sample_axes(given: tuple[int, ...], wanted: tuple[int, ...], where: str) -> tuple[int, ...]:
    """The order of a sample's axes in which they are those of an input of shape ``wanted``.

    Axes of 1 do not count, and a sample may be flat. An image whose channels come last is brought to an
    input that has them first, and the other way around.
    """
    ours, theirs = ([d for d in shape if d != 1] for shape in (given, wanted))
    same = tuple(range(len(given)))
    if ours == theirs or (len(ours) <= 1 and math.prod(given) == math.prod(wanted)):
        return same
    if len(given) == 3:
        for order in ((2, 0, 1), (1, 2, 0)):
            if [given[a] for a in order] == list(wanted[-3:]) and math.prod(wanted[:-3]) == 1:
                return order
    allowed = f"{list(wanted)}, its {math.prod(wanted)} elements in a row, channels first or last"
    raise DataError(where, f"a sample has shape {list(given)}", allowed)


def samples_as(x: np.ndarray, wanted: tuple[int, ...], where: str) -> np.ndarray:
    """``x`` (samples, ...) as (samples, *wanted), its axes in the order of :func:`sample_axes`."""
    order = sample_axes(x.shape[1:], wanted, where)
    turned = x.transpose(0, *(1 + a for a in order))
    return turned.reshape(x.shape[0], *wanted)


# What a damaged archive raises in zipfile, zlib and numpy's reader of .npy headers.
_DAMAGED = (
    OSError, ValueError, EOFError, LookupError, SyntaxError, RuntimeError, MemoryError, TypeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def load_samples(name_or_path: str | Path) -> np.ndarray:
    """Unlabelled samples (samples, ...): array x of an ``.npz`` file, an ``.npy`` file, or those that ship
    with a model, by its name."""
    entry = catalogue().get(str(name_or_path))
    shipped = (entry.samples or entry.data) if entry else ""
    path = data_folder("workloads") / shipped if shipped else Path(name_or_path)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "no such file or data set"
        raise DataError(str(name_or_path), problem, "an .npz file with x, or an .npy file")
    if path.suffix.lower() == ".npy":
        try:
            with open(path, "rb") as file:
                x = np.load(file, allow_pickle=False)
        except _DAMAGED as error:
            raise DataError(str(path), f"cannot be read: {error}", "an .npy file") from None
    else:
        (x,) = _arrays(path, ("x",))
    if x.dtype.kind not in "iuf" or x.ndim < 2 or x.size == 0:
        given = f"x is {x.dtype} of shape {list(x.shape)}"
        raise DataError(path.name, given, "numbers of shape (samples, ...), none of them 0")
    return x


def _arrays(path: Path, names: tuple[str, ...] = ("x", "y")) -> list[np.ndarray]:
    """Arrays x and y of an .npz file; pickled objects are refused.

    Large samples that are not compressed stay in the file and are read as they are needed.
    """
    wanted = f"an .npz file with {'arrays x and y' if len(names) > 1 else 'an array x'}"
    if not zipfile.is_zipfile(path):
        raise DataError(str(path), "is not an .npz file", wanted)
    try:
        # Opened here: numpy leaves a file open that turns out to be damaged.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            held = ", ".join(sorted(found.files)) or "nothing"
            if set(names) <= set(found.files):
                mapped = _mapped(path)
                read = [found[n] if mapped is None or n != "x" else mapped for n in names]
                if all(isinstance(values, np.ndarray) for values in read):
                    return read
                held = f"{' and '.join(names)}, but not as arrays"
    except _DAMAGED as error:
        raise DataError(str(path), f"cannot be read: {error}", wanted) from None
    raise DataError(str(path), f"holds {held}", "arrays x and y" if len(names) > 1 else "array x")


def _mapped(path: Path) -> np.ndarray | None:
    """Array x where it lies in the file; None where it is small, compressed or not of plain numbers."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("x.npy")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size < _MAPPED_BYTES:
            return None
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                return None
            shape, in_columns, dtype = read(member)
            header_bytes = member.tell()
            while member.read(1 << 20):  # to its end, where its checksum is compared
                pass
    if dtype.hasobject or in_columns:
        return None
    with open(path, "rb") as file:
        file.seek(
            info.header_offset + 26
        )  # of the local header: the lengths of name and extra field
        name_bytes, extra_bytes = np.frombuffer(file.read(4), "<u2").tolist()
    start = info.header_offset + 30 + name_bytes + extra_bytes + header_bytes
    return np.memmap(path, dtype, "r", start, shape)
