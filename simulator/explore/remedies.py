"""The two families of Bae et al. (arXiv 2210.03671), each with and without each of its remedies.

Every run trains one float model on what its quantized file computes, with one width of weights, set of
remedies and seed, and scores the quantized model on the datapath. All scales are powers of two, one for
each layer's weights and one for each tensor of activations, those as calibrated: a device needs a shift and
no multiplier behind its array, and nothing but the weights' quantizer differs between runs. Batch norms are
folded and channels equalized first; without that no one scale fits all channels of a depthwise layer. A run
is a file, and a study goes on from those it finds.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.errors import DataError, UsageError
from simulator.explore._choice import named
from simulator.files import write_text
from simulator.graph import Graph
from simulator.importers._check import check_graph
from simulator.npu import exact_device, simulate
from simulator.quantization.equalization import PRODUCTS
from simulator.quantization.post_training import prepared
from simulator.quantization.scheme import Scheme
from simulator.quantizers.msqe import outlier_mask, solve
from simulator.quantizing import (
    float_top1,
    input_params,
    input_rule,
    load_float_model,
    quantize_graph,
    real_samples,
)
from simulator.result import LayerExponents, RemedyEffect, RemedyRun
from simulator.tensor import QuantParams
from simulator.workload import Dataset, load_dataset

if TYPE_CHECKING:
    from simulator.training.network import QuantizedNetwork
    from simulator.training.train import Training

Progress = Callable[[int], object]
_SCHEMA_VERSION = 1
_EDGE_BITS = 8
_CALIBRATION_SAMPLES = 256


@dataclass(frozen=True)
class Variant:
    """A set of remedies. ``base``: the variant that lacks what ``adds`` names, and is the same besides."""

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""
    adds: str = ""

    @property
    def trained(self) -> bool:
        return self.method != UNTRAINED


UNTRAINED = "untrained"
_NONE = {"outlier_mask": False, "second_moment": False, "stable": False, "rounding": "ceil"}
_LOWER = {**_NONE, "rounding": "msqe"}
_ALL = {"outlier_mask": True, "second_moment": True, "stable": True, "rounding": "msqe"}


def _family(method: str, start: Mapping[str, Any], base: str) -> tuple[Variant, ...]:
    """``base`` has the settings ``start``; what each remedy adds to it, and all of them together."""
    return (
        Variant(f"{method}+mask", method, {**start, "outlier_mask": True}, base, "outlier mask"),
        Variant(f"{method}+moment", method, {**start, "second_moment": True}, base, "second moment"),
        Variant(f"{method}+stable", method, {**start, "stable": True}, base, "stable exponent"),
        Variant(f"{method}+all", method, _ALL, method, "all"),
    )  # fmt: skip


# The gradient-based family rounds to the lower error where a mask or weights of errors are to tell.
VARIANTS = (
    Variant(UNTRAINED, UNTRAINED),
    Variant("lsq", "lsq"),
    Variant("msqe", "msqe", _NONE),
    *_family("msqe", _NONE, "msqe"),
    Variant("gradient", "gradient", _NONE),
    Variant("gradient+lower", "gradient", _LOWER, "gradient", "lower error"),
    *_family("gradient", _LOWER, "gradient+lower"),
)


def variants_named(names: Sequence[str]) -> list[Variant]:
    """Variants by name, in the order given; all of them by default."""
    return named("variant", names, VARIANTS)


@dataclass(frozen=True)
class Study:
    """What is trained: ``models`` and sets by path; ``samples`` and ``scored``: so many, the first, are
    trained and scored on; what is not told of runs is the same for all of them."""

    models: tuple[str, ...]
    data: str
    test: str
    input_scale: float | None = None
    input_zero_point: int | None = None
    samples: int | None = None
    scored: int | None = None
    variants: tuple[str, ...] = ()
    bits: tuple[int, ...] = (8, 4, 3, 2)
    seeds: int = 3
    epochs: int = 2
    batch: int = 64
    learning_rate: float = 1e-3
    scale_rate: float = 1e-2

    def __post_init__(self) -> None:
        variants_named(self.variants)
        if self.seeds < 1:
            raise UsageError("seeds", str(self.seeds), "at least 1")
        for what, value in (("samples", self.samples), ("scored", self.scored)):
            if value is not None and value < 1:
                raise UsageError(what, str(value), "at least 1")
        if not self.bits or not all(2 <= b <= 8 for b in self.bits):
            raise UsageError("bits", ", ".join(map(str, self.bits)) or "none", "of 2 to 8")
        names = [Path(m).stem for m in self.models]
        if len(set(names)) < len(names):
            raise UsageError("models", ", ".join(names), "of different names")

    def jobs(self) -> list[Job]:
        """All runs, those of one seed after those of another, so that what is done first is a whole."""
        chosen = variants_named(self.variants)
        return [
            Job(self, model, bits, variant, seed)
            for seed in range(self.seeds)
            for model in self.models
            for bits in self.bits
            for variant in chosen
            if variant.trained or seed == 0
        ]


@dataclass(frozen=True)
class Job:
    """One run of a study."""

    study: Study
    model: str
    bits: int
    variant: Variant
    seed: int

    @property
    def file(self) -> str:
        return f"{Path(self.model).stem}-{self.bits}-{self.variant.name}-{self.seed}.json"

    def training(self) -> Training:
        from simulator.training.train import Training
        from simulator.training.weights import POWERS_OF_TWO, Remedies

        study, variant = self.study, self.variant
        # Of exponents; a step of a scale itself would be a large part of it.
        rate = study.scale_rate if variant.method in POWERS_OF_TWO else None
        return Training(
            variant.method, self.bits, "tensor", "static", _EDGE_BITS, study.epochs, study.batch,
            study.learning_rate, seed=self.seed, remedies=Remedies(**variant.settings),
            activation_scale="power_of_two", equalize=True, scale_rate=rate, threads=1,
            stable_from=0.5,
        )  # fmt: skip

    def scheme(self) -> Scheme:
        """Of the quantized model that is not trained."""
        return Scheme(
            "msqe", self.bits, "tensor", scale="power_of_two", activation_limits="mse",
            edge_bits=_EDGE_BITS, equalize=True,
        )  # fmt: skip

    def key(self) -> str:
        """Everything that a run's outcome hangs on."""
        how = asdict(self.training()) if self.variant.trained else _plain(self.scheme())
        given = _material(self.study, self.model)
        said = {
            "schema_version": _SCHEMA_VERSION, "how": how, "model": given.graph.sha256,
            "data": given.digest,
        }  # fmt: skip
        return json.dumps(said, sort_keys=True)


