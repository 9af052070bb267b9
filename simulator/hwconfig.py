"""A device: what a TOML file under ``hwconfigs/devices/`` may say, validated once, then frozen.

Units are in the field names. Every number of a shipped device has an entry under ``[sources]`` that
calls it ``published`` (and where) or ``estimated`` (and how).
"""

from __future__ import annotations

import hashlib
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simulator.errors import DeviceError
from simulator.resources import data_folder

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


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Array(_Section):
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


class UnifiedScratchpad(_Section):
    """One memory shared by ifmaps, weights and ofmaps."""

    layout: Literal["unified"]
    capacity_bytes: Bytes
    buffers: Annotated[int, Field(ge=1, le=8)] = 2
    banks: Positive = 1
    read_bytes_per_cycle: Positive
    resident_weights: bool = Field(
        False, description="keep all weights on chip from one inference to the next if they fit"
    )


class SplitScratchpad(_Section):
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


class Accumulator(_Section):
    """The memory of partial sums behind the array."""

    capacity_bytes: Bytes
    buffers: Annotated[int, Field(ge=1, le=8)] = 2


class Vector(_Section):
    """The unit for output stages, pooling, element-wise operators and tables."""

    lanes: Positive
    functions: tuple[VectorFunction, ...] = VECTOR_FUNCTIONS


class Dma(_Section):
    """The engine between DRAM and scratchpad."""

    bytes_per_cycle: Positive
    burst_bytes: Positive = 16
    latency_cycles: Annotated[int, Field(ge=0, le=1 << 30)] = 0


class Dram(_Section):
    """The memory behind the DMA: DRAM, flash or a host link."""

    kind: str = Field(description="a key under [dram] of the energy table")
    bandwidth_mb_per_s: Annotated[float, Field(ge=0.1, le=1e9, allow_inf_nan=False)] = Field(
        description="decimal megabytes per second"
    )


class Host(_Section):
    """The processor that runs what the device cannot."""

    operations_per_s: Annotated[float, Field(ge=1e5, le=1e18, allow_inf_nan=False)]
    call_latency_s: Annotated[float, Field(ge=0, le=1e3, allow_inf_nan=False)]
    operation_pj: Real


class OperatingPoint(_Section):
    name: str
    voltage_v: Annotated[float, Field(ge=0.3, le=2.0, allow_inf_nan=False)]
    clock_mhz: Annotated[float, Field(ge=0.001, le=1e5, allow_inf_nan=False)]


class Energy(_Section):
    """Which table the energy of an action comes from, and where to scale it to."""

    table: str = "45nm"
    node_nm: PositiveReal
    wire_mm: Real = Field(description="distance of an operand from scratchpad to array")


class Power(_Section):
    """Power that flows whatever the array does, at the first operating point's voltage."""

    leakage_mw: Real
    idle_mw: Real = Field(
        description="what a running clock costs whatever the array does: clock tree, interfaces and the "
        "like; scales with the clock and with voltage squared"
    )


class Published(_Section):
    """Published totals, kept to be compared with, never used by the model."""

    peak_tops: PositiveReal | None = None
    power_w: PositiveReal | None = None


class Source(_Section):
    status: Literal["published", "estimated"]
    source: Annotated[str, Field(min_length=8)]


class DeviceNumbers(NamedTuple):
    """What surrounds the array, as plain integers for kernels; the array itself is ``dataflows.Grid``.

    ``overlap`` indexes :data:`OVERLAPS`.
    """

    psum_bits: int
    accumulator_bits: int
    overlap: int
    buffers: int
    read_bytes_per_cycle: int
    accumulator_bytes: int
    accumulator_buffers: int
    lanes: int
    dma_bytes_per_cycle: int
    burst_bytes: int
    dma_latency_cycles: int
    clock_khz: int
    dram_kb_per_s: int


