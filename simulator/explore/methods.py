"""Methods of quantization side by side: what each costs in accuracy, and what it buys on devices.

Every method runs on an array that has what it needs (a table, factors, PEs that shift), so that none is
charged for, or spared, hardware that is another one's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simulator.explore._choice import named
from simulator.graph import Graph
from simulator.hwconfig import Device, with_array, with_keys
from simulator.npu import exact_device, simulate
from simulator.program.commands import Host
from simulator.program.traffic import program_weight_bytes
from simulator.quantization.scheme import Scheme
from simulator.quantizing import float_top1, input_rule, quantize_graph, scored
from simulator.result import MethodCost, MethodRow, Result
from simulator.tensor import QuantParams
from simulator.workload import Dataset

Progress = Callable[[int], object]
# What the files of this profile can say is everything: all codings, and odd widths.
_PROFILE = "onnxruntime"


@dataclass(frozen=True)
class Method:
    """One way to quantize, in ``bits`` one after the other; ``array`` and ``vector``: what it asks of an
    array and of a vector unit."""

    name: str
    words: str
    settings: Mapping[str, Any]
    bits: tuple[int, ...]
    array: Mapping[str, Any] = field(default_factory=dict)
    hardware: str = ""
    vector: Mapping[str, Any] = field(default_factory=dict)

    def scheme(self, base: Scheme, bits: int) -> Scheme:
        """``base`` with this method's settings."""
        return replace(base, **{"bits": bits, **self.settings})


_LEARNED = {"rounding": "adaround", "correct_bias": True}
METHODS = (
    Method("nearest", "symmetric, to nearest", {"weights": "symmetric"}, (8, 6, 5, 4, 3, 2)),
    Method("corrected", "and biases corrected", {"correct_bias": True}, (4, 3)),
    Method("adaround", "AdaRound, biases corrected", _LEARNED, (8, 4, 3, 2)),
    Method("per-tensor", "one scale for a tensor", {"per": "tensor"}, (8, 4)),
    Method("equalized", "and channels equalized", {"per": "tensor", "equalize": True}, (8, 4)),
    Method("asymmetric", "with a zero point", {"weights": "asymmetric", "per": "tensor"}, (8, 4)),
    Method("dynamic-ranges", "of each input's own range", {"ranges": "dynamic"}, (8,),
           hardware="float32 lanes", vector={"float32": True, "range_reducer": True}),
    Method("power-of-two-scales", "scales are powers of two, weights' by MSQE",
           {"weights": "msqe", "per": "tensor", "scale": "power_of_two"}, (8, 4, 3)),
    Method("groups", "a factor for 16 channels", {"weights": "groups"}, (4, 3, 2),
           {"group_factor_bits": 4}, "factors"),
    Method("kmeans", "codebook", {"weights": "kmeans"}, (4, 3, 2), {"codebook_entries": 16}, "table"),
    Method("product", "codebook of 4 weights", {"weights": "product"}, (8, 6),
           {"codebook_entries": 256, "codebook_vector": 4}, "table of vectors"),
    Method("additive-powers", "sums of two powers of two", {"weights": "additive_power_of_two"},
           (5, 4, 3), {"multiplier": "shift", "shift_terms": 2, "weight_bits": 5}, "two shifters"),
    Method("powers", "powers of two", {"weights": "power_of_two"}, (4, 3),
           {"multiplier": "shift", "weight_bits": 4}, "shifter"),
    Method("binary-sums", "LQ-Nets", {"weights": "binary_sum"}, (3, 2), {"codebook_entries": 8},
           "table"),
    Method("trained-ternary", "TTQ, before training", {"weights": "trained_ternary", "edge_bits": 8},
           (2,), {"codebook_entries": 4}, "table"),
    Method("ternary", "TWN, 8 bits first and last", {"weights": "ternary", "edge_bits": 8}, (2,)),
    Method("binary", "BWN, 8 bits first and last", {"weights": "binary", "edge_bits": 8}, (1,)),
)  # fmt: skip


def methods_named(names: Sequence[str]) -> list[Method]:
    """Methods by name, in the order given; all of them by default."""
    return named("method", names, METHODS)


@dataclass(frozen=True, eq=False)
class Samples:
    """Unlabelled samples to calibrate with, labelled ones to score, and what codes of them stand for."""

    calibration: np.ndarray
    scored: Dataset
    params: QuantParams | None
    label_offset: int = 0


def compare_methods(
    graph: Graph, samples: Samples, devices: Sequence[Device], methods: Sequence[Method],
    base: Scheme, progress: Progress | None = None,
) -> list[MethodRow]:  # fmt: skip
    """A row for float ``graph`` itself, then one for each method and its bits. ``progress`` is called with
    the number of rows just made."""
    top1 = float_top1(graph, samples.scored, samples.params, samples.label_offset)
    rows = [MethodRow("float", "32-bit floating point", 32, "", top1, ())]
    for method in methods:
        for bits in method.bits:
            rows.append(_row(graph, samples, devices, method, method.scheme(base, bits)))
            if progress is not None:
                progress(1)
    return rows


def _row(
    graph: Graph, samples: Samples, devices: Sequence[Device], method: Method, scheme: Scheme
) -> MethodRow:
    made = quantize_graph(graph, samples.calibration, scheme, _PROFILE, samples.params).graph
    given = scored(made, samples.scored, samples.params)
    result = simulate(
        made, exact_device(), given, inputs=input_rule(made, given.x), label_offset=samples.label_offset,
    )  # fmt: skip
    assert result.accuracy is not None
    costs = tuple(_cost(simulate(made, with_hardware(device, method))) for device in devices)
    return MethodRow(
        method.name, method.words, scheme.bits, method.hardware, result.accuracy.top1, costs
    )


def with_hardware(device: Device, method: Method) -> Device:
    """``device`` with what ``method`` asks of it; PEs that shift do not split besides."""
    if method.vector:
        device = with_keys(device, {"vector": dict(method.vector)})
    if not method.array:
        return device
    plain = {"precision_scaling": "none", "fused_from_bits": 2}
    return with_array(device, **(plain if "multiplier" in method.array else {}), **method.array)


def _cost(result: Result) -> MethodCost:
    t = result.totals
    commands = result.program.commands
    return MethodCost(
        device=result.device.name,
        weight_bytes=program_weight_bytes(commands),
        latency_s=t.latency_s, energy_pj=t.energy_pj, energy_low_pj=t.energy_low_pj,
        energy_high_pj=t.energy_high_pj, tops_per_watt=t.tops_per_watt, area_mm2=t.area_mm2,
        on_host=sum(isinstance(c, Host) for c in commands),
    )  # fmt: skip
