"""Bits of weights for each layer: as little loss as possible within limits of latency, energy or size that
the device itself sets.

What a layer costs in so many bits is what the simulator says of it, in cycles, picojoules and bytes; what
it loses is measured, layer by layer, on calibration samples. Which bits each layer gets is then an integer
program (as in HAWQ-V3, Yao et al., arXiv 2011.10680; Gholami et al., IV-B and IV-C), solved by HiGHS
through ``scipy.optimize.milp``. The choice is simulated as a whole, and where it misses a limit, because
layers share a scratchpad, it is made again under a tighter one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from simulator.errors import CompileError, UsageError
from simulator.graph import Graph
from simulator.hwconfig import Device
from simulator.npu import simulate
from simulator.program.traffic import program_weight_bytes
from simulator.quantization.float_graph import batches, run_float
from simulator.quantization.post_training import PostTraining
from simulator.quantization.scheme import Scheme
from simulator.quantizing import quantize_graph, real_samples
from simulator.result import MixedLayer, MixedPrecision, Result
from simulator.tensor import QuantParams

Progress = Callable[[int], object]
LIMITS = ("latency", "energy", "size")
_MEASURED_SAMPLES = 128
_ATTEMPTS = 8
_SMALLEST = 1e-12


class Costs(NamedTuple):
    """Cycles, picojoules and bytes of weights."""

    latency: float
    energy: float
    size: float


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked for. ``limits``: of ``LIMITS``, each a part of what the most ``bits`` for every layer
    cost; ``base``: how to quantize, whatever the bits."""

    bits: tuple[int, ...]
    limits: Mapping[str, float]
    base: Scheme
    profile: str
    params: QuantParams | None = None

    def __post_init__(self) -> None:
        if len(set(self.bits)) < 2 or not all(2 <= b <= 8 for b in self.bits):
            given = ", ".join(map(str, self.bits)) or "none"
            raise UsageError("bits", given, "two or more of 2 to 8")
        if not self.limits:
            raise UsageError("limits", "none", "one or more of " + ", ".join(LIMITS))
        for name, part in self.limits.items():
            if name not in LIMITS or not 0 < part <= 1:
                allowed = f"{', '.join(LIMITS)}; above 0, at most 1"
                raise UsageError("limits", f"{name} {part:g}", allowed)


class _Attempt(NamedTuple):
    """A choice of bits, quantized and simulated as a whole; by how much it goes beyond each limit."""

    bits: tuple[int, ...]
    made: PostTraining
    total: Costs
    over: dict[str, float]


Options = Mapping[int, tuple[PostTraining, Result]]


def choose_bits(
    graph: Graph, x: np.ndarray, device: Device, request: Request, progress: Progress | None = None
) -> tuple[PostTraining, MixedPrecision]:
    """The quantized model of float ``graph`` on samples ``x`` for ``device``, and how it came about.

    ``progress`` is called with the number of steps just done, of ``len(bits) + 1``.
    """
    tell = progress or (lambda steps: None)
    _scipy()  # an error now rather than after all the simulations
    options: dict[int, tuple[PostTraining, Result]] = {}
    for bits in sorted(set(request.bits)):
        scheme = replace(request.base, bits=bits)
        made = quantize_graph(graph, x, scheme, request.profile, request.params)
        options[bits] = made, simulate(made.graph, device)
        tell(1)
    most = options[max(options)]
    layers = [layer.node.outputs[0] for layer in most[0].layers]
    losses = _losses(options, real_samples(x[:_MEASURED_SAMPLES], request.params))
    costs = {bits: _layer_costs(result, layers) for bits, (_, result) in options.items()}
    whole = _total(most[1])
    allowed = {name: part * getattr(whole, name) for name, part in request.limits.items()}
    # What layers may cost together: the limit less what other operators take.
    room = {
        name: limit - getattr(whole, name) + sum(getattr(c, name) for c in costs[max(options)])
        for name, limit in allowed.items()
    }
    chosen = solve(losses, costs, room)
    if chosen is None:
        raise _no_choice(f"{graph.name} on {device.name}", options, request, whole)
    attempt = _tried(graph, x, device, request, dict(zip(layers, chosen, strict=True)), allowed)
    for _ in range(_ATTEMPTS):
        room = {name: room[name] - attempt.over[name] for name in room}
        chosen = solve(losses, costs, room) if any(attempt.over.values()) else None
        if chosen is None:
            break
        attempt = _tried(graph, x, device, request, dict(zip(layers, chosen, strict=True)), allowed)
    tell(1)
    rows = tuple(
        MixedLayer(name, bits, losses[bits][i], *costs[bits][i])
        for i, (name, bits) in enumerate(zip(layers, attempt.bits, strict=True))
    )
    parts = {n: getattr(attempt.total, n) / getattr(whole, n) for n in LIMITS}
    within = not any(attempt.over.values())
    return attempt.made, MixedPrecision(device.name, dict(request.limits), parts, rows, within)


