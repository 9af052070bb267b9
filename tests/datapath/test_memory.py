"""Packed storage of narrow elements."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.datapath.memory import pack, unpack
from simulator.tensor import TensorSpec


@pytest.mark.parametrize("signed", ["i", "u"])
@pytest.mark.parametrize("bits", range(1, 17))
def test_round_trip(bits: int, signed: str) -> None:
    rng = np.random.default_rng(bits)
    for elements in (1, 2, 3, 7, 8, 9, 61):
        spec = TensorSpec((elements,), f"{signed}{bits}")
        values = rng.integers(spec.minimum, spec.maximum + 1, (5, elements)).astype(spec.container)
        values[0], values[1] = spec.minimum, spec.maximum
        raw = pack(values, bits)
        assert raw.shape == (5, spec.size_bytes)
        back = unpack(raw, elements, bits, spec.container)
        assert back.dtype == spec.container
        np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("bits", [3, 4, 12, 16])
def test_bits_lie_little_end_first(bits: int) -> None:
    """The bytes read as one little-endian number hold element i at bit i * bits."""
    values = np.arange(40000, 40011)[None].astype(np.uint16) & np.uint16((1 << bits) - 1)
    number = int.from_bytes(pack(values, bits).tobytes(), "little")
    assert [number >> (i * bits) & ((1 << bits) - 1) for i in range(11)] == values[0].tolist()


@pytest.mark.golden
def test_four_bits_by_hand() -> None:
    assert pack(np.array([[1, -1, -8]], np.int8), 4).tolist() == [[0xF1, 0x08]]
    assert unpack(np.array([[0xF1, 0x08]], np.uint8), 3, 4, np.dtype(np.int8)).tolist() == [
        [1, -1, -8]
    ]