def _plain(scheme: Scheme) -> dict[str, Any]:
    return {**vars(scheme), "layer_bits": dict(scheme.layer_bits)}


@dataclass(frozen=True, eq=False)
class _Material:
    """A float model and the sets it is trained and scored on, as they are read from files."""

    graph: Graph
    data: Dataset
    test: Dataset
    params: QuantParams | None
    digest: str


@cache
def _set(path: str, first: int | None) -> Dataset:
    data = load_dataset(path)
    return Dataset(data.name, np.array(data.x[:first]), data.y[:first])


@cache
def _material(study: Study, model: str) -> _Material:
    data, test = _set(study.data, study.samples), _set(study.test, study.scored)
    if data.x.dtype != test.x.dtype or data.x.shape[1:] != test.x.shape[1:]:
        problem = f"samples are {test.x.dtype} of {list(test.x.shape[1:])}"
        raise DataError(test.name, problem, f"{data.x.dtype} of {list(data.x.shape[1:])}")
    params = input_params(data.x, study.input_scale, study.input_zero_point)
    digest = hashlib.sha256(repr(params).encode())
    for values in (data.x, data.y, test.x, test.y):
        digest.update(np.ascontiguousarray(values).data)
    return _Material(load_float_model(model), data, test, params, digest.hexdigest())


