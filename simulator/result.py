"""What a run or a verification says: frozen values that report, crosscheck and explore share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.datapath.explain import Explanation
from simulator.energy.uncertainty import Effect
from simulator.graph import Graph
from simulator.hwconfig import Device, OperatingPoint
from simulator.program.program import Program
from simulator.timing.result import Timing
from simulator.timing.spans import Span, spans_of


@dataclass(frozen=True)
class Place:
    """One element; of a verification ``index`` is in the model file's order of axes."""

    sample: int
    index: tuple[int, ...]


@dataclass(frozen=True)
class Totals:
    """One inference (of ``samples`` at once), and rates that follow from it.

    ``cycles`` and ``latency_s`` are those of an inference that finds weights which stay on chip loaded and
    nothing else before or after it; ``inferences_per_s`` and power are those of such inferences one by one.
    ``first_cycles`` is one that loads those weights as well. Inferences that follow each other without a
    break come every ``period_cycles``: ``steady_inferences_per_s``.
    ``energy_low_pj`` to ``energy_high_pj``: its range where the numbers of the energy tables err
    independently of each other; ``energy_lowest_pj`` to ``energy_highest_pj`` where all err the same way.
    Areas are those of array, vector unit and on-chip memories, ``area_low_mm2`` and ``area_high_mm2`` with
    all numbers at an end.
    ``overflows`` counts output elements whose accumulator overflowed, over all samples run; without data it
    is 0 where the weights prove that none can, else None.
    """

    samples: int
    cycles: int
    first_cycles: int
    period_cycles: int
    latency_s: float
    inferences_per_s: float
    steady_inferences_per_s: float
    macs: int
    utilization: float
    energy_pj: float
    energy_low_pj: float
    energy_high_pj: float
    energy_lowest_pj: float
    energy_highest_pj: float
    average_power_w: float
    peak_tops: float
    tops: float
    tops_per_watt: float
    inferences_per_joule: float
    area_mm2: float
    area_low_mm2: float
    area_high_mm2: float
    peak_tops_per_mm2: float
    die_cost_usd: float
    dram_bytes: int
    scratchpad_bytes: int
    scratchpad_peak_bytes: int
    resident_weight_bytes: int
    overflows: int | None


