"""The machine's memories as bytes, and tensors in them: packed as on the device."""

from __future__ import annotations

import numpy as np

from simulator.program.program import Placement, Program


def pack(values: np.ndarray, bits: int) -> np.ndarray:
    """(samples, elements) integers -> (samples, bytes), ``bits`` each, little end first, no gaps."""
    width = values.dtype.itemsize * 8
    if bits == width:
        return values.view(np.uint8)
    raw = values.view(np.uint8).reshape(*values.shape, values.dtype.itemsize)
    planes = np.unpackbits(raw, axis=-1, bitorder="little")[..., :bits]
    return np.packbits(planes.reshape(values.shape[0], -1), axis=-1, bitorder="little")


def unpack(
    raw: np.ndarray, elements: int, bits: int, container: np.dtype, room: np.ndarray | None = None
) -> np.ndarray:
    """The inverse of :func:`pack`; ``room``: bytes to use where the result is as large as ``raw``."""
    width = container.itemsize * 8
    if bits == width:
        # A copy always: what was read must not change when its bytes are written again.
        target = np.empty(raw.shape, np.uint8) if room is None else room[: raw.size]
        target = target.reshape(raw.shape)
        np.copyto(target, raw)
        return target.view(container)
    planes = np.unpackbits(raw, axis=-1, count=elements * bits, bitorder="little")
    planes = planes.reshape(raw.shape[0], elements, bits)
    # Extend to the container's width: by the sign bit, or by zeros.
    fill = planes[..., -1:] if container.kind == "i" else np.zeros_like(planes[..., -1:])
    wide = np.concatenate([planes, np.repeat(fill, width - bits, axis=-1)], axis=-1)
    return np.packbits(wide, axis=-1, bitorder="little").reshape(raw.shape[0], -1).view(container)


def region_bytes(program: Program) -> dict[str, int]:
    """Bytes of every memory region that a program's tensors reach."""
    sizes: dict[str, int] = {}
    for p in program.placements.values():
        sizes[p.region] = max(sizes.get(p.region, 0), p.address_bytes + p.spec.size_bytes)
    return sizes


class Memory:
    """Bytes of every memory region a program's tensors lie in, for ``samples`` inputs at once.

    It also lends room for what one command reads and makes: fresh memory costs more than many a command.
    """

    def __init__(self, program: Program, samples: int) -> None:
        self.samples = samples
        self._bytes = {
            region: np.empty((samples, size), np.uint8)
            for region, size in region_bytes(program).items()
        }
        self._room: dict[int, np.ndarray] = {}
        self.forget()

    def forget(self) -> None:
        """Fill it with a pattern, so that reading what was never written shows."""
        for values in self._bytes.values():
            values.fill(0xA5)

    def _lent(self, slot: int, size: int) -> np.ndarray:
        if slot not in self._room or self._room[slot].size < size:
            self._room[slot] = np.empty(size, np.uint8)
        return self._room[slot]

    def operand(self, place: Placement, slot: int) -> np.ndarray:
        """As :meth:`read`, in the room of ``slot``: until the next operand of that slot is asked for."""
        size = self.samples * place.spec.size_bytes
        return self._read(place, self._lent(slot, size))

    def result(self, place: Placement, zeros: bool = True) -> np.ndarray:
        """Room of a tensor's form, (samples, *shape), until the next is asked for; ``zeros`` unless
        whoever asks fills it all."""
        spec, container = place.spec, place.spec.container
        size = self.samples * spec.elements * container.itemsize
        room = self._lent(-1, size)[:size]
        if zeros:
            room.fill(0)
        return room.view(container).reshape(self.samples, *spec.shape)

    def read(self, place: Placement) -> np.ndarray:
        """The tensor at ``place``: (samples, *shape) of its container type, C-contiguous."""
        return self._read(place, None)

    def _read(self, place: Placement, room: np.ndarray | None) -> np.ndarray:
        end = place.address_bytes + place.spec.size_bytes
        raw = self._bytes[place.region][:, place.address_bytes : end]
        spec = place.spec
        values = unpack(raw, spec.elements, spec.bits, spec.container, room)
        if spec.bipolar:  # the bit, here as 0 or -1, says which of -1 and 1
            values = (-2 * values - 1).astype(spec.container)
        return values.reshape(raw.shape[0], *spec.shape)

    def write(self, place: Placement, values: np.ndarray) -> None:
        """Store (samples, *shape) values of the container type at ``place``."""
        end = place.address_bytes + place.spec.size_bytes
        flat = np.ascontiguousarray(values).reshape(values.shape[0], -1)
        if place.spec.bipolar:
            flat = -(flat > 0).astype(place.spec.container)
        self._bytes[place.region][:, place.address_bytes : end] = pack(flat, place.spec.bits)