class Device(_Section):
    """A whole device. Construct with :func:`load_device` or :func:`parse_device`."""

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    title: str
    device_class: str
    description: str = ""
    cores: Annotated[int, Field(ge=1, le=1)] = Field(
        1, description="one core in this version; partitioning over several is not built yet"
    )
    array: Array
    scratchpad: Annotated[UnifiedScratchpad | SplitScratchpad, Field(discriminator="layout")]
    accumulator: Accumulator
    vector: Vector
    dma: Dma
    dram: Dram
    host: Host
    operating_points: Annotated[tuple[OperatingPoint, ...], Field(min_length=1)]
    energy: Energy
    power: Power
    published: Published = Published()
    sources: dict[str, Source] = Field(
        default_factory=dict,
        description="dotted key, or the prefix of several, to where its number comes from",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Device:
        names = [p.name for p in self.operating_points]
        if len(set(names)) != len(names):
            raise ValueError(f"operating_points: names {names} are not all different")
        if self.array.sum_bits > self.array.accumulator_bits:
            raise ValueError(
                f"array.psum_bits: {self.array.psum_bits} is wider than array.accumulator_bits, "
                f"{self.array.accumulator_bits}"
            )
        words = self.accumulator.capacity_bytes * 8 // self.array.accumulator_bits
        if words < self.accumulator.buffers:
            raise ValueError(
                f"accumulator.capacity_bytes: {self.accumulator.capacity_bytes} holds {words} "
                f"accumulators of {self.array.accumulator_bits} bits, fewer than its "
                f"{self.accumulator.buffers} buffers"
            )
        known = set(numeric_keys(self))
        for key in self.sources:
            if not any(k == key or k.startswith(key + ".") for k in known):
                raise ValueError(
                    f"sources: {key!r} names no number of this device, nor the section of one "
                    "(such as array.rows or array)"
                )
        return self

    @cached_property
    def sha256(self) -> str:
        """Digest of everything that can change a result (not of titles and sources)."""
        content = self.model_dump_json(exclude={"title", "description", "sources", "published"})
        return hashlib.sha256(content.encode()).hexdigest()

    def operating_point(self, name: str | None = None) -> OperatingPoint:
        """The operating point called ``name``; the first one without a name."""
        for point in self.operating_points:
            if name is None or point.name == name:
                return point
        allowed = ", ".join(p.name for p in self.operating_points)
        raise DeviceError(self.name, f"no operating point called {name!r}", allowed)

    def peak_tops(self, point: OperatingPoint) -> float:
        """In 1e12 per second: 2 operations per PE and cycle, on operands of the PEs' own widths; a
        bit-serial PE needs a cycle for each bit of a weight."""
        serial = self.array.precision_scaling == "bit_serial"
        per_pe = 2e-6 / (self.array.weight_bits if serial else 1)
        return per_pe * self.array.rows * self.array.cols * self.cores * point.clock_mhz

    def numbers(self, point: OperatingPoint) -> DeviceNumbers:
        a, s = self.array, self.scratchpad
        return DeviceNumbers(
            a.sum_bits, a.accumulator_bits, OVERLAPS.index(a.overlap), s.buffers, s.read_bytes_per_cycle,
            self.accumulator.capacity_bytes, self.accumulator.buffers, self.vector.lanes,
            self.dma.bytes_per_cycle, self.dma.burst_bytes, self.dma.latency_cycles,
            max(1, round(point.clock_mhz * 1000)), max(1, round(self.dram.bandwidth_mb_per_s * 1000)),
        )  # fmt: skip


def numeric_keys(device: Device) -> list[str]:
    """Dotted keys of every number of ``device`` (list items by index, sources left out)."""

    def walk(prefix: str, value: Any) -> list[str]:
        if isinstance(value, dict):
            return [
                k for key, v in value.items() for k in walk(f"{prefix}.{key}" if prefix else key, v)
            ]
        if isinstance(value, list | tuple):
            return [k for i, v in enumerate(value) for k in walk(f"{prefix}.{i}", v)]
        return [prefix] if isinstance(value, int | float) and not isinstance(value, bool) else []

    return walk("", device.model_dump(exclude={"schema_version", "sources"}, exclude_none=True))


def parse_device(text: str, where: str) -> Device:
    """A device from TOML ``text``; ``where`` names it in errors."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(where, f"not valid TOML: {error}") from None
    return device_from_dict(content, where)


def device_from_dict(content: dict[str, Any], where: str) -> Device:
    """A device from nested plain values, as TOML gives them."""
    try:
        return Device.model_validate(_lists_to_tuples(content))
    except ValidationError as error:
        raise DeviceError(where, *_explain(error)) from None


def _lists_to_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lists_to_tuples(v) for k, v in value.items()}
    return tuple(_lists_to_tuples(v) for v in value) if isinstance(value, list) else value


# Kinds of pydantic errors whose own words name Python types, and what a TOML file wants instead.
_WANTED = {
    "model_type": "a table", "dict_type": "a table", "tuple_type": "a list", "too_short": "at least 1",
    "string_type": "text", "int_type": "an integer", "int_from_float": "an integer",
    "float_type": "a number", "bool_type": "true or false",
}  # fmt: skip
_SHORTER = {
    "greater than or equal to": "at least", "less than or equal to": "at most",
    "greater than": "above", "String should": "text to",
}  # fmt: skip
_SHOWN = 60  # characters of a wrong value


def _explain(error: ValidationError) -> tuple[str, str]:
    """What is wrong with the first wrong key, and what it may be."""
    found = error.errors(include_url=False)
    # A list whose only item is wrong is reported as too short as well.
    found = [e for e in found if e["type"] != "too_short" or not e["input"]]
    first = found[0]
    # Pydantic puts the chosen union member ("split") into the path; it is no key of the file.
    key = ".".join(str(p) for p in first["loc"] if p not in ("unified", "split")) or "device"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    kind, section = first["type"], tuple(first["loc"][:-1])
    if kind == "extra_forbidden":
        return f"{key}: unknown key{more}", _keys_at(section, False)
    if kind == "missing":
        return f"{key}: missing{more}", f"a table with at least {_keys_at(section, True)}"
    if kind == "union_tag_not_found":
        return f"{key}.layout: missing{more}", "'unified' or 'split'"
    if kind == "union_tag_invalid":
        return f"{key}.layout = {first['input'].get('layout')!r}{more}", "'unified' or 'split'"
    if kind == "value_error":
        return f"{first.get('ctx', {}).get('error')}{more}", ""
    value = first["input"]
    given = repr(list(value) if isinstance(value, tuple) else value)
    given = given if len(given) <= _SHOWN else given[:_SHOWN] + "..."
    message = _WANTED.get(kind, str(first["msg"]).removeprefix("Input should be "))
    for long, short in _SHORTER.items():
        message = message.replace(long, short)
    return f"{key} = {given}{more}", message


def _keys_at(path: tuple[Any, ...], required: bool) -> str:
    """The keys a section has, or must have."""
    model: Any = Device
    for part in path:
        if part == "unified":
            model = UnifiedScratchpad
        elif part == "split":
            model = SplitScratchpad
        elif part == "operating_points":
            model = OperatingPoint
        elif part == "sources":
            model = Source
        elif isinstance(model, type) and part in getattr(model, "model_fields", {}):
            model = model.model_fields[part].annotation
    fields = getattr(model, "model_fields", {}).items()
    return ", ".join(name for name, f in fields if f.is_required() or not required)


def device_names() -> list[str]:
    """Names of the shipped devices."""
    return sorted(p.stem for p in (data_folder("hwconfigs") / "devices").glob("*.toml"))


def load_device(name_or_path: str | Path) -> Device:
    """A shipped device by name, or any device file by path."""
    path = Path(name_or_path)
    if path.suffix != ".toml" and path.name == str(name_or_path):
        if str(name_or_path) not in device_names():
            allowed = f"{', '.join(device_names())}, or the path of a .toml file"
            raise DeviceError("device", f"no device called {str(name_or_path)!r}", allowed)
        path = data_folder("hwconfigs") / "devices" / f"{name_or_path}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DeviceError(str(path), f"cannot be read: {error.strerror}", "a .toml file") from None
    except UnicodeDecodeError as error:
        raise DeviceError(str(path), f"is not text: {error}", "UTF-8") from None
    return parse_device(text, str(path))


def with_array(device: Device, **changes: Any) -> Device:
    """``device`` with other values of its array, such as ``accumulator_bits``; checked as a file is."""
    content = device.model_dump()
    content["array"] |= changes
    return device_from_dict(content, device.name)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a device file, for editors; shipped as ``hwconfigs/device.schema.json``."""
    schema = Device.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