@dataclass(frozen=True)
class Layer:
    """One command; values as in :class:`Totals`, for this command alone.

    ``tile`` gives its tile sizes and loop order, ``note`` why it is on the host. ``accumulator_bits`` is
    the narrowest accumulator that no input can overflow, as the weights prove; 0 where the array does
    nothing. Over all samples run: ``first_overflow`` is the first element of the ofmap, in the order in
    which the device keeps its axes, that overflowed; ``worst_excess`` the most by which a sum left its
    range; ``data_accumulator_bits`` the narrowest accumulator that would not have overflowed and
    ``data_psum_bits`` likewise within an array that has a width of its own (None where not looked at).
    ``zero_share``: part of its MACs with an operand that is 0, ``toggle_rate``: part of the bits of
    streaming operands that change (None where not looked at).
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
    accumulator_bits: int = 0
    note: str = ""
    first_overflow: Place | None = None
    worst_excess: int = 0
    data_accumulator_bits: int | None = None
    data_psum_bits: int | None = None
    zero_share: float | None = None
    toggle_rate: float | None = None


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
    """Everything one run answers. ``effects``: which number of the energy tables moves its energy, what
    moves it most first."""

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
    effects: tuple[Effect, ...]

    def spans(self, core: int = 0) -> list[Span]:
        """What every engine of a core does when."""
        return spans_of(self.program, self.point, self.timing, core)


@dataclass(frozen=True)
class MethodCost:
    """A quantized model on one device whose array has what the method asks of it; ``weight_bytes`` with
    biases and scales, ``on_host``: commands that the device could not do."""

    device: str
    weight_bytes: int
    latency_s: float
    energy_pj: float
    energy_low_pj: float
    energy_high_pj: float
    tops_per_watt: float
    area_mm2: float
    on_host: int


@dataclass(frozen=True)
class MethodRow:
    """One method of quantization in so many bits: its top-1 accuracy, and what it costs on each device.
    ``hardware``: what its array has besides."""

    method: str
    words: str
    bits: int
    hardware: str
    top1: float
    costs: tuple[MethodCost, ...]


@dataclass(frozen=True)
class LayerExponents:
    """How the exponent of 2 that is one layer's scale moved in training: the ``first`` and the ``last``;
    the part of all steps that changed it; its standard deviation over the later half of them; the part of
    weights that is clipped in the end."""

    layer: str
    first: float
    last: float
    changes: float
    deviation: float
    clipped: float


@dataclass(frozen=True)
class RemedyRun:
    """One training of one model in so many bits: top-1 of the float model before, and of the quantized
    one."""

    model: str
    bits: int
    variant: str
    seed: int
    float_top1: float
    top1: float
    layers: tuple[LayerExponents, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RemedyRun:
        """The run of which ``values`` is the ``asdict``."""
        layers = tuple(LayerExponents(**layer) for layer in values["layers"])
        return cls(**{**values, "layers": layers})


@dataclass(frozen=True)
class RemedyEffect:
    """What ``adds`` does to ``base`` in so many bits: the mean gain in top-1 of runs of the same model and
    seed, its standard error (NaN of one pair), and how many of the ``pairs`` gained."""

    variant: str
    base: str
    adds: str
    bits: int
    pairs: int
    mean: float
    error: float
    gained: int


@dataclass(frozen=True)
class MixedLayer:
    """Bits of one layer: what it loses alone in so many, and what it costs."""

    name: str
    bits: int
    loss: float
    cycles: float
    energy_pj: float
    weight_bytes: float


@dataclass(frozen=True)
class MixedPrecision:
    """Bits for each layer. ``parts``: latency, energy and size of the whole, as parts of what the most bits
    for every layer take; ``within``: whether they keep to ``limits``."""

    device: str
    limits: dict[str, float]
    parts: dict[str, float]
    layers: tuple[MixedLayer, ...]
    within: bool


@dataclass(frozen=True)
class ScalingPoint:
    """A model on so many cores, both ways of using them.

    ``latency_cycles``: one inference, its commands divided over the cores; ``alone_cycles`` if each core
    had the DRAM to itself; ``divided`` of its ``commands`` are divided. ``batch_cycles``: an inference on
    each core at the same time, and ``batch_alone_cycles`` of one of them by itself.
    """

    cores: int
    latency_cycles: int
    alone_cycles: int
    divided: int
    commands: int
    batch_cycles: int
    batch_alone_cycles: int


@dataclass(frozen=True)
class Watts:
    """A power, with its range where the tables' numbers err independently, and where all err one way."""

    value: float
    low: float
    high: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class PublishedCheck:
    """One device. ``power_of`` and ``load`` say what a published power covers; ``peak_tops`` and
    ``tops_per_watt`` are the model's at its peak, ``tops`` what the load reaches."""

    device: Device
    peak_tops: float
    power: Watts
    tops: float
    area_mm2: float
    area_low_mm2: float
    area_high_mm2: float

    @property
    def tops_per_watt(self) -> float:
        return self.tops / self.power.value

    @property
    def power_error(self) -> float | None:
        """(model - published) / published."""
        published = self.device.published.power_w
        return None if published is None else self.power.value / published - 1

    @property
    def within(self) -> bool | None:
        """Whether the published power is within the model's range; of a chip or a board, not below it."""
        published = self.device.published
        if published.power_w is None:
            return None
        most = self.power.highest if published.power_of == "engine" else float("inf")
        return self.power.lowest <= published.power_w <= most


@dataclass(frozen=True)
class PowerTrace:
    """Power over one inference: ``watts`` of each component in intervals of ``interval_s``."""

    interval_s: float
    watts: dict[str, np.ndarray]

    @property
    def total(self) -> np.ndarray:
        return np.sum(list(self.watts.values()), axis=0)

    @property
    def peak_w(self) -> float:
        return float(self.total.max())


