"""The loop nest of a command: extents, tile sizes and order, and what one tile touches.

A nest is plain integers, so that the same functions serve the compiler, the datapath, the cycle
model and the energy counts, for one device or for a block of design points.

Loops, outermost first (the reduction ``k`` is always innermost, so a partial sum never leaves the
accumulator memory):

* ``ROWS_OUTER``:    batch, out_h, out_w, groups, n, k
* ``COLUMNS_OUTER``: groups, n, batch, out_h, out_w, k: weights that need no second tile of k are
  loaded once for all samples of a batch

Within a tile the reduction runs over kernel rows, kernel columns, then input channels.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.fixedpoint.width import ceil_div
from simulator.jit import jit

ROWS_OUTER = 0
COLUMNS_OUTER = 1
ORDERS = ("rows_outer", "columns_outer")


class Nest(NamedTuple):
    """One command as loops. ``n`` and ``k``: output and input channels per group.

    An element-wise or pooling command has ``n = k = 1`` and its channels as ``groups``.
    """

    batch: int
    out_h: int
    out_w: int
    groups: int
    n: int
    k: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    pad_top: int
    pad_left: int
    in_h: int
    in_w: int
    tile_h: int
    tile_w: int
    tile_g: int
    tile_n: int
    tile_k: int
    order: int


class Tile(NamedTuple):
    """Half-open ranges of one tile, and its place in the reduction."""

    batch: int
    h0: int
    h1: int
    w0: int
    w1: int
    g0: int
    g1: int
    n0: int
    n1: int
    k0: int
    k1: int
    weight_index: int  # equal indices mean the same weight tile
    ifmap_index: int  # equal indices mean the same ifmap tile
    first_k: bool
    last_k: bool


def untiled(
    *,
    batch: int = 1,
    out: tuple[int, int],
    groups: int = 1,
    n: int = 1,
    k: int = 1,
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    pad: tuple[int, int] = (0, 0),
    ifmap: tuple[int, int],
) -> Nest:
    """A nest of a single tile, the form in which operators lower."""
    return Nest(
        batch, *out, groups, n, k, *kernel, *stride, *dilation, *pad, *ifmap,
        *out, groups, n, k, ROWS_OUTER,
    )  # fmt: skip


@jit
def retiled(
    nest: Nest, tile_h: int, tile_w: int, tile_g: int, tile_n: int, tile_k: int, order: int
) -> Nest:
    """The same loops with other tiles."""
    return Nest(
        nest.batch, nest.out_h, nest.out_w, nest.groups, nest.n, nest.k,
        nest.kernel_h, nest.kernel_w, nest.stride_h, nest.stride_w,
        nest.dilation_h, nest.dilation_w, nest.pad_top, nest.pad_left, nest.in_h, nest.in_w,
        tile_h, tile_w, tile_g, tile_n, tile_k, order,
    )  # fmt: skip


@jit
def macs(nest: Nest) -> int:
    """Multiply-accumulates, taps that fall on padding included (the array streams them too)."""
    return (
        nest.batch * nest.out_h * nest.out_w * nest.groups * nest.n
        * nest.kernel_h * nest.kernel_w * nest.k
    )  # fmt: skip


def padded_size(nest: Nest) -> tuple[int, int]:
    """(height, width) of the ifmap with its padding, as far as windows reach."""
    height = (nest.out_h - 1) * nest.stride_h + (nest.kernel_h - 1) * nest.dilation_h + 1
    width = (nest.out_w - 1) * nest.stride_w + (nest.kernel_w - 1) * nest.dilation_w + 1
    return height, width


@jit
def tile_counts(nest: Nest) -> tuple[int, int, int, int]:
    """Tiles along rows and columns of the ofmap together, along groups, n and k; batch left out."""
    pixels = ceil_div(nest.out_h, nest.tile_h) * ceil_div(nest.out_w, nest.tile_w)
    return (
        pixels,
        ceil_div(nest.groups, nest.tile_g),
        ceil_div(nest.n, nest.tile_n),
        ceil_div(nest.k, nest.tile_k),
    )


@jit
def tile_count(nest: Nest) -> int:
    """Number of tiles; the reduction tiles of one output tile are counted one by one."""
    return output_tile_count(nest) * ceil_div(nest.k, nest.tile_k)


@jit
def output_tile_count(nest: Nest) -> int:
    """Number of tiles of the ofmap."""
    return (
        nest.batch
        * ceil_div(nest.out_h, nest.tile_h)
        * ceil_div(nest.out_w, nest.tile_w)
        * ceil_div(nest.groups, nest.tile_g)
        * ceil_div(nest.n, nest.tile_n)
    )


@jit
def tile_at(nest: Nest, index: int) -> Tile:
    """The ``index``-th tile in execution order."""
    count_k = ceil_div(nest.k, nest.tile_k)
    count_n = ceil_div(nest.n, nest.tile_n)
    count_g = ceil_div(nest.groups, nest.tile_g)
    count_w = ceil_div(nest.out_w, nest.tile_w)
    count_h = ceil_div(nest.out_h, nest.tile_h)
    k = index % count_k
    rest = index // count_k
    if nest.order == ROWS_OUTER:
        n = rest % count_n
        rest //= count_n
        g = rest % count_g
        rest //= count_g
        w = rest % count_w
        rest //= count_w
        h = rest % count_h
        batch = rest // count_h
    else:
        w = rest % count_w
        rest //= count_w
        h = rest % count_h
        rest //= count_h
        batch = rest % nest.batch
        rest //= nest.batch
        n = rest % count_n
        g = rest // count_n
    return Tile(
        batch,
        h * nest.tile_h, min((h + 1) * nest.tile_h, nest.out_h),
        w * nest.tile_w, min((w + 1) * nest.tile_w, nest.out_w),
        g * nest.tile_g, min((g + 1) * nest.tile_g, nest.groups),
        n * nest.tile_n, min((n + 1) * nest.tile_n, nest.n),
        k * nest.tile_k, min((k + 1) * nest.tile_k, nest.k),
        (g * count_n + n) * count_k + k,
        (((batch * count_h + h) * count_w + w) * count_g + g) * count_k + k,
        k == 0,
        k == count_k - 1,
    )  # fmt: skip


@jit
def _input_extent(
    o0: int, o1: int, stride: int, dilation: int, kernel: int, pad: int, size: int
) -> int:
    """Input positions that outputs [o0, o1) read along one axis, padding left out."""
    first = max(o0 * stride - pad, 0)
    last = min((o1 - 1) * stride - pad + (kernel - 1) * dilation, size - 1)
    return max(last - first + 1, 0)


@jit
def ifmap_extent(nest: Nest, tile: Tile) -> tuple[int, int]:
    """(rows, columns) of the ifmap that one tile reads, padding left out."""
    rows = _input_extent(
        tile.h0, tile.h1, nest.stride_h, nest.dilation_h, nest.kernel_h, nest.pad_top, nest.in_h
    )
    cols = _input_extent(
        tile.w0, tile.w1, nest.stride_w, nest.dilation_w, nest.kernel_w, nest.pad_left, nest.in_w
    )
    return rows, cols


@jit
def ifmap_elements(nest: Nest, tile: Tile) -> int:
    """Ifmap elements one tile reads, each counted once, padding left out."""
    rows, cols = ifmap_extent(nest, tile)
    return rows * cols * (tile.g1 - tile.g0) * (tile.k1 - tile.k0)


@jit
def largest_ifmap_elements(nest: Nest) -> int:
    """Upper bound of :func:`ifmap_elements` over the tiles: what a stream buffer must hold."""
    rows = min((nest.tile_h - 1) * nest.stride_h + (nest.kernel_h - 1) * nest.dilation_h + 1,
               nest.in_h)  # fmt: skip
    cols = min((nest.tile_w - 1) * nest.stride_w + (nest.kernel_w - 1) * nest.dilation_w + 1,
               nest.in_w)  # fmt: skip
    return rows * cols * nest.tile_g * nest.tile_k


@jit
def weight_elements(nest: Nest, tile: Tile) -> int:
    """Weights one tile multiplies with."""
    return (
        (tile.g1 - tile.g0) * (tile.n1 - tile.n0) * (tile.k1 - tile.k0)
        * nest.kernel_h * nest.kernel_w
    )  # fmt: skip


@jit
def ofmap_elements(tile: Tile) -> int:
    """Output elements of one tile."""
    return (
        (tile.h1 - tile.h0) * (tile.w1 - tile.w0) * (tile.g1 - tile.g0) * (tile.n1 - tile.n0)
    )  # fmt: skip