def run_study(
    study: Study, folder: Path, processes: int = 1, progress: Progress | None = None
) -> list[RemedyRun]:
    """All runs of ``study``, in its order; those that lie in ``folder`` are taken from there.

    ``processes``: so many runs at a time, each on one thread, with the same outcome. ``progress`` is called
    with the number of runs just done or found.
    """
    if processes < 1:
        raise UsageError("processes", str(processes), "at least 1")
    if not folder.is_dir():
        raise UsageError(str(folder), "there is no such folder", "a folder to keep runs in")
    tell = progress or (lambda runs: None)
    jobs = study.jobs()
    for job in jobs:
        if job.variant.trained:
            job.training()  # an error now where its settings are none
    known = {job.file: _kept(folder / job.file, job) for job in jobs}
    missing = [job for job in jobs if known[job.file] is None]
    tell(len(jobs) - len(missing))
    if missing:
        with _pool(min(processes, len(missing))) as pool:
            started: dict[Future[RemedyRun], Job] = {pool.submit(_run, job): job for job in missing}
            for done in as_completed(started):
                job = started[done]
                known[job.file] = run = done.result()
                _keep(folder / job.file, job, run)
                tell(1)
    return [run for job in jobs if (run := known[job.file]) is not None]


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one, however that ends."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _quiet)
    try:
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def _quiet() -> None:
    """Ctrl-C is for the process that has started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _kept(path: Path, job: Job) -> RemedyRun | None:
    if not path.exists():
        return None
    allowed = "a file that an earlier run of the same study has written"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        key, run = found["key"], RemedyRun.from_dict(found["run"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(str(path), f"cannot be read: {error}", allowed) from None
    if key != job.key():
        raise UsageError(str(path), "is of another model, training or data set", allowed)
    return run


def _keep(path: Path, job: Job, run: RemedyRun) -> None:
    content = {"key": job.key(), "run": asdict(run)}
    write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _run(job: Job) -> RemedyRun:
    given = _material(job.study, job.model)
    started = RemedyRun(
        Path(job.model).stem, job.bits, job.variant.name, job.seed,
        float_top1=_float_top1(job.study, job.model), top1=0.0,
    )  # fmt: skip
    if not job.variant.trained:
        x = given.data.x[:_CALIBRATION_SAMPLES]
        made = quantize_graph(given.graph, x, job.scheme(), "onnxruntime", given.params)
        return replace(started, top1=_top1(made.graph, given.test))
    from simulator.training.train import Lesson, train

    lesson = Lesson(real_samples(given.data.x, given.params), given.data.y, given.params)
    net = train(given.graph, lesson, job.training())
    return replace(
        started, top1=_top1(check_graph(net.quantized()), given.test), layers=_layers(net)
    )


@cache
def _float_top1(study: Study, model: str) -> float:
    given = _material(study, model)
    return float_top1(given.graph, given.test, given.params)


def _top1(graph: Graph, test: Dataset) -> float:
    result = simulate(graph, exact_device(), test, inputs=input_rule(graph, test.x), threads=1)
    assert result.accuracy is not None
    return result.accuracy.top1


def _layers(net: QuantizedNetwork) -> tuple[LayerExponents, ...]:
    """How each layer's exponent moved, of layers that have one."""
    from simulator.training.weights import Exponents

    found = []
    for layer in net.layers():
        quantizer = layer.quantizer
        if not isinstance(quantizer, Exponents) or not quantizer.history:
            continue
        history = np.array(quantizer.history)[:, 0]
        later = history[len(history) // 2 :]
        weights = layer.written()[0].numpy()
        step = float(np.exp2(history[-1]))
        most = (1 << (quantizer.bits - 1)) - 1
        found.append(LayerExponents(
            layer.node.name, float(history[0]), float(history[-1]),
            changes=float((np.diff(history) != 0).mean()) if len(history) > 1 else 0.0,
            deviation=float(later.std()),
            clipped=float((np.abs(weights) > (most + 0.5) * step).mean()),
        ))  # fmt: skip
    return tuple(found)


def outlier_shifts(graph: Graph, bits: Sequence[int]) -> dict[str, dict[int, int]]:
    """Layer -> bits -> by how much an exponent of least squared error is greater for all weights of float
    ``graph``, made ready as for training, than for those within two standard deviations: what outliers do
    to a scale."""
    found: dict[str, dict[int, int]] = {}
    graph = prepared(graph, Scheme(equalize=True))
    for node in graph.nodes:
        if node.operator not in PRODUCTS:
            continue
        flat = graph.constants[node.inputs[1]].astype(np.float64).reshape(-1)
        found[node.name] = {
            b: solve(flat, b).exponent - solve(flat, b, outlier_mask(flat)).exponent for b in bits
        }
    return found


def effects(runs: Sequence[RemedyRun]) -> list[RemedyEffect]:
    """What each remedy does, of those that ``runs`` have with and without it."""
    of = {(r.variant, r.bits, r.model, r.seed): r.top1 for r in runs}
    found = []
    for variant in VARIANTS:
        for bits in sorted({r.bits for r in runs}, reverse=True):
            gains = np.array([
                top1 - of[variant.base, bits, model, seed]
                for (name, width, model, seed), top1 in of.items()
                if (name, width) == (variant.name, bits) and (variant.base, bits, model, seed) in of
            ])  # fmt: skip
            if gains.size:
                error = (
                    float(gains.std(ddof=1) / np.sqrt(gains.size)) if gains.size > 1 else math.nan
                )
                found.append(RemedyEffect(
                    variant.name, variant.base, variant.adds, bits, int(gains.size),
                    float(gains.mean()), error, int((gains > 0).sum()),
                ))  # fmt: skip
    return found
