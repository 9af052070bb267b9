"""A command's work divided over the cores of a device, each with a part of the ofmap.

Parts are whole blocks of one loop of the nest, so every output is made by one core in the same order of
additions as on a single one: values do not depend on the number of cores.
"""

from __future__ import annotations

from simulator.fixedpoint.width import ceil_div
from simulator.program.nest import Nest

SPLITS = ("rows", "columns", "channels", "groups")
"""Rows or columns of the ofmap image; output channels of a product; channels of anything else."""


def extent(nest: Nest, split: str) -> int:
    """What ``split`` divides."""
    return {
        "rows": nest.out_h, "columns": nest.out_w, "channels": nest.n, "groups": nest.groups
    }[split]  # fmt: skip


def shares(nest: Nest, split: str, cores: int) -> tuple[Nest, ...]:
    """The part of each core that has one, the first as large as any; all of it where ``split`` is ''."""
    if not split:
        return (nest,)
    whole = extent(nest, split)
    each = ceil_div(whole, cores)
    return tuple(_part(nest, split, low, min(low + each, whole)) for low in range(0, whole, each))


def _part(nest: Nest, split: str, low: int, high: int) -> Nest:
    size = high - low
    if split == "channels":
        return nest._replace(n=size, tile_n=min(nest.tile_n, size))
    if split == "groups":
        return nest._replace(groups=size, tile_g=min(nest.tile_g, size))
    if split == "rows":
        pad, _, in_size = _window(
            low, high, nest.stride_h, nest.dilation_h, nest.kernel_h, nest.pad_top, nest.in_h
        )
        return nest._replace(
            out_h=size, tile_h=min(nest.tile_h, size), pad_top=pad, in_h=in_size
        )  # fmt: skip
    pad, _, in_size = _window(
        low, high, nest.stride_w, nest.dilation_w, nest.kernel_w, nest.pad_left, nest.in_w
    )
    return nest._replace(out_w=size, tile_w=min(nest.tile_w, size), pad_left=pad, in_w=in_size)


def rows_of(nest: Nest, low: int, high: int) -> tuple[Nest, tuple[int, int]] | None:
    """(the nest of outputs in rows [low, high), the rows of its ifmap that they read); None where those are
    padding alone."""
    part = _part(nest, "rows", low, high)
    _, first, size = _window(
        low, high, nest.stride_h, nest.dilation_h, nest.kernel_h, nest.pad_top, nest.in_h
    )
    return None if first < 0 else (part, (first, first + size))


def _window(
    low: int, high: int, stride: int, dilation: int, kernel: int, pad: int, size: int
) -> tuple[int, int, int]:
    """(padding before, the first input, inputs) of outputs [low, high), whose part of the inputs begins
    with the first that they read. Where they read padding alone: -1, and one input behind all windows."""
    first, reach = low * stride - pad, (high - low - 1) * stride + (kernel - 1) * dilation
    skipped, last = max(first, 0), min(first + reach, size - 1)
    if last < skipped:
        return reach + 1, -1, 1
    return max(-first, 0), skipped, last + 1 - skipped
