"""What each core gets of a command: all outputs once, and the inputs that they need."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.program.nest import Nest, retiled, untiled
from simulator.program.split import SPLITS, extent, shares


def drawn(rng: np.random.Generator) -> Nest:
    """Windows with padding before and after, some of them all padding."""

    def upto(most: int, least: int = 1) -> int:
        return int(rng.integers(least, most + 1))

    out, kernel = (upto(9), upto(9)), (upto(4), upto(4))
    stride, dilation = (upto(3), upto(3)), (upto(2), upto(2))
    pad = (upto((kernel[0] - 1) * dilation[0], 0), upto((kernel[1] - 1) * dilation[1], 0))
    ifmap = tuple(
        max((o - 1) * s + (k - 1) * d + 1 - p - upto(2, 0), 1)
        for o, s, k, d, p in zip(out, stride, kernel, dilation, pad, strict=True)
    )
    nest = untiled(
        out=out, groups=upto(6), n=upto(9), k=upto(4), kernel=kernel, stride=stride,
        dilation=dilation, pad=pad, ifmap=(ifmap[0], ifmap[1]),
    )  # fmt: skip
    return retiled(nest, upto(out[0]), upto(out[1]), upto(nest.groups), upto(nest.n), nest.k, 0)


def taps(nest: Nest, axis: str) -> list[list[int]]:
    """Inputs that each output along an axis reads, from its nest's own first one, without padding."""
    h = axis == "rows"
    out, kernel = (nest.out_h, nest.kernel_h) if h else (nest.out_w, nest.kernel_w)
    stride, dilation = (nest.stride_h, nest.dilation_h) if h else (nest.stride_w, nest.dilation_w)
    pad, size = (nest.pad_top, nest.in_h) if h else (nest.pad_left, nest.in_w)
    return [
        [at for t in range(kernel) if 0 <= (at := o * stride - pad + t * dilation) < size]
        for o in range(out)
    ]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("seed", range(100))
def test_shares(split: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    nest, cores = drawn(rng), int(rng.integers(1, 10))
    parts = shares(nest, split, cores)
    sizes = [extent(part, split) for part in parts]
    assert sum(sizes) == extent(nest, split)
    assert len(parts) <= cores
    assert max(sizes) == sizes[0]
    assert min(sizes) >= 1
    assert sizes[0] == -(-extent(nest, split) // cores)
    for part in parts:
        tiles = (part.tile_h, part.tile_w, part.tile_g, part.tile_n)
        assert all(
            t <= e
            for t, e in zip(tiles, (part.out_h, part.out_w, part.groups, part.n), strict=True)
        )
    if split not in ("rows", "columns"):
        return
    whole, made = taps(nest, split), 0
    for part in parts:
        for own in taps(part, split):
            # The same inputs, from wherever this core's begin.
            expected = whole[made]
            assert len(own) == len(expected)
            assert np.diff(own).tolist() == np.diff(expected).tolist()
            made += 1
        # All of its inputs, and as many more as its windows leave out between them.
        used = {at for own in taps(part, split) for at in own}
        size = part.in_h if split == "rows" else part.in_w
        assert not used or size >= max(used) + 1
    assert made == len(whole)


def test_nothing_to_divide() -> None:
    nest = untiled(out=(4, 4), ifmap=(4, 4))
    assert shares(nest, "", 8) == (nest,)
    assert len(shares(nest, "rows", 8)) == 4
