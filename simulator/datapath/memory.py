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


def unpack(raw: np.ndarray, elements: int, bits: int, container: np.dtype) -> np.ndarray:
    """The inverse of :func:`pack`."""
    width = container.itemsize * 8
    if bits == width:
        # A copy always: what was read must not change when its bytes are written again.
        return raw.copy().view(container)
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
    """Bytes of every memory region a program's tensors lie in, for ``samples`` inputs at once."""

    def __init__(self, program: Program, samples: int) -> None:
        # Fresh memory holds a pattern, so that reading what was never written shows.
        self._bytes = {
            region: np.full((samples, size), 0xA5, np.uint8)
            for region, size in region_bytes(program).items()
        }

    def read(self, place: Placement) -> np.ndarray:
        """The tensor at ``place``: (samples, *shape) of its container type, C-contiguous."""
        end = place.address_bytes + place.spec.size_bytes
        raw = self._bytes[place.region][:, place.address_bytes : end]
        spec = place.spec
        values = unpack(raw, spec.elements, spec.bits, spec.container)
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
