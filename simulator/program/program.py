"""The program: the narrow waist between the compiler and the three engines."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from simulator.hwconfig import Device
from simulator.program.commands import Command, Matmul
from simulator.tensor import QuantParams, TensorSpec

DRAM = "dram"


@dataclass(frozen=True)
class Placement:
    """Where a tensor lies while commands ``first`` to ``last`` run (-1: before the first).

    ``region`` is ``dram`` or a scratchpad region (``unified``, ``ifmap``). Tensors that share an
    address and a lifetime are one tensor under two names (RESHAPE). ``view_of`` names the tensor that this
    one is a part of, where it is.
    """

    name: str
    spec: TensorSpec
    quantization: QuantParams | None
    region: str
    address_bytes: int
    first: int
    last: int
    view_of: str = ""


@dataclass(frozen=True)
class StreamBuffer:
    """Scratchpad room for tiles on their way: ``role`` is weights, ifmap, second_ifmap or ofmap.

    ``first`` .. ``last`` are the commands during which the room is taken.
    """

    command: int
    role: str
    region: str
    address_bytes: int
    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Program:
    """Commands in order, where their tensors lie, and the constants they name.

    A tensor that has a constant of its own name holds that value before the first command; those named
    in ``states`` keep what commands write to them for the next inference. ``capacities`` are the
    scratchpad regions the addresses refer to. ``resident_weight_bytes`` of weights stay on chip between
    inferences. ``operating_point`` is the one whose clock the
    tiles were chosen for; the program runs at any.
    """

    name: str
    profile: str
    device: Device
    model_sha256: str
    placements: Mapping[str, Placement]
    buffers: tuple[StreamBuffer, ...]
    constants: Mapping[str, np.ndarray]
    commands: tuple[Command, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    capacities: tuple[tuple[str, int], ...]
    resident_weight_bytes: int = 0
    operating_point: str = ""
    states: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "placements", MappingProxyType(dict(self.placements)))
        frozen = {}
        for name, values in self.constants.items():
            values = np.ascontiguousarray(values).view()  # the caller's array stays as it is
            values.flags.writeable = False
            frozen[name] = values
        object.__setattr__(self, "constants", MappingProxyType(frozen))

    @cached_property
    def scratchpad_peak_bytes(self) -> int:
        """Most scratchpad bytes taken at once, over all commands and regions."""
        return max(self.scratchpad_bytes_at(i) for i in range(len(self.commands)))

    def scratchpad_bytes_at(self, index: int) -> int:
        """Scratchpad bytes taken while command ``index`` runs, over all regions."""
        return sum(size for size, first, last in self._scratchpad if first <= index <= last)

    @cached_property
    def distinct_buffers(self) -> tuple[StreamBuffer, ...]:
        """``buffers``; one that holds the same weights for several commands, only once."""
        found: dict[tuple[object, ...], StreamBuffer] = {}
        for b in self.buffers:
            command = self.commands[b.command]
            kept = b.role == "weights" and not command.streams.weights
            content = shared_weights(command) if kept else (b.command, b.role)
            key = (b.region, b.address_bytes, b.size_bytes, b.first, b.last, content)
            found.setdefault(key, b)
        return tuple(found.values())

    @cached_property
    def _scratchpad(self) -> list[tuple[int, int, int]]:
        """(bytes, first, last command) of everything in the scratchpad; two names count once."""
        ranges = [(b.size_bytes, b.first, b.last) for b in self.distinct_buffers]
        seen: set[tuple[str, int, int]] = set()
        for p in self.placements.values():
            key = (p.region, p.address_bytes, p.first)
            if p.region != DRAM and not p.view_of and key not in seen:
                seen.add(key)
                ranges.append((p.spec.size_bytes, p.first, p.last))
        return ranges


def shared_weights(command: Command) -> tuple[str, ...]:
    """What a Matmul's weights bring on chip: equal for commands that can use the same copy."""
    if not isinstance(command, Matmul):
        return ()
    stage = command.requantize
    return command.weights, command.bias, stage.multiplier, stage.shift


def constant_digest(values: np.ndarray) -> str:
    """SHA-256 of a constant's type, shape and values."""
    header = f"{values.dtype} {values.shape} ".encode()
    return hashlib.sha256(header + np.ascontiguousarray(values).tobytes()).hexdigest()
