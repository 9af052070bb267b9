"""Crosschecks: our values against another side's, tensor by tensor and element by element.

The other side is a reference runtime (one file each, named in ``runtimes``), or another numeric profile
of our own on a device without limits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.crosscheck.compare import compare
from simulator.crosscheck.explanation import explain_element
from simulator.crosscheck.inputs import data_inputs, random_inputs
from simulator.crosscheck.runtimes import RUNTIMES, Entry, other_side
from simulator.crosscheck.sides import Reference, Side, Simulated, in_other_profile
from simulator.errors import UsageError
from simulator.graph import Graph
from simulator.hwconfig import Device
from simulator.npu import compile, in_profile, load_model
from simulator.result import ElementExplanation, Verification
from simulator.workload import Dataset, model_path

__all__ = ["RUNTIMES", "explain", "verify"]

Progress = Callable[[int], object]


@dataclass(frozen=True)
class _Setting:
    """Both sides, made ready. ``profile`` is the other side's, '' where it has none."""

    graph: Graph
    ours: Simulated
    other: Side
    against: str
    profile: str


def _setting(
    model: str | Path, device: Device, against: str | None, profile: str | None
) -> _Setting:
    """Our side computes in ``profile``; by default in the runtime's own, or in the file's."""
    path = model_path(model)
    graph = load_model(path)
    chosen = other_side(against, path, graph.profile)
    graph = in_profile(graph, profile)
    if isinstance(chosen, Entry):
        if profile is None:
            graph = in_profile(graph, chosen.profile or None)
        ours = Simulated(compile(graph, device))
        other: Side = Reference(graph, chosen, chosen.open(path))
        return _Setting(graph, ours, other, chosen.name, chosen.profile)
    ours, other = Simulated(compile(graph, device)), in_other_profile(graph, chosen.name)
    return _Setting(graph, ours, other, chosen.name, chosen.name)


def _feed(
    setting: _Setting, samples: int, data: Dataset | None, inputs: str, seed: int
) -> dict[str, np.ndarray]:
    if samples < 1:
        raise UsageError("samples", str(samples), "at least 1")
    if seed < 0:
        raise UsageError("seed", str(seed), "at least 0")
    if data is None:
        return random_inputs(setting.graph, samples, seed)
    return data_inputs(setting.graph, setting.ours.program, data, inputs, samples)


def verify(
    model: str | Path,
    device: Device,
    against: str | None = None,
    *,
    profile: str | None = None,
    samples: int = 100,
    data: Dataset | None = None,
    inputs: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Compare every tensor of ``model`` on ``device`` with runtime or profile ``against``.

    Runs ``samples`` random inputs (``crosscheck.inputs``) drawn with ``seed``; with ``data``, the first
    ``samples`` of it instead. ``against`` is by default the runtime that the file's format belongs to.
    Samples follow each other: what a model remembers is carried over on both sides.
    """
    setting = _setting(model, device, against, profile)
    feed = _feed(setting, samples, data, inputs, seed)
    found = compare(setting.graph, setting.ours, setting.other, setting.against, feed, progress)
    return Verification(
        model=setting.graph.name,
        device=device.name,
        profile=setting.graph.profile,
        against=setting.against,
        runtime_version=setting.other.version,
        samples=next(iter(feed.values())).shape[0],
        tensors=found.tensors,
        different=sum(t.different for t in found.tensors),
        first_difference=found.first,
        fused=setting.graph.fused,
    )


def explain(
    model: str | Path,
    device: Device,
    node: str,
    index: tuple[int, ...],
    against: str | None = None,
    *,
    profile: str | None = None,
    sample: int = 0,
    data: Dataset | None = None,
    inputs: str = "auto",
    seed: int = 0,
) -> ElementExplanation:
    """How one output element of operator ``node`` came about on both sides.

    ``node`` is an operator's number in ``npusim compile --graph``, its name, or the name of a tensor it
    makes; ``index`` an element of that tensor in the file's order of axes; ``sample`` one of the samples
    that :func:`verify` would run with the same ``data`` or ``seed``.
    """
    setting = _setting(model, device, against, profile)
    if sample < 0:
        raise UsageError("sample", str(sample), "at least 0")
    feed = _feed(setting, sample + 1, data, inputs, seed)
    there = next(iter(feed.values())).shape[0]
    if sample >= there:
        raise UsageError("sample", str(sample), f"0..{there - 1}")
    return explain_element(
        setting.graph, (setting.ours, setting.other), (setting.against, setting.profile), feed,
        node, index,
    )  # fmt: skip
