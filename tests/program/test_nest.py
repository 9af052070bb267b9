"""Tiles of a nest: every element once, in the stated order, with the stated sizes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

from simulator.program.nest import (
    COLUMNS_OUTER,
    ORDERS,
    ROWS_OUTER,
    Nest,
    ifmap_elements,
    largest_ifmap_elements,
    macs,
    ofmap_elements,
    output_tile_count,
    retiled,
    tile_at,
    tile_count,
    tile_counts,
    untiled,
    weight_elements,
)
from simulator.program.traffic import (
    CommandNumbers,
    footprint,
    ifmap_tile_bytes,
    ofmap_tile_bytes,
    weight_tile_bytes,
)

CASES = 300


def some(rng: np.random.Generator, high: int) -> int:
    return int(rng.integers(1, high + 1))


def random_nest(rng: np.random.Generator) -> Nest:
    kernel, stride = (some(rng, 4), some(rng, 4)), (some(rng, 3), some(rng, 3))
    dilation, pad = (some(rng, 2), some(rng, 2)), (some(rng, 3) - 1, some(rng, 3) - 1)
    nest = untiled(
        batch=some(rng, 2), out=(some(rng, 6), some(rng, 6)), groups=some(rng, 4), n=some(rng, 5),
        k=some(rng, 5), kernel=kernel, stride=stride, dilation=dilation, pad=pad,
        ifmap=(some(rng, 12), some(rng, 12)),
    )  # fmt: skip
    h, w, g, n, k = (
        some(rng, extent) for extent in (nest.out_h, nest.out_w, nest.groups, nest.n, nest.k)
    )
    return retiled(nest, h, w, g, n, k, int(rng.integers(2)))


def random_nests() -> Iterator[Nest]:
    for seed in range(CASES):
        yield random_nest(np.random.default_rng(seed))


class Step(NamedTuple):
    """One tile as the loops come to it."""

    b: int
    h: int
    w: int
    g: int
    n: int
    k: int


def steps(nest: Nest) -> Iterator[Step]:
    """Starts of the tiles in nested loops; the order is the module's docstring."""
    b, h, w = (
        range(nest.batch),
        range(0, nest.out_h, nest.tile_h),
        range(0, nest.out_w, nest.tile_w),
    )
    g, n = range(0, nest.groups, nest.tile_g), range(0, nest.n, nest.tile_n)
    k = range(0, nest.k, nest.tile_k)
    if nest.order == ROWS_OUTER:
        return (Step._make(at) for at in product(b, h, w, g, n, k))
    return (Step(b, h, w, g, n, k) for g, n, b, h, w, k in product(g, n, b, h, w, k))


def test_orders_are_named() -> None:
    assert (ORDERS[ROWS_OUTER], ORDERS[COLUMNS_OUTER]) == ("rows_outer", "columns_outer")


def test_tiles_come_in_the_stated_order() -> None:
    for nest in random_nests():
        expected = list(steps(nest))
        tiles = [tile_at(nest, i) for i in range(tile_count(nest))]
        assert [Step(t.batch, t.h0, t.w0, t.g0, t.n0, t.k0) for t in tiles] == expected
        assert [t.first_k for t in tiles] == [s.k == 0 for s in expected]
        assert [t.last_k for t in tiles] == [s.k + nest.tile_k >= nest.k for s in expected]
        assert sum(t.last_k for t in tiles) == output_tile_count(nest)


def test_tiles_cover_every_product_once() -> None:
    for nest in random_nests():
        shape = (nest.batch, nest.out_h, nest.out_w, nest.groups, nest.n, nest.k)
        seen = np.zeros(shape, np.int64)
        made = 0
        for index in range(tile_count(nest)):
            t = tile_at(nest, index)
            seen[t.batch, t.h0 : t.h1, t.w0 : t.w1, t.g0 : t.g1, t.n0 : t.n1, t.k0 : t.k1] += 1
            made += ofmap_elements(t) * t.last_k
        assert (seen == 1).all()
        assert macs(nest) == seen.size * nest.kernel_h * nest.kernel_w
        assert made == seen[..., 0].size


