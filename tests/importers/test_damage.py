"""Damaged files: whatever happens to the bytes, reading and running end well or in an NpusimError."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from simulator import NpusimError, load_device, simulate
from simulator.hwconfig import Device
from simulator.importers.tflite import read_tflite
from simulator.resources import data_folder
from simulator.workload import Dataset

DIGITS = (data_folder("workloads") / "digits" / "digits_int8.tflite").read_bytes()
IMAGES = Dataset("zeros", np.zeros((2, 28, 28, 1), np.uint8), np.zeros(2, np.int64))


def outcome(content: bytes, device: Device) -> str:
    """``runs``, or the kind of error; anything but an NpusimError passes through."""
    try:
        simulate(read_tflite(content, "damaged"), device, IMAGES)
    except NpusimError as error:
        return type(error).__name__
    return "runs"


def structure() -> list[int]:
    """Offsets of what is no constant's data: tables, vectors, names and quantization."""
    constants = set[int]()
    for values in read_tflite(DIGITS, "digits").constants.values():
        raw = values.tobytes()
        start = DIGITS.find(raw)
        constants.update(range(start, start + len(raw)))
    return [i for i in range(len(DIGITS)) if i not in constants]


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bits_and_replaced_bytes(seed: int) -> None:
    rng = random.Random(seed)
    places, device = structure(), load_device("wear")
    seen: Counter[str] = Counter()
    for _ in range(150):
        content = bytearray(DIGITS)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            place = rng.choice(places)
            if rng.random() < 0.5:
                content[place] ^= 1 << rng.randrange(8)
            else:
                content[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        seen[outcome(bytes(content), device)] += 1
    assert set(seen) <= {"runs", "ModelError", "CompileError", "DataError"}
    assert seen["runs"] > 10
    assert seen["ModelError"] > 10


def test_constants_may_hold_anything() -> None:
    rng = random.Random(0)
    inside = sorted(set(range(len(DIGITS))) - set(structure()))
    for _ in range(20):
        content = bytearray(DIGITS)
        for place in rng.sample(inside, 100):
            content[place] = rng.randrange(256)
        assert outcome(bytes(content), load_device("wear")) == "runs"


def test_cut_off_anywhere() -> None:
    rng = random.Random(0)
    lengths = [*range(64), *(rng.randrange(len(DIGITS)) for _ in range(60))]
    for length in lengths:
        assert outcome(DIGITS[:length], load_device("wear")) == "ModelError", length


def test_bytes_dropped_or_repeated() -> None:
    rng = random.Random(0)
    device = load_device("wear")
    for _ in range(60):
        start, size = rng.randrange(8, len(DIGITS)), rng.choice((1, 4, 16, 1000))
        assert outcome(DIGITS[:start] + DIGITS[start + size :], device) != ""
        again = DIGITS[start : start + size]
        assert outcome(DIGITS[:start] + again + DIGITS[start:], device) != ""


def test_noise_after_the_identifier() -> None:
    rng = random.Random(0)
    for size in (8, 100, 10_000):
        for _ in range(20):
            content = DIGITS[:8] + rng.randbytes(size)
            assert outcome(content, load_device("wear")) == "ModelError"
