"""The commands of a program: few, general, one per operator.

A command names tensors and constants of its program; the engines (values, cycles, energy) read it and
nothing above it. All numbers are integers.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.program.nest import Nest

Parameters = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Requantize:
    """The output stage: accumulator -> code.

    ``kind`` names a requantizer of ``fixedpoint.requantize.KINDS``; ``multiplier`` and ``shift`` name
    int64 constants with one entry per output channel.
    """

    kind: str
    multiplier: str
    shift: str
    zero_point: int
    clamp_min: int
    clamp_max: int


@dataclass(frozen=True)
class Streams:
    """What a command moves through the DMA rather than finding on chip.

    ``prefetched``: its first weight tile is loaded while the command before it runs.
    """

    weights: bool = False
    ifmap: bool = False
    second_ifmap: bool = False
    ofmap: bool = False
    prefetched: bool = False


@dataclass(frozen=True)
class LaneWork:
    """What the vector unit does for one output element.

    ``cycles``: issue slots of a lane; the others are counts for energy.
    """

    cycles: int
    multiplies: int
    adds: int
    lookups: int = 0


@dataclass(frozen=True)
class Matmul:
    """Convolution, grouped or depthwise convolution, or fully connected: a nest around a product.

    ``weights`` names a constant of shape (groups, kernel_h, kernel_w, k, n); ``bias`` an int64 constant
    of groups * n. ``ifmap_offset`` is subtracted from every ifmap code as it enters a PE (likewise
    ``weight_offset``); a tap on padding enters as ``pad_code - ifmap_offset``.
    """

    name: str
    operator: str
    ifmap: str
    weights: str
    bias: str
    ofmap: str
    nest: Nest
    dataflow: str
    ifmap_offset: int
    weight_offset: int
    pad_code: int
    weight_bits: int
    channel_bits: int
    requantize: Requantize
    lane: LaneWork
    streams: Streams = Streams()
    core: int = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.ifmap,)


@dataclass(frozen=True)
class Vector:
    """A function of the vector unit over a nest; ``parameters`` are the function's own numbers."""

    name: str
    operator: str
    function: str
    inputs: tuple[str, ...]
    ofmap: str
    nest: Nest
    parameters: Parameters
    lane: LaneWork
    streams: Streams = Streams()
    core: int = 0

    def parameter(self, key: str) -> int:
        for name, value in self.parameters:
            if name == key:
                return value
        raise KeyError(f"{self.name}: no parameter {key}")


@dataclass(frozen=True)
class Move:
    """Copy ``source`` to ``ofmap``, where both may lie in different memories.

    ``before`` and ``after`` are elements of ``fill`` put around the source along each dimension (PAD);
    empty tuples copy as it is.
    """

    name: str
    operator: str
    source: str
    ofmap: str
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    fill: int = 0
    streams: Streams = Streams()
    core: int = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.source,)


@dataclass(frozen=True)
class Host:
    """What the device cannot do, run on the host: operands go to DRAM, results come from there.

    ``command`` says what is computed; ``operations`` is what the host is charged for; ``reason`` is
    the rule the device does not meet.
    """

    command: Matmul | Vector
    operations: int
    reason: str

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def operator(self) -> str:
        return self.command.operator

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.command.inputs

    @property
    def ofmap(self) -> str:
        return self.command.ofmap

    @property
    def core(self) -> int:
        return self.command.core

    @property
    def streams(self) -> Streams:
        return self.command.streams


Command = Matmul | Vector | Move | Host
