"""The device as a whole, and its numbers as kernels take them."""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from simulator.errors import DeviceError
from simulator.hwconfig.sections import (
    OVERLAPS,
    Accumulator,
    Array,
    Dma,
    Dram,
    Energy,
    Host,
    OperatingPoint,
    Power,
    Published,
    Section,
    Source,
    SplitScratchpad,
    UnifiedScratchpad,
    Vector,
)


class MemoryNumbers(NamedTuple):
    """DMA and DRAM as plain integers, times in cycles of the device's clock.

    ``outstanding``: requests on their way at once, 0 where a transfer waits for the one before.
    ``row_by_row``: 1 where rows that follow each other are requested one by one all the same.
    ``kb_per_s``: what the DRAM reaches. ``row_cycle_ps``: from one row to another of a bank.
    ``shared_banks``: banks in which the DMA can meet the array, 0 where it has a port of its own.
    """

    bytes_per_cycle: int
    burst_bytes: int
    request_bytes: int
    write_request_bytes: int
    row_by_row: int
    outstanding: int
    latency_cycles: int
    kb_per_s: int
    clock_khz: int
    row_bytes: int
    row_cycle_ps: int
    banks: int
    refresh_interval_cycles: int
    refresh_cycles: int
    turnaround_cycles: int
    shared_banks: int


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
    streams_out: int
    clock_khz: int
    memory: MemoryNumbers


class Device(Section):
    """A whole device. Construct with :func:`load_device` or :func:`parse_device`."""

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    title: str
    device_class: str
    description: str = ""
    cores: Annotated[int, Field(ge=1, le=64)] = Field(
        1,
        description="alike, each with all that this file describes but the DRAM, which they share, and the "
        "host; they see each other's results in DRAM",
    )
    shared_scratchpad: bool = Field(
        False,
        description="the cores have one scratchpad together, and see each other's results there",
    )
    command_cycles: Annotated[int, Field(ge=0, le=1 << 20)] = Field(
        0, description="to fetch, decode and start a command, before the first of its transfers"
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
    power: Power = Power()
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

    @property
    def sram_bytes(self) -> tuple[int, int]:
        """Of all cores: scratchpads, which may be one, and accumulators."""
        pads = 1 if self.shared_scratchpad else self.cores
        return pads * self.scratchpad.capacity_bytes, self.cores * self.accumulator.capacity_bytes

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
            int(self.vector.streams_out), _khz(point), self._memory_numbers(point),
        )  # fmt: skip

    def _memory_numbers(self, point: OperatingPoint) -> MemoryNumbers:
        dma, dram, khz = self.dma, self.dram, _khz(point)

        def cycles(ns: float) -> int:
            return math.ceil(ns * khz * 1e-6)

        # Rounded to whole cycles, a refresh still leaves time to move something.
        refresh = cycles(dram.refresh_ns)
        interval = max(round(dram.refresh_interval_ns * khz * 1e-6), 2 * refresh)
        request = dma.request_bytes or dma.burst_bytes
        shared = self.scratchpad.banks if self.scratchpad.ports == "shared" else 0
        return MemoryNumbers(
            dma.bytes_per_cycle, dma.burst_bytes, request, dma.write_request_bytes or request,
            int(dma.row_by_row),
            dma.outstanding_requests or 0, dma.latency_cycles,
            max(1, round(dram.bandwidth_mb_per_s * dram.efficiency * 1000)), khz, dram.row_bytes,
            math.ceil(dram.row_cycle_ns * 1000), dram.banks, interval, refresh,
            cycles(dram.turnaround_ns), shared,
        )  # fmt: skip


def _khz(point: OperatingPoint) -> int:
    return max(1, round(point.clock_mhz * 1000))


def numeric_keys(device: Device, defaults: bool = True) -> list[str]:
    """Dotted keys of every number of ``device`` (list items by index, sources left out); without
    ``defaults``, of those that its file gives."""

    def walk(prefix: str, value: Any) -> list[str]:
        if isinstance(value, dict):
            return [
                k for key, v in value.items() for k in walk(f"{prefix}.{key}" if prefix else key, v)
            ]
        if isinstance(value, list | tuple):
            return [k for i, v in enumerate(value) for k in walk(f"{prefix}.{i}", v)]
        return [prefix] if isinstance(value, int | float) and not isinstance(value, bool) else []

    content = device.model_dump(
        exclude={"schema_version", "sources"}, exclude_none=True, exclude_unset=not defaults
    )
    return walk("", content)
