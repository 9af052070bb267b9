"""Strided copies on values."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from simulator.program.commands import Move


def _strided(
    flat: np.ndarray, sizes: tuple[int, ...], offset: int, strides: tuple[int, ...]
) -> np.ndarray:
    """View (samples, *sizes) of (samples, elements); the caller has checked that it stays inside."""
    step = flat.itemsize
    return as_strided(
        flat[:, offset:], (flat.shape[0], *sizes), (flat.strides[0], *(s * step for s in strides))
    )


def run_move(command: Move, sources: list[np.ndarray], out: np.ndarray) -> None:
    """Fill ``out`` (samples, ...) from ``sources`` (samples, ...), all C-contiguous."""
    out[...] = command.fill
    target = out.reshape(out.shape[0], -1)
    for piece in command.pieces:
        source = sources[piece.source].reshape(out.shape[0], -1)
        _strided(target, piece.sizes, piece.ofmap_offset, piece.ofmap_strides)[...] = _strided(
            source, piece.sizes, piece.source_offset, piece.source_strides
        )
