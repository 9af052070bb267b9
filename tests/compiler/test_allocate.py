"""Addresses: nothing overlaps in space and time, everything is aligned, and what fails is named."""

from __future__ import annotations

import numpy as np

from simulator.compiler.allocate import ALIGNMENT_BYTES, Request, aligned, allocate


def random_requests(rng: np.random.Generator) -> list[Request]:
    requests = []
    for key in range(int(rng.integers(1, 20))):
        first = int(rng.integers(-1, 10))
        size = int(rng.integers(1, 400))
        region = ("unified", "dram")[rng.integers(2)]
        requests.append(Request(key, region, size, first, first + int(rng.integers(0, 5))))
    return requests


def test_random_requests() -> None:
    failures = 0
    for seed in range(500):
        requests = random_requests(np.random.default_rng(seed))
        addresses, failed = allocate(requests, {"unified": 1024})
        placed = [r for r in requests if r.key in addresses]
        for i, a in enumerate(placed):
            assert addresses[a.key] % ALIGNMENT_BYTES == 0
            assert a.region == "dram" or addresses[a.key] + a.size_bytes <= 1024
            for b in placed[:i]:
                together = a.region == b.region and a.first <= b.last and b.first <= a.last
                apart = (
                    addresses[a.key] + a.size_bytes <= addresses[b.key]
                    or addresses[b.key] + b.size_bytes <= addresses[a.key]
                )
                assert apart or not together
        failures += failed is not None
        if failed is None:
            assert len(placed) == len(requests)
        else:
            assert failed.region == "unified"
            assert failed.key not in addresses
    assert 50 < failures < 450


def test_the_order_of_requests_does_not_matter() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        requests = random_requests(rng)
        shuffled = [requests[i] for i in rng.permutation(len(requests))]
        assert allocate(requests, {}) == allocate(shuffled, {})


def test_room_is_used_again() -> None:
    chain = [Request(i, "unified", 500, i, i + 1) for i in range(6)]
    addresses, failed = allocate(chain, {"unified": 1024})
    assert failed is None
    assert list(addresses.values()) == [0, 512, 0, 512, 0, 512]


def test_the_largest_comes_first_and_small_ones_fill_gaps() -> None:
    requests = [
        Request("small", "unified", 16, 0, 3), Request("large", "unified", 64, 0, 0),
        Request("later", "unified", 48, 1, 3),
    ]  # fmt: skip
    addresses, failed = allocate(requests, {"unified": 80})
    assert failed is None
    assert addresses == {"large": 0, "later": 0, "small": 64}


def test_what_finds_no_place_is_returned() -> None:
    requests = [Request("a", "unified", 64, 0, 1), Request("b", "unified", 32, 1, 2)]
    addresses, failed = allocate(requests, {"unified": 80})
    assert (addresses, failed) == ({"a": 0}, requests[1])


def test_alignment() -> None:
    assert [aligned(n) for n in (0, 1, 16, 17)] == [0, 16, 16, 32]
