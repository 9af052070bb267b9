"""Cases with their expected outputs, and the file that holds them."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.crosscheck.account import FRACTION_BITS
from simulator.crosscheck.runtimes import RUNTIMES
from simulator.datapath.machine import Machine
from simulator.errors import ModelError, UsageError
from simulator.files import check_target, write_bytes
from simulator.graph import Graph
from simulator.npu import compile, exact_device, versions
from simulator.ops import evidence, operator_names
from simulator.ops import operator as operator_named
from simulator.profiles import PROFILES, RUN, profile_named
from simulator.program.commands import Command, Host, Matmul, Vector
from simulator.program.program import Program
from simulator.vectors.build import EMPTY, Case
from simulator.vectors.cases import CASES

SCHEMA_VERSION = 2
MOST_CASES = 10_000
# Products that QONNX files have no form for here.
_NO_QONNX = ("transpose_conv", "batch_matmul")
_MOST_DRAWS = 200  # until a case meets the rules of its profile
_LAYOUT = {
    "NNNN/input/NAME": "an input of case NNNN; of an operator that remembers one for each call, the calls "
    "along the first axis",
    "NNNN/constant/NAME": "a constant of the operator: weights, bias, amounts; what a state is before the "
    "first call",
    "NNNN/state/NAME": "what a state is after the last call",
    "NNNN/parameter/NAME": "integers made from the scales: per output channel multiplier and shift, the "
    "bias in int64, a table of 256 entries from the lowest code on",
    "NNNN/output/NAME": "what a kernel must return, in every bit",
    "cases[NNNN].tensors": "shape, type, scales, zero points and, where there are several, their axis: "
    "real = scale * (code - zero point); layouts NHWC and OHWI",
    "cases[NNNN].attributes": "of the operator; padding in rows and columns on each side",
    "cases[NNNN].inputs": "names of the operator's inputs in order, an empty one where one is left out",
    "cases[NNNN].calls": "how often it is called; 0: once, without an axis for calls",
    "cases[NNNN].commands": "what the simulator runs; a multiplier and a shift stand for multiplier * "
    "2**(shift - fraction_bits)",
}


@dataclass(frozen=True)
class Written:
    """What :func:`write_vectors` wrote."""

    path: Path
    cases: int
    outputs: int


@dataclass(frozen=True)
class Solved:
    """A case, its program (None: nothing is computed), its outputs (of each call, where there are calls)
    and the states it leaves."""

    case: Case
    program: Program | None
    outputs: dict[str, np.ndarray]
    states: Mapping[str, np.ndarray]


def make_cases(
    operator: str, profile: str = "tflite", count: int = 100, seed: int = 0
) -> list[Case]:
    """``count`` cases of ``operator``, its kinds in turn; case i depends on ``seed`` and i alone."""
    if operator not in CASES:
        raise UsageError("vectors", f"operator {operator!r}", ", ".join(sorted(CASES)))
    profile_named(profile)
    if not 1 <= count <= MOST_CASES:
        raise UsageError("count", str(count), f"1..{MOST_CASES}")
    if seed < 0:
        raise UsageError("seed", str(seed), "at least 0")
    if operator not in operator_names(profile):
        allowed = [p for p in PROFILES if operator in operator_names(p)]
        raise UsageError("profile", f"{profile!r} for {operator}", ", ".join(allowed))
    if profile == "qonnx" and operator in _NO_QONNX:
        raise UsageError("profile", f"'qonnx' for {operator}", "a profile of another format")
    kinds = CASES[operator].kinds
    return [_drawn(operator, kinds[i % len(kinds)], profile, [seed, i]) for i in range(count)]


def _drawn(operator: str, kind: str, profile: str, seeds: list[int]) -> Case:
    """A case that the operator accepts in ``profile``: some profiles have rules of their own."""
    own = zlib.crc32(operator.encode())
    for draw in range(_MOST_DRAWS):
        rng = np.random.default_rng([own, *seeds, draw])
        try:
            case = CASES[operator].make(rng, kind, profile)
            if kind != EMPTY:
                compile(case.graph, exact_device())  # what a scale may be shows there
            return case
        except ModelError:
            if draw == _MOST_DRAWS - 1:
                raise
    raise AssertionError("no draw returned or raised")


def solve(case: Case) -> Solved:
    """``case`` with the outputs that our datapath computes, nothing narrower than the profile asks for."""
    if case.kind == EMPTY:
        specs = {name: case.graph.spec(name) for name in case.graph.outputs}
        nothing = {name: np.zeros(spec.shape, spec.container) for name, spec in specs.items()}
        return Solved(case, None, nothing, {})
    program = compile(case.graph, exact_device())
    calls = {n: v if case.calls else v[np.newaxis] for n, v in case.inputs.items()}
    done = Machine(program).run(calls)
    outputs = {name: v if case.calls else v[0] for name, v in done.outputs.items()}
    return Solved(case, program, outputs, done.states)


def write_vectors(
    operator: str, path: str | Path | None = None, *, profile: str = "tflite", count: int = 100,
    seed: int = 0,
) -> Written:  # fmt: skip
    """Write ``count`` cases to an ``.npz`` file, whole or not at all."""
    target = Path(path) if path is not None else Path(f"{operator}_{profile}.npz")
    cases = make_cases(operator, profile, count, seed)
    check_target(str(target))
    solved = [solve(case) for case in cases]
    arrays: dict[str, np.ndarray] = {
        "meta": np.array(json.dumps(_meta(operator, profile, seed, solved)))
    }
    for number, one in enumerate(solved):
        arrays |= {f"{number:04d}/{key}": values for key, values in _arrays(one).items()}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_bytes(target, content.getvalue())
    return Written(target, len(solved), sum(v.size for one in solved for v in one.outputs.values()))


def _arrays(solved: Solved) -> dict[str, np.ndarray]:
    graph = solved.case.graph
    found = {f"input/{name}": values for name, values in solved.case.inputs.items()}
    found |= {f"constant/{name}": values for name, values in graph.constants.items()}
    found |= {f"state/{name}": values for name, values in solved.states.items()}
    own = f"{graph.nodes[0].name}/"
    found |= {
        f"parameter/{name.removeprefix(own)}": values
        for name, values in (solved.program.constants.items() if solved.program else ())
        if name.startswith(own) and name != f"{own}weights"  # they are a constant already
    }
    return found | {f"output/{name}": values for name, values in solved.outputs.items()}


def _meta(operator: str, profile: str, seed: int, solved: list[Solved]) -> dict[str, Any]:
    known = evidence(operator_named(operator, profile), profile)
    runtime = RUNTIMES.get(PROFILES[profile].runtime) if known.startswith(RUN) else None
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "operator": operator,
        "profile": profile,
        "evidence": known,
        "runtime": f"{runtime.name}: {runtime.checked_with}" if runtime else None,
        "seed": seed,
        "layout": _LAYOUT,
        "cases": [
            {
                "kind": one.case.kind, "attributes": dict(one.case.graph.nodes[0].attrs),
                "inputs": one.case.graph.nodes[0].inputs, "calls": one.case.calls,
                "tensors": _tensors(one.case.graph),
                "commands": [_command(c) for c in (one.program.commands if one.program else ())],
            }
            for one in solved
        ],
    }  # fmt: skip


def _tensors(graph: Graph) -> dict[str, Any]:
    found = {}
    for name, tensor in graph.tensors.items():
        q = tensor.quantization
        found[name] = {
            "shape": tensor.spec.shape, "dtype": tensor.spec.dtype,
            "scales": q.scales if q else None, "zero_points": q.zero_points if q else None,
            "axis": q.axis if q and q.per_channel else None,
        }  # fmt: skip
    return found


def _command(command: Command) -> dict[str, Any]:
    inner = command.command if isinstance(command, Host) else command
    if isinstance(inner, Vector):
        return {
            "command": "vector", "function": inner.function, "parameters": dict(inner.parameters)
        }  # fmt: skip
    if not isinstance(inner, Matmul):
        return {"command": "move"}
    stage = inner.requantize
    return {
        "command": "matmul", "requantizer": stage.kind,
        "fraction_bits": FRACTION_BITS[stage.kind], "tail_requantizer": stage.tail_kind,
        "tail_channels": stage.tail_channels, "zero_point": stage.zero_point,
        "clamp_min": stage.clamp_min, "clamp_max": stage.clamp_max,
        "ifmap_offset": inner.ifmap_offset, "weight_offset": inner.weight_offset,
        "pad_code": inner.pad_code,
    }  # fmt: skip
