"""The commands of a program: few, general, one per operator.

A command names tensors and constants of its program; the engines (values, cycles, energy) read it and
nothing above it. All numbers are integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from simulator.program.nest import Nest

Parameters = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Requantize:
    """The output stage: accumulator -> code.

    ``kind`` names a requantizer of ``fixedpoint.requantize.KINDS``; ``multiplier`` and ``shift`` name
    int64 constants with one entry per output channel. The last ``tail_channels`` go through
    ``tail_kind`` instead: vectorised kernels round what is left over from whole vectors their own way.

    Of kind ``thresholds``, ``multiplier`` names (channels, levels) ascending numbers and ``shift`` a
    direction, 1 or -1, for each channel: the code is ``zero_point`` and how many of them
    ``direction * accumulator`` reaches.
    """

    kind: str
    multiplier: str
    shift: str
    zero_point: int
    clamp_min: int
    clamp_max: int
    tail_kind: str = ""
    tail_channels: int = 0


@dataclass(frozen=True)
class Streams:
    """What a command moves through the DMA rather than finding on chip.

    ``inputs`` has one flag for each of the command's ``inputs``. ``weights``: the weights of a Matmul;
    of a Vector what it loads whole and keeps. ``prefetched``: that, or the first weight tile, is loaded
    while the command before it runs; before the first command that is the last one of the inference
    before, if there is one.
    """

    inputs: tuple[bool, ...] = ()
    weights: bool = False
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

    ``weights`` names a constant of shape (groups, kernel_h, kernel_w, k, n), or, where
    ``weights_made`` is set, a tensor with its elements in that order, made by the program; ``bias`` an
    int64 constant of groups * n. ``ifmap_offset`` is subtracted from every ifmap code as it enters a
    PE (likewise ``weight_offset``); a tap on padding enters as ``pad_code - ifmap_offset``. ``split``: how
    the device's cores divide it (``program.split.SPLITS``; '': one of them does it alone).
    ``stored_millibits``: what a weight takes on average where it is encoded (0: ``weight_bits``);
    ``sparse``: its weights are as sparse as the array can make use of. ``table_entries``: of the table that
    its weights are read from in front of the array (0: none). ``group``: neighbouring input channels whose
    sums are multiplied by a factor of ``factor_bits`` behind it (0: none). ``shift_terms``: the most signed
    powers of two that a weight is a sum of, where PEs shift (else 0).
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
    split: str = ""
    weights_made: bool = False
    stored_millibits: int = 0
    sparse: bool = False
    table_entries: int = 0
    group: int = 0
    factor_bits: int = 0
    shift_terms: int = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.ifmap, self.weights) if self.weights_made else (self.ifmap,)


@dataclass(frozen=True)
class Vector:
    """A function of the vector unit over a nest; ``parameters`` are the function's own numbers.

    Inputs with as many elements as the nest reads are taken tile by tile (two at most), any other, a
    table or an operand to be broadcast, is loaded whole before the first tile and kept. Constant
    inputs are tensors of the program like any other. ``split`` as of a Matmul.
    """

    name: str
    operator: str
    function: str
    inputs: tuple[str, ...]
    ofmap: str
    nest: Nest
    parameters: Parameters
    lane: LaneWork
    streams: Streams = Streams()
    split: str = ""

    def parameter(self, key: str) -> int:
        for name, value in self.parameters:
            if name == key:
                return value
        raise KeyError(f"{self.name}: no parameter {key}")


class Piece(NamedTuple):
    """One strided copy: element ``index`` (within ``sizes``) goes from
    ``source_offset + sum(index * source_strides)`` to ``ofmap_offset + sum(index * ofmap_strides)``.

    Offsets and strides count elements; source strides may be 0 (repeat) or negative (reverse).
    ``source`` is a place in the Move's ``sources``.
    """

    source: int
    sizes: tuple[int, ...]
    source_offset: int
    source_strides: tuple[int, ...]
    ofmap_offset: int
    ofmap_strides: tuple[int, ...]


@dataclass(frozen=True)
class Move:
    """Copies by the DMA: ``pieces`` of ``sources`` to their places in ``ofmap``; what no piece writes
    becomes ``fill``. Source and ofmap may lie in different memories.
    """

    name: str
    operator: str
    sources: tuple[str, ...]
    ofmap: str
    pieces: tuple[Piece, ...]
    fill: int = 0
    streams: Streams = Streams()

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.sources


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
    def streams(self) -> Streams:
        return self.command.streams


Command = Matmul | Vector | Move | Host
