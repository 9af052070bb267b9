"""The sections of a device file: what each key means, its unit and its bounds."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
# Those that lanes with float32 do.
FLOAT_FUNCTIONS = (
    "cast", "float_binary", "float_mean", "float_quantize", "float_dequantize", "quantize",
    "dequantize", "quant", "dynamic_quantize", "extremes", "seen_extremes",
)  # fmt: skip
FUNCTIONS = (*VECTOR_FUNCTIONS, *HOST_FUNCTIONS, "extremes", "seen_extremes")


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
    fused_from_bits: Literal[1, 2] = Field(
        2,
        description="the narrowest operands that a fused PE splits for; 1: where both are bits, a PE is as "
        "many XNOR gates as it multiplies bits, with a count of their ones",
    )
    multiplier: Literal["full", "shift"] = Field(
        "full",
        description="shift: a PE multiplies by weights that are powers of two, or sums of as many as "
        "shift_terms, by shifting; weight_bits is then the width of what says how far",
    )
    shift_terms: Annotated[int, Field(ge=1, le=4)] = 1
    codebook_entries: Annotated[int, Field(ge=0, le=256)] = Field(
        0,
        description="entries of a table in front of each column, which weights stored as its indices are "
        "read from on their way into the array; 0: no table, weights are stored as they are multiplied",
    )
    codebook_vector: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="neighbouring weights that an entry of the table holds"
    )
    group_factor_bits: Annotated[int, Field(ge=0, le=8)] = Field(
        0,
        description="width of the factor that the sum over a group of input channels is multiplied by on "
        "its way to the accumulator; a fold is then no longer than a group. 0: no such multiplier",
    )
    dataflow: Dataflow = "weight_stationary"
    other_dataflows: tuple[Dataflow, ...] = Field(
        (),
        description="what the array can be told to do instead, layer by layer, where that is better",
    )
    overlap: Literal["serial", "pipelined", "ideal"] = "pipelined"
    sparsity: Annotated[str, Field(pattern=r"^[1-9]\d?:[1-9]\d?$")] | None = Field(
        None,
        description="N:M: where weights have at most N of every M neighbouring input channels that are not "
        "0, PEs hold and multiply those alone",
    )
    weight_codec: Literal["none", "bitmask", "entropy"] = Field(
        "none",
        description="how weights lie in DRAM and scratchpad, decoded on their way into the array: bitmask: "
        "a bit for each, and those that are not 0; entropy: as few bits as a lossless code of single "
        "weights can take, a bound that real ones come near",
    )
    stream_block: Annotated[int, Field(ge=1, le=4096)] = Field(
        1,
        description="operands stream in blocks of so many; a part of a block takes as long as a whole one",
    )
    zero_point: Literal["subtract", "fold"] = Field(
        "subtract",
        description="subtract: operands enter the PEs as code - zero point; fold: raw codes enter, "
        "the ifmap zero point is folded into the bias and padding holds the zero point",
    )

    zero_gating: bool = Field(
        default=False,
        description="a PE with an operand that is 0 neither multiplies nor adds: less energy where values "
        "are looked at (npusim run --activity), no less time",
    )

    @model_validator(mode="after")
    def _whole_groups(self) -> Array:
        if self.multiplier == "shift" and (self.precision_scaling != "none" or self.sparsity):
            raise ValueError(
                "array.multiplier: shift not together with precision_scaling or sparsity"
            )
        if self.fused_from_bits == 1 and self.precision_scaling != "fused":
            raise ValueError(
                f"array.fused_from_bits: 1 with precision_scaling {self.precision_scaling!r}, not fused"
            )
        if self.sparsity is None:
            return self
        kept, of = self.kept_of
        if kept >= of or of % kept:
            raise ValueError(f"array.sparsity: {self.sparsity} is not N:M with M a multiple of N")
        if self.rows % kept:
            raise ValueError(
                f"array.sparsity: {self.rows} rows hold no whole groups of {kept} weights"
            )
        if self.precision_scaling != "none":
            raise ValueError(
                f"array.sparsity: not together with precision_scaling {self.precision_scaling!r}"
            )
        return self

    @property
    def kept_of(self) -> tuple[int, int]:
        """(N, M) of ``sparsity``, (1, 1) without it."""
        if self.sparsity is None:
            return 1, 1
        kept, _, of = self.sparsity.partition(":")
        return int(kept), int(of)

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
    ports: Literal["separate", "shared"] = Field(
        "separate",
        description="separate: the DMA has a port of its own; shared: each bank has one port for all, and "
        "the array or vector unit waits a cycle where the DMA meets it in a bank, as one access in as many "
        "as there are banks does",
    )
    resident_weights: bool = Field(
        False,
        description="keep weights on chip from one inference to the next, as many as fit",
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
    ports: Literal["separate", "shared"] = Field(
        "separate",
        description="separate: the DMA has a port of its own; shared: each bank has one port for all, and "
        "the array or vector unit waits a cycle where the DMA meets it in a bank, as one access in as many "
        "as there are banks does",
    )
    resident_weights: bool = Field(
        False,
        description="keep weights on chip from one inference to the next, as many as fit",
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
    streams_out: bool = Field(
        False,
        description="the unit lies in the DMA's way out: results leave while it works on those behind "
        "them, so that the slower of the two sets the pace",
    )
    functions: tuple[VectorFunction, ...] = VECTOR_FUNCTIONS
    float32: bool = Field(
        False,
        description="a lane adds and multiplies float32 numbers too, and does what the host does without: "
        "casts, sums, products and means of numbers, and codes whose scale is made at run time",
    )
    range_reducer: bool = Field(
        False,
        description="comparators behind the lanes find the extremes of what the unit writes, so that codes "
        "whose scale is made at run time take one pass more, not two",
    )

    @model_validator(mode="after")
    def _reduces_numbers(self) -> Vector:
        if self.range_reducer and not self.float32:
            raise ValueError("range_reducer = true without float32 = true")
        return self


class Dma(Section):
    """The engine between DRAM and scratchpad."""

    bytes_per_cycle: Positive
    burst_bytes: Positive = Field(
        16, description="what a transfer is made of: parts of a burst take as long as a whole one"
    )
    latency_cycles: Annotated[int, Field(ge=0, le=1 << 30)] = Field(
        0, description="from a request to its first byte"
    )
    request_bytes: Positive | None = Field(
        None,
        description="the most that one request asks for, one burst or several; a burst by default",
    )
    write_request_bytes: Positive | None = Field(
        None, description="likewise of what is written, where that differs"
    )
    row_by_row: bool = Field(
        False,
        description="every pixel's channels and every row of a matrix are requested by themselves, even "
        "where they follow each other without a gap",
    )
    outstanding_requests: Annotated[int, Field(ge=1, le=1 << 16)] | None = Field(
        None,
        description="requests on their way at once, so that the next ones leave while the first waits for "
        "its bytes. Without it a transfer begins when the one before is complete, and waits for its "
        "latency once",
    )

    @model_validator(mode="after")
    def _whole_bursts(self) -> Dma:
        for name in ("request_bytes", "write_request_bytes"):
            size = getattr(self, name)
            if size is not None and size % self.burst_bytes:
                raise ValueError(
                    f"dma.{name}: {size} is not a multiple of dma.burst_bytes, {self.burst_bytes}"
                )
        return self


class Dram(Section):
    """The memory behind the DMA: DRAM, flash or a host link. Times of rows, refresh and turnaround are
    those of a data sheet (tRC, tREFI, tRFC, and tWTR or tRTW); 0 leaves them out."""

    kind: str = Field(description="a key under [dram] of the energy table")
    bandwidth_mb_per_s: Annotated[float, Field(ge=0.1, le=1e9, allow_inf_nan=False)] = Field(
        description="decimal megabytes per second"
    )
    efficiency: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        1.0,
        description="part of the bandwidth that is reached where what is given below is not in the way",
    )
    row_bytes: Annotated[int, Field(ge=0, le=1 << 20)] = Field(
        0, description="bytes of an open row over all chips; 0: no rows"
    )
    row_cycle_ns: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = Field(
        0.0, description="least time from opening a row of a bank to opening another one of it"
    )
    banks: Annotated[int, Field(ge=1, le=1 << 10)] = Field(
        1, description="banks that open rows at the same time"
    )
    refresh_interval_ns: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 0.0
    refresh_ns: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = Field(
        0.0, description="at the end of every interval, nothing moves for so long"
    )
    turnaround_ns: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = Field(
        0.0, description="between a read and a write, either way"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Dram:
        if (self.row_bytes > 0) != (self.row_cycle_ns > 0):
            raise ValueError("dram: row_bytes and row_cycle_ns are given both or neither")
        if (self.refresh_ns > 0) != (self.refresh_interval_ns > 0):
            raise ValueError("dram: refresh_ns and refresh_interval_ns are given both or neither")
        if self.refresh_ns and 2 * self.refresh_ns > self.refresh_interval_ns:
            raise ValueError(
                f"dram.refresh_ns: {self.refresh_ns} is more than half of dram.refresh_interval_ns, "
                f"{self.refresh_interval_ns}"
            )
        return self


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

    table: str | None = Field(
        None,
        description="a table of hwconfigs/energy by name, or the path of one; by default that of the node, "
        "or of the next larger node that has one",
    )
    node_nm: PositiveReal
    low_power: bool = Field(
        default=False,
        description="made in a process of high thresholds, which leaks a part as much",
    )
    wire_mm: Real = Field(description="distance of an operand from scratchpad to array")


class Power(Section):
    """Power that flows whatever the array does, at the first operating point. What is not given follows
    from the area: leakage of logic and SRAM, the clock's tree."""

    leakage_mw: Real | None = Field(
        default=None,
        description="follows the square of the voltage; by default from the energy table",
    )
    idle_mw: Real | None = Field(
        default=None,
        description="what a running clock costs whatever the array does; scales with the clock and with "
        "voltage squared; by default the clock's tree, from the energy table",
    )
    other_mw: Real = Field(
        default=0.0,
        description="what else is powered with the array: processors, interfaces; the same at every point",
    )
    sleep_mw: Real | None = Field(
        default=None,
        description="between inferences, on-chip memory kept; by default the share of its leakage that "
        "retention leaves",
    )
    tdp_w: PositiveReal | None = Field(
        default=None, description="the power that can be carried away for as long as one likes"
    )


class Published(Section):
    """Published totals, kept to be compared with, never used by the model."""

    peak_tops: PositiveReal | None = None
    power_w: PositiveReal | None = None
    power_of: Literal["engine", "chip", "board"] = Field(
        default="engine",
        description="what draws it: the array with its memories; the chip, processors and interfaces "
        "included; the board, with DRAM and what supplies it",
    )
    load: str | None = Field(
        default=None,
        description="the model on which it draws that, as npusim run takes it; by default it is the peak",
    )
    die_mm2: PositiveReal | None = None


class Source(Section):
    status: Literal["published", "estimated"]
    source: Annotated[str, Field(min_length=8)]