def test_equal_indices_mean_equal_tiles() -> None:
    for nest in random_nests():
        weights: dict[int, tuple] = {}
        ifmaps: dict[int, tuple] = {}
        tiles = [tile_at(nest, i) for i in range(tile_count(nest))]
        for t in tiles:
            weight, ifmap = (t.g0, t.n0, t.k0), (t.batch, t.h0, t.w0, t.g0, t.k0)
            assert weights.setdefault(t.weight_index, weight) == weight
            assert ifmaps.setdefault(t.ifmap_index, ifmap) == ifmap
        assert len(set(weights.values())) == len(weights)
        assert len(set(ifmaps.values())) == len(ifmaps)
        pixels, groups, n, k = tile_counts(nest)
        assert len(weights) == groups * n * k
        assert len(ifmaps) == nest.batch * pixels * groups * k


def rows_read(outputs: range, stride: int, dilation: int, kernel: int, pad: int, size: int) -> int:
    """From the first tap to the last, as far as they lie in the image."""
    taps = [o * stride - pad + j * dilation for o in outputs for j in range(kernel)]
    return sum(0 <= at < size for at in range(min(taps), max(taps) + 1))


def test_what_a_tile_reads() -> None:
    for nest in random_nests():
        for index in range(tile_count(nest)):
            t = tile_at(nest, index)
            rows = rows_read(
                range(t.h0, t.h1), nest.stride_h, nest.dilation_h, nest.kernel_h, nest.pad_top,
                nest.in_h,
            )  # fmt: skip
            cols = rows_read(
                range(t.w0, t.w1), nest.stride_w, nest.dilation_w, nest.kernel_w, nest.pad_left,
                nest.in_w,
            )  # fmt: skip
            channels = (t.g1 - t.g0) * (t.k1 - t.k0)
            assert ifmap_elements(nest, t) == rows * cols * channels
            assert ifmap_elements(nest, t) <= largest_ifmap_elements(nest)
            kernel = nest.kernel_h * nest.kernel_w
            assert weight_elements(nest, t) == channels * (t.n1 - t.n0) * kernel


@pytest.mark.parametrize("buffers", [1, 2, 3])
def test_stream_buffers_hold_every_tile(buffers: int) -> None:
    numbers = CommandNumbers(0, 0, 8, 8, 4, 8, 70, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 4000, 0)
    for nest in random_nests():
        need = footprint(nest, numbers, buffers)
        tiles = [tile_at(nest, i) for i in range(tile_count(nest))]
        copies = {
            "ifmap": buffers if len({t.ifmap_index for t in tiles}) > 1 else 1,
            "weights": buffers if len({t.weight_index for t in tiles}) > 1 else 1,
            "ofmap": buffers if output_tile_count(nest) > 1 else 1,
        }
        largest = {
            "ifmap": max(ifmap_tile_bytes(nest, t, 8) for t in tiles),
            "weights": max(weight_tile_bytes(nest, numbers, t) for t in tiles),
            "ofmap": max(ofmap_tile_bytes(numbers, t) for t in tiles),
        }
        assert need.second == need.ifmap
        for role, size in largest.items():
            assert getattr(need, role) >= copies[role] * size
        # Exact where no padding makes ifmap tiles smaller.
        assert need.weights == copies["weights"] * largest["weights"]
        assert need.ofmap == copies["ofmap"] * largest["ofmap"]


@pytest.mark.golden
def test_hand_worked_tiles() -> None:
    """4 x 4 outputs, 3 x 3 kernel, stride 1, pad 1, 2 x 4 tiles: rows 0..2 and 1..3 of 4."""
    nest = untiled(out=(4, 4), n=3, k=2, kernel=(3, 3), pad=(1, 1), ifmap=(4, 4))
    nest = retiled(nest, 2, 4, 1, 2, 2, ROWS_OUTER)
    tiles = [tile_at(nest, i) for i in range(tile_count(nest))]
    assert [(t.h0, t.n0, t.n1) for t in tiles] == [(0, 0, 2), (0, 2, 3), (2, 0, 2), (2, 2, 3)]
    assert [ifmap_elements(nest, t) for t in tiles] == [3 * 4 * 2] * 4
    assert [weight_elements(nest, t) for t in tiles] == [36, 18, 36, 18]
    assert [ofmap_elements(t) for t in tiles] == [16, 8, 16, 8]
    assert [t.weight_index for t in tiles] == [0, 1, 0, 1]
    assert [t.ifmap_index for t in tiles] == [0, 0, 1, 1]
    assert macs(nest) == 16 * 3 * 18
