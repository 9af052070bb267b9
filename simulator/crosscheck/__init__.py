"""Crosschecks: our values against a reference runtime's, tensor by tensor. One file per runtime."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from simulator.crosscheck.compare import compare_program
from simulator.datapath.inputs import to_codes
from simulator.errors import UsageError
from simulator.hwconfig import Device
from simulator.npu import compile, load_model
from simulator.result import Verification
from simulator.workload import Dataset, model_path

RUNTIMES = tuple(
    sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py") if p.stem != "compare")
)


def verify(
    model: str | Path,
    device: Device,
    against: str = "litert",
    *,
    samples: int = 100,
    data: Dataset | None = None,
    inputs: str = "auto",
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Verification:
    """Compare every tensor of ``model`` on ``device`` with runtime ``against``.

    Runs ``samples`` random inputs over the input's whole code range, drawn with ``seed``; with
    ``data``, the first ``samples`` of it instead.
    """
    if against not in RUNTIMES:
        raise UsageError("against", repr(against), ", ".join(RUNTIMES))
    if samples < 1:
        raise UsageError("samples", str(samples), "at least 1")
    if seed < 0:
        raise UsageError("seed", str(seed), "at least 0")
    path = model_path(model)
    graph = load_model(path)
    program = compile(graph, device)
    codes = None
    if data is not None:
        place = program.placements[graph.inputs[0]]
        codes = {graph.inputs[0]: to_codes(data.x[:samples], place, inputs, data.name)}
    runtime = import_module(f"simulator.crosscheck.{against}").open_runtime(path)
    return compare_program(graph, program, runtime, against, samples, codes, seed, progress)