@dataclass(frozen=True)
class PowerPoint:
    """A model at one operating point. ``average_w`` while it runs, ``trace`` over that time; ``sleep_w``
    between inferences.

    At a rate, ``at_rate_w`` on average, ``duty`` of the time running: None where no rate was asked for or
    the point cannot keep it up. ``sustained_per_s``: inferences that follow each other as fast as they can
    without drawing more than the power that can be carried away, None where that alone is too little.
    """

    point: OperatingPoint
    cycles: int
    latency_s: float
    energy_pj: float
    energy_low_pj: float
    energy_high_pj: float
    average_w: float
    sleep_w: float
    tops: float
    tops_per_watt: float
    peak_tops: float
    duty: float | None
    at_rate_w: float | None
    sustained_per_s: float | None
    trace: PowerTrace


@dataclass(frozen=True)
class TensorComparison:
    """One tensor over all samples.

    Differences are in ``unit``: codes, or for float32 tensors steps from one number to the next
    (``ulp``; +0 and -0 are one apart, all NaNs are equal). ``equal + off_by_one + worse`` is
    ``elements``. ``evidence`` says how our arithmetic of the operator is known in our profile (a word of
    ``npusim profiles``). ``not_visible`` says why nothing was compared; it is empty where all was.
    """

    name: str
    operator: str
    unit: str
    elements: int
    equal: int
    off_by_one: int
    worse: int
    largest_difference: int
    first: Place | None
    evidence: str
    not_visible: str = ""

    @property
    def different(self) -> int:
        return self.off_by_one + self.worse


@dataclass(frozen=True)
class Difference:
    """The first element that differs: in the earliest sample, of the first operator in order.

    ``node`` is the operator's number. ``explanation`` says how we computed a Matmul's.
    """

    sample: int
    tensor: str
    node: int
    operator: str
    index: tuple[int, ...]
    ours: int | float
    theirs: int | float
    explanation: Explanation | None


@dataclass(frozen=True)
class Verification:
    """All tensors that operators make; those compared are equal exactly when ``different`` is 0.

    ``profile`` is our arithmetic. ``fused`` names tensors that our graph does not have any more because
    a pass joined the operator that made them to its neighbour.
    """

    model: str
    device: str
    profile: str
    against: str
    runtime_version: str
    samples: int
    tensors: tuple[TensorComparison, ...]
    different: int
    first_difference: Difference | None
    fused: tuple[str, ...]


@dataclass(frozen=True)
class HardwareDifference:
    """An output code, its index in (batch, out_h, out_w, channels), and what it is on both sides."""

    index: tuple[int, ...]
    ours: int
    rtl: int


@dataclass(frozen=True)
class HardwareCheck:
    """One layer through the array in SystemVerilog, one sample.

    ``law_cycles`` and ``rtl_cycles`` are sums over its tiles, each by itself: from the first load to the
    last sum, whatever feeds the array. ``tiles_apart`` differ in load, body, last fold or skew.
    ``staged_by_rtl``: the RTL's output stage made the codes, else ours did of the RTL's sums.
    """

    model: str
    device: str
    layer: str
    operator: str
    rtl_version: str
    rows: int
    cols: int
    dataflow: str
    overlap: str
    staged_by_rtl: bool
    tiles: int
    folds: int
    outputs: int
    different: int
    first_difference: HardwareDifference | None
    law_cycles: int
    rtl_cycles: int
    tiles_apart: int

    @property
    def equal(self) -> bool:
        return self.different == 0 and self.tiles_apart == 0


@dataclass(frozen=True)
class Step:
    """One step on the way to a code: ``words`` say what happens, ``numbers`` with what."""

    name: str
    words: str
    numbers: dict[str, int | float | str]


@dataclass(frozen=True)
class Account:
    """How one element came about in one arithmetic, from the operands that our side has."""

    profile: str
    device: str
    steps: tuple[Step, ...]
    value: int | float


@dataclass(frozen=True)
class ElementExplanation:
    """One output element in both arithmetics; ``returned`` is what the other side has there.

    ``other`` is None where the other side is a runtime of no profile. ``operands_different`` counts the
    elements of the operator's inputs in which the other side's own values differ from ours (None where
    it does not show them all): where that is not 0, a difference began earlier.
    """

    model: str
    node: int
    operator: str
    tensor: str
    sample: int
    index: tuple[int, ...]
    ours: Account
    other: Account | None
    against: str
    runtime_version: str
    returned: int | float | None
    operands_different: int | None
