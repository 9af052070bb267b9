"""Runs and bursts against addresses written out one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.hwconfig import MemoryNumbers
from simulator.program.nest import Nest, Tile, retiled, tile_at, tile_count, untiled
from simulator.program.traffic import CommandNumbers, ifmap_runs, ofmap_runs, weight_runs
from simulator.program.transfers import Runs, bursts, row_openings

pytestmark = pytest.mark.golden

BYTES = CommandNumbers(0, 0, 8, 8, 8, 8, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 8000, 0)


def memory(burst_bytes: int, row_bytes: int = 0) -> MemoryNumbers:
    values = dict.fromkeys(MemoryNumbers._fields, 1)
    return MemoryNumbers(**{**values, "burst_bytes": burst_bytes, "row_bytes": row_bytes})


@pytest.mark.parametrize("seed", range(300))
def test_bursts_are_those_of_all_places_a_run_can_begin(seed: int) -> None:
    """So many runs that they begin at each of their places in a burst equally often."""
    rng = np.random.default_rng(seed)
    burst = int(rng.choice([1, 4, 16, 32, 64]))
    pitch = int(rng.integers(1, 400))
    run = int(rng.integers(1, pitch + 1))
    grain = math.gcd(pitch, burst)
    run = max(run // grain, 1) * grain  # the mean is exact where runs end like they begin
    count = burst // grain * int(rng.integers(1, 4))
    touched = sum(
        (place * pitch + run - 1) // burst - place * pitch // burst + 1 for place in range(count)
    )
    assert bursts(Runs(count * run, count, pitch), memory(burst)) == touched


@pytest.mark.parametrize("seed", range(300))
def test_rows_opened(seed: int) -> None:
    """At most one more or less a run than the rows that its bytes lie in."""
    rng = np.random.default_rng(seed)
    row, pitch = int(rng.choice([64, 256, 1024])), int(rng.integers(1, 3000))
    run, count = int(rng.integers(1, pitch + 1)), int(rng.integers(1, 40))
    openings, last = 0, -1
    for place in range(count):
        for at in range(place * pitch // row, (place * pitch + run - 1) // row + 1):
            openings += at != last
            last = at
    found = row_openings(Runs(count * run, count, pitch), memory(1, row))
    assert abs(found - openings) <= count
    if run == pitch or count == 1:
        assert found == openings


def runs_of(addresses: list[int]) -> tuple[int, int]:
    """(runs, most bytes in one) of the bytes at ``addresses``."""
    found = np.array(sorted(set(addresses)))
    cuts = np.flatnonzero(np.diff(found) != 1)
    lengths = np.diff(np.concatenate([[-1], cuts, [len(found) - 1]]))
    return len(lengths), int(lengths.max())


def drawn(rng: np.random.Generator) -> Nest:
    def upto(most: int) -> int:
        return int(rng.integers(1, most + 1))

    out, kernel, stride = (upto(5), upto(5)), (upto(3), upto(3)), (1, 1)
    ifmap = (out[0] + kernel[0] - 1, out[1] + kernel[1] - 1)
    groups, n, k = upto(3), upto(4), upto(4)
    nest = untiled(out=out, groups=groups, n=n, k=k, kernel=kernel, stride=stride, ifmap=ifmap)
    return retiled(nest, upto(out[0]), upto(out[1]), upto(groups), upto(n), upto(k), upto(2) - 1)


def bytes_of(nest: Nest, tile: Tile, what: str) -> list[int]:
    """Addresses of a tile in a tensor of bytes; channels of a group lie side by side."""
    if what == "ofmap":
        return [
            ((h * nest.out_w + w) * nest.groups + g) * nest.n + n
            for h in range(tile.h0, tile.h1) for w in range(tile.w0, tile.w1)
            for g in range(tile.g0, tile.g1) for n in range(tile.n0, tile.n1)
        ]  # fmt: skip
    if what == "ifmap":
        return [
            ((h * nest.in_w + w) * nest.groups + g) * nest.k + k
            for h in range(tile.h0, tile.h1 + nest.kernel_h - 1)
            for w in range(tile.w0, tile.w1 + nest.kernel_w - 1)
            for g in range(tile.g0, tile.g1) for k in range(tile.k0, tile.k1)
        ]  # fmt: skip
    taps = nest.kernel_h * nest.kernel_w
    return [
        ((g * taps + tap) * nest.k + k) * nest.n + n
        for g in range(tile.g0, tile.g1) for tap in range(taps)
        for k in range(tile.k0, tile.k1) for n in range(tile.n0, tile.n1)
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["ifmap", "ofmap", "weights"])
def test_runs_of_tiles(what: str) -> None:
    for seed in range(300):
        nest = drawn(np.random.default_rng(seed))
        numbers = BYTES._replace(
            ifmap_channels=nest.groups * nest.k, ofmap_channels=nest.groups * nest.n
        )
        for index in range(tile_count(nest)):
            tile = tile_at(nest, index)
            found = {
                "ifmap": lambda n, c, t: ifmap_runs(n, c, t, 8, 0),
                "ofmap": lambda n, c, t: ofmap_runs(n, c, t, 0),
                "weights": lambda n, c, t: weight_runs(n, c, t, 0),
            }[what](nest, numbers, tile)
            addresses = bytes_of(nest, tile, what)
            assert found.size_bytes == len(addresses)
            count, longest = runs_of(addresses)
            assert found.number == count
            assert found.size_bytes == count * longest
