"""The sections of a device file: what each key means, its unit and its bounds."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

# Upper bounds lie far above any device and keep every count of cycles and bytes within 64 bits.
Positive = Annotated[int, Field(ge=1, le=1 << 20)]
Bytes = Annotated[int, Field(ge=1, le=1 << 40)]
Real = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
PositiveReal = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Dataflow = Literal["weight_stationary", "output_stationary", "input_stationary"]
VectorFunction = Literal[
    "add", "sub", "mul", "maximum", "minimum", "prelu", "rescale", "lookup", "interpolate", "sigmoid",
    "softmax", "softmax_float", "softmax_interpolated", "softmax_quotient", "reduce", "arg_max",
    "average_pool", "average_pool_float", "max_pool", "resize_bilinear", "resize_nearest",
    "lstm_cell", "lstm_hidden", "clip", "float_codes", "less_zero_point",
]  # fmt: skip

DATAFLOWS: tuple[Dataflow, ...] = ("weight_stationary", "output_stationary", "input_stationary")
OVERLAPS = ("serial", "pipelined", "ideal")
VECTOR_FUNCTIONS: tuple[VectorFunction, ...] = get_args(VectorFunction)
# What no vector unit of this machine does, mostly in floating point: the host runs it.
HOST_FUNCTIONS = (
    "quantize", "dequantize", "quant", "cast", "arithmetic", "gather", "gather_nd",
    "detection_postprocess", "float_conv_2d", "float_quantize", "float_dequantize", "float_function",
    "float_binary", "float_mean", "float_resize", "dynamic_quantize",
)  # fmt: skip
# The operations of the host function "arithmetic", by the number that its parameter gives.
ARITHMETIC = ("add", "sub", "mul", "div", "floor_div", "maximum", "minimum", "sqrt")
FUNCTIONS = (*VECTOR_FUNCTIONS, *HOST_FUNCTIONS)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Array(Section):
    """The grid of PEs of one core."""

    rows: Annotated[int, Field(ge=1, le=4096)]
    cols: Annotated[int, Field(ge=1, le=4096)]
    ifmap_bits: Annotated[int, Field(ge=1, le=16)] = 8
    weight_bits: Annotated[int, Field(ge=1, le=16)] = 8
    accumulator_bits: Annotated[int, Field(ge=8, le=64)] = 32
    psum_bits: Annotated[int, Field(ge=8, le=64)] | None = Field(
        None,
        description="width of a sum within the array, where it is narrower than the accumulator memory "
        "that the sums of the folds and tiles are added in; overflows as that does",
    )
    overflow: Literal["wrap", "saturate"] = "wrap"
    precision_scaling: Literal["none", "fused", "bit_serial"] = Field(
        "none",
        description="what a PE does with narrower operands: none: takes them as wide ones; fused: "
        "splits into PEs of 2, 4, 8 bits, which multiply several terms of one sum at once; bit_serial: "
        "takes a weight bit by bit, so the array advances once every as many cycles as weights have bits",
    )
    dataflow: Dataflow = "weight_stationary"
    overlap: Literal["serial", "pipelined", "ideal"] = "pipelined"
    zero_point: Literal["subtract", "fold"] = Field(
        "subtract",
        description="subtract: operands enter the PEs as code - zero point; fold: raw codes enter, "
        "the ifmap zero point is folded into the bias and padding holds the zero point",
    )

    @property
    def sum_bits(self) -> int:
        """Width of a sum within the array."""
        return self.psum_bits or self.accumulator_bits


class UnifiedScratchpad(Section):
    """One memory shared by ifmaps, weights and ofmaps."""

    layout: Literal["unified"]
    capacity_bytes: Bytes
    buffers: Annotated[int, Field(ge=1, le=8)] = 2
    banks: Positive = 1
    read_bytes_per_cycle: Positive
    resident_weights: bool = Field(
        False, description="keep all weights on chip from one inference to the next if they fit"
    )


class SplitScratchpad(Section):
    """Separate regions: activations kept on chip, weights, and ofmap tiles on their way to DRAM."""

    layout: Literal["split"]
    ifmap_bytes: Bytes
    weight_bytes: Bytes
    ofmap_bytes: Bytes
    buffers: Annotated[int, Field(ge=1, le=8)] = 2
    banks: Positive = 1
    read_bytes_per_cycle: Positive
    resident_weights: bool = Field(
        False, description="keep all weights on chip from one inference to the next if they fit"
    )

    @property
    def capacity_bytes(self) -> int:
        return self.ifmap_bytes + self.weight_bytes + self.ofmap_bytes


class Accumulator(Section):
    """The memory of partial sums behind the array."""

    capacity_bytes: Bytes
    buffers: Annotated[int, Field(ge=1, le=8)] = 2


class Vector(Section):
    """The unit for output stages, pooling, element-wise operators and tables."""

    lanes: Positive
    functions: tuple[VectorFunction, ...] = VECTOR_FUNCTIONS


class Dma(Section):
    """The engine between DRAM and scratchpad."""

    bytes_per_cycle: Positive
    burst_bytes: Positive = 16
    latency_cycles: Annotated[int, Field(ge=0, le=1 << 30)] = 0


class Dram(Section):
    """The memory behind the DMA: DRAM, flash or a host link."""

    kind: str = Field(description="a key under [dram] of the energy table")
    bandwidth_mb_per_s: Annotated[float, Field(ge=0.1, le=1e9, allow_inf_nan=False)] = Field(
        description="decimal megabytes per second"
    )


class Host(Section):
    """The processor that runs what the device cannot."""

    operations_per_s: Annotated[float, Field(ge=1e5, le=1e18, allow_inf_nan=False)]
    call_latency_s: Annotated[float, Field(ge=0, le=1e3, allow_inf_nan=False)]
    operation_pj: Real


class OperatingPoint(Section):
    name: str
    voltage_v: Annotated[float, Field(ge=0.3, le=2.0, allow_inf_nan=False)]
    clock_mhz: Annotated[float, Field(ge=0.001, le=1e5, allow_inf_nan=False)]


class Energy(Section):
    """Which table the energy of an action comes from, and where to scale it to."""

    table: str = "45nm"
    node_nm: PositiveReal
    wire_mm: Real = Field(description="distance of an operand from scratchpad to array")


class Power(Section):
    """Power that flows whatever the array does, at the first operating point's voltage."""

    leakage_mw: Real
    idle_mw: Real = Field(
        description="what a running clock costs whatever the array does: clock tree, interfaces and the "
        "like; scales with the clock and with voltage squared"
    )


class Published(Section):
    """Published totals, kept to be compared with, never used by the model."""

    peak_tops: PositiveReal | None = None
    power_w: PositiveReal | None = None


class Source(Section):
    status: Literal["published", "estimated"]
    source: Annotated[str, Field(min_length=8)]
