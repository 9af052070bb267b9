"""What a run or a verification says: frozen values that report, crosscheck and explore share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simulator.datapath.explain import Explanation
from simulator.graph import Graph
from simulator.hwconfig import Device, OperatingPoint
from simulator.program.program import Program
from simulator.timing.result import Timing


@dataclass(frozen=True)
class Totals:
    """One inference, and rates that follow from it. ``overflows`` counts output elements whose
    accumulator overflowed, over all samples run; without data it is 0 where the weights prove that none
    can, else None."""

    cycles: int
    latency_s: float
    inferences_per_s: float
    macs: int
    utilization: float
    energy_pj: float
    average_power_w: float
    peak_tops: float
    tops: float
    tops_per_watt: float
    inferences_per_joule: float
    dram_bytes: int
    scratchpad_bytes: int
    scratchpad_peak_bytes: int
    resident_weight_bytes: int
    overflows: int | None


@dataclass(frozen=True)
class Layer:
    """One command; values as in :class:`Totals`, for this command alone.

    ``tile`` gives its tile sizes and loop order, ``note`` why it is on the host.
    """

    name: str
    operator: str
    tile: str
    cycles: int
    latency_s: float
    cycles_by_cause: dict[str, int]
    macs: int
    utilization: float
    energy_pj: float
    energy_by_component_pj: dict[str, float]
    average_power_w: float
    tops: float
    dram_bytes: int
    scratchpad_bytes: int
    scratchpad_peak_bytes: int
    overflows: int | None
    note: str = ""


@dataclass(frozen=True)
class Accuracy:
    """Top-1 over a labelled set; ``predictions`` are the argmax of the first output, first on ties."""

    dataset: str
    inputs: str
    samples: int
    correct: int
    top1: float
    predictions: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class Result:
    """Everything one run answers."""

    model: Graph
    device: Device
    point: OperatingPoint
    program: Program
    timing: Timing
    totals: Totals
    cycles_by_cause: dict[str, int]
    energy_by_component_pj: dict[str, float]
    layers: tuple[Layer, ...]
    accuracy: Accuracy | None


@dataclass(frozen=True)
class TensorComparison:
    """One tensor over all samples."""

    name: str
    operator: str
    elements: int
    different: int
    max_abs_difference: int


@dataclass(frozen=True)
class Difference:
    """The first element that differs, in execution order, with how we computed it."""

    sample: int
    tensor: str
    operator: str
    index: tuple[int, ...]
    ours: int
    theirs: int
    explanation: Explanation | None


@dataclass(frozen=True)
class Verification:
    """All tensors; equal exactly when ``different`` is 0. ``fused`` names tensors that our graph does
    not have any more because a pass joined the operator that made them to its neighbour."""

    model: str
    device: str
    against: str
    runtime_version: str
    samples: int
    tensors: tuple[TensorComparison, ...]
    different: int
    first_difference: Difference | None
    fused: tuple[str, ...]