def _tried(
    graph: Graph, x: np.ndarray, device: Device, request: Request, bits: dict[str, int],
    allowed: Mapping[str, float],
) -> _Attempt:  # fmt: skip
    scheme = replace(request.base, bits=max(request.bits), layer_bits=bits)
    made = quantize_graph(graph, x, scheme, request.profile, request.params)
    total = _total(simulate(made.graph, device))
    over = {}
    for name, limit in allowed.items():
        excess = getattr(total, name) - limit
        over[name] = excess if excess > _SMALLEST * limit else 0.0
    return _Attempt(tuple(bits.values()), made, total, over)


def _no_choice(where: str, options: Options, request: Request, whole: Costs) -> CompileError:
    totals = [_total(result) for _, result in options.values()]
    parts = {n: min(getattr(t, n) for t in totals) / getattr(whole, n) for n in request.limits}
    asked = ", ".join(f"{name} {part:g}" for name, part in request.limits.items())
    least = ", ".join(f"{name} {part:.3f}" for name, part in parts.items())
    return CompileError(
        where, f"no choice of bits keeps to {asked}", f"what the fewest bits take, {least}, or more"
    )


def solve(
    losses: Mapping[int, Sequence[float]], costs: Mapping[int, Sequence[Costs]],
    room: Mapping[str, float],
) -> tuple[int, ...] | None:  # fmt: skip
    """Bits of each layer with the least sum of losses whose costs keep within ``room``; None if there are
    none."""
    optimize = _scipy()
    widths = sorted(losses)
    count = len(losses[widths[0]])
    loss = np.array([[losses[b][i] for b in widths] for i in range(count)])
    one_each = np.kron(np.eye(count), np.ones(len(widths)))
    rules = [optimize.LinearConstraint(one_each, 1, 1)]
    for name, most in room.items():
        row = np.array([[getattr(costs[b][i], name) for b in widths] for i in range(count)])
        scale = max(float(row.max()), _SMALLEST)
        rules.append(optimize.LinearConstraint(row.reshape(1, -1) / scale, -np.inf, most / scale))
    unit = max(float(loss.max()), _SMALLEST)
    found = optimize.milp(
        loss.reshape(-1) / unit, constraints=rules, integrality=np.ones(loss.size),
        bounds=optimize.Bounds(0, 1),
    )  # fmt: skip
    if found.x is None:
        return None
    picked = found.x.reshape(count, len(widths)).argmax(axis=1)
    return tuple(widths[i] for i in picked)


def _scipy() -> Any:
    try:
        from scipy import optimize
    except ModuleNotFoundError:
        raise UsageError(
            "mixed precision", "the package scipy is not installed", "pip install 'npusim[mixed]'"
        ) from None
    return optimize


def _losses(options: Options, x: np.ndarray) -> dict[int, list[float]]:
    """What each layer alone in so many bits changes of the output: of a softmax its divergence from that of
    the float model (Kullback and Leibler), of other outputs the squared error over the square."""
    # Whatever the bits, what is quantized is the same.
    graph = next(iter(options.values()))[0].float_graph
    exact = _outputs(graph, x)
    found: dict[int, list[float]] = {}
    for bits, (made, _) in options.items():
        found[bits] = []
        for layer in made.layers:
            weights = layer.weights.real.astype(np.float32)
            constants = {**graph.constants, layer.node.inputs[1]: weights}
            if layer.bias is not None:
                constants[layer.node.inputs[2]] = layer.bias
            changed = replace(graph, constants=constants)
            found[bits].append(_apart(graph, exact, _outputs(changed, x)))
    return found


def _outputs(graph: Graph, x: np.ndarray) -> np.ndarray:
    output = graph.outputs[0]
    return np.concatenate([run_float(graph, part)[output] for part in batches(graph, x)])


def _apart(graph: Graph, exact: np.ndarray, made: np.ndarray) -> float:
    p, q = (v.reshape(v.shape[0], -1).astype(np.float64) for v in (exact, made))
    if graph.nodes[-1].operator == "softmax":
        p, q = np.maximum(p, _SMALLEST), np.maximum(q, _SMALLEST)
        return float(np.maximum((p * np.log(p / q)).sum(axis=1), 0).mean())
    return float(((q - p) ** 2).sum() / max((p**2).sum(), _SMALLEST))


def _layer_costs(result: Result, layers: Sequence[str]) -> list[Costs]:
    """Of each of ``layers``, by the name of its output."""
    found = {}
    for command, layer in zip(result.program.commands, result.layers, strict=True):
        found[command.ofmap] = Costs(layer.cycles, layer.energy_pj, program_weight_bytes([command]))
    return [found[name] for name in layers]


def _total(result: Result) -> Costs:
    size = program_weight_bytes(result.program.commands)
    return Costs(result.totals.cycles, result.totals.energy_pj, size)
