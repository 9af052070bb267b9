"""Data sets, and how their samples become input codes."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest

from simulator import compile, load_dataset, load_device, load_model
from simulator.datapath.inputs import RULES, choose_rule, to_codes
from simulator.errors import DataError, UsageError
from simulator.npu import exact_device, simulate
from simulator.program.program import DRAM, Placement
from simulator.quantization.float_graph import run_float
from simulator.quantization.scheme import Scheme
from simulator.quantizing import load_float_model, quantize_graph
from simulator.tensor import QuantParams, TensorSpec
from simulator.workload import Dataset, sample_axes, samples_as


def place(dtype: str, scale: float = 0.5, zero_point: int = 0) -> Placement:
    """A model's input of four elements."""
    quantization = QuantParams((scale,), (zero_point,))
    return Placement("in", TensorSpec((1, 2, 2), dtype), quantization, DRAM, 0, -1, 0)


def test_digits_set_by_name() -> None:
    data = load_dataset("digits")
    assert data.name == "digits_test.npz"
    assert data.x.shape == (1000, 28, 28, 1)
    assert data.x.dtype == np.uint8
    assert set(data.y.tolist()) == set(range(10))


def test_other_arrays_of_a_file_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    objects = np.array([{"not": "read"}], dtype=object)
    np.savez(path, x=np.zeros((2, 4), np.int8), y=np.zeros(2, np.uint8), extra=objects)
    data = load_dataset(path)
    assert data.x.shape == (2, 4)


def test_large_samples_stay_in_their_file(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (300, 256, 256), np.uint8)
    y = np.arange(300) % 7
    for name, save in (("stored", np.savez), ("packed", np.savez_compressed)):
        path = tmp_path / f"{name}.npz"
        save(path, x=x, y=y)
        data = load_dataset(path)
        assert isinstance(data.x, np.memmap) == (name == "stored")
        assert np.array_equal(data.x, x)
        assert np.array_equal(data.y, y)


def test_damage_in_large_samples_is_found(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, x=np.zeros((300, 256, 256), np.uint8), y=np.zeros(300, np.uint8))
    content = bytearray(path.read_bytes())
    content[9_000_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read: Bad CRC-32 for file 'x.npy'"):
        load_dataset(path)


def test_pixels_are_shifted_by_128() -> None:
    model = load_model("digits")
    program = compile(model, load_device("wear"))
    target = program.placements["image"]
    x = np.arange(784, dtype=np.uint8).reshape(1, 28, 28, 1)
    codes = to_codes(x, target, "auto", "test")
    assert codes.dtype == np.int8
    assert codes.shape == (1, 1, 28, 28, 1)
    assert np.array_equal(codes.reshape(-1), x.reshape(-1).astype(int) - 128)


@pytest.mark.parametrize(
    ("dtype", "target", "rule"),
    [
        ("int8", place("i8"), "codes"),
        ("uint8", place("u8"), "codes"),
        ("uint8", place("i8", zero_point=-128), "pixels"),
        ("float32", place("i8"), "real"),
        ("float64", place("u8"), "real"),
    ],
)
def test_what_auto_stands_for(dtype: str, target: Placement, rule: str) -> None:
    assert choose_rule(np.zeros((1, 4), dtype), target, "auto", "test") == rule


@pytest.mark.parametrize(
    ("dtype", "target"),
    [
        ("uint8", place("i8")),
        ("int8", place("u8")),
        ("int64", place("i8", zero_point=-128)),
    ],
)
def test_auto_does_not_guess(dtype: str, target: Placement) -> None:
    with pytest.raises(DataError, match="no stated rule brings"):
        choose_rule(np.zeros((1, 4), dtype), target, "auto", "test")


def test_unknown_rule() -> None:
    with pytest.raises(UsageError, match=f"rule 'bytes'; allowed: {', '.join(RULES)}"):
        choose_rule(np.zeros((1, 4)), place("i8"), "bytes", "test")


@pytest.mark.parametrize(
    ("real", "code"),
    [
        (0.0, 3), (0.5, 4), (0.25, 4), (-0.25, 2), (0.75, 5), (-0.75, 1), (0.2, 3), (-0.2, 3),
        (0.24999999999999997, 3), (-0.24999999999999997, 3),  # 0.5 - 2**-54 steps: not a tie
        (1e300, 127), (-1e300, -128), (62.0, 127), (62.25, 127), (-65.5, -128), (-65.75, -128),
    ],
)  # fmt: skip
def test_real_values_round_ties_away_and_clamp(real: float, code: int) -> None:
    codes = to_codes(np.full((1, 4), real), place("i8", 0.5, 3), "auto", "test")
    assert set(codes.reshape(-1).tolist()) == {code}


def test_real_values_beyond_every_number_clamp() -> None:
    codes = to_codes(np.full((1, 4), 1e308), place("i8", 2.0**-100), "real", "test")
    assert set(codes.reshape(-1).tolist()) == {127}


def test_samples_of_any_shape_with_as_many_elements() -> None:
    x = np.arange(8, dtype=np.int8)
    flat = to_codes(x.reshape(2, 4), place("i8"), "codes", "test")
    assert np.array_equal(flat, to_codes(x.reshape(2, 4, 1, 1), place("i8"), "codes", "test"))
    assert flat.shape == (2, 1, 2, 2)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((0, 4)), np.zeros(0, int), "x has shape [0, 4]"),
        (np.zeros((2, 0)), np.zeros(2, int), "x has shape [2, 0]"),
        (np.zeros((2, 4)), np.zeros(2), "y is float64 of shape [2]"),
        (np.zeros((2, 4), complex), np.zeros(2, int), "x is complex128"),
        (np.full((2, 4), np.nan), np.zeros(2, int), "x holds NaN or infinity"),
    ],
)
def test_a_data_set_is_checked_when_made(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(DataError) as raised:
        Dataset("made", x, y)
    assert str(raised.value).startswith(f"made: {message}; allowed: ")


def test_damaged_archives_are_data_errors(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, x=np.ones((3, 8, 8), np.uint8), y=np.arange(3))
    whole, rng = path.read_bytes(), random.Random(0)
    read = 0
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3))):
            content[rng.randrange(len(content))] = rng.choice((0, 1, 0xFF, rng.randrange(256)))
        path.write_bytes(content[: rng.choice((len(content), rng.randrange(len(content))))])
        try:
            load_dataset(path)
            read += 1
        except DataError:
            pass
    assert read < 200


@pytest.mark.parametrize(
    ("given", "wanted", "order"),
    [((32, 32, 3), (32, 32, 3), (0, 1, 2)), ((28, 28), (28, 28, 1), (0, 1)), ((784,), (28, 28, 1), (0,)),
     ((1, 49, 10), (49, 10, 1), (0, 1, 2)), ((32, 32, 3), (3, 32, 32), (2, 0, 1)),
     ((3, 32, 32), (1, 32, 32, 3), (1, 2, 0)), ((3, 3, 3), (3, 3, 3), (0, 1, 2)),
     ((3, 5, 4), (4, 3, 5), (2, 0, 1)), ((), (1,), ())],
)  # fmt: skip
def test_axes_of_samples(
    given: tuple[int, ...], wanted: tuple[int, ...], order: tuple[int, ...]
) -> None:
    assert sample_axes(given, wanted, "x") == order
    x = np.arange(2 * math.prod(given)).reshape(2, *given)
    made = samples_as(x, wanted, "x")
    assert made.shape == (2, *wanted)
    assert (made.reshape(2, -1) == x.transpose(0, *(1 + a for a in order)).reshape(2, -1)).all()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [((4, 3, 5), (3, 4, 5)), ((7, 112), (28, 28, 1)), ((5,), (4,)), ((3, 32, 32), (2, 3, 32, 32)),
     ((16, 64, 3), (32, 32, 3))],
)  # fmt: skip
def test_axes_that_fit_no_input_are_refused(
    given: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    with pytest.raises(
        DataError, match=r"a sample has shape .*; allowed: .* channels first or last"
    ):
        sample_axes(given, wanted, "x")


def test_images_with_channels_last_score_as_those_with_channels_first() -> None:
    """A model whose input has channels first, and the same images in either order."""
    graph = load_float_model("mobilenet-v1-float")
    x = np.random.default_rng(0).normal(0, 1, (4, 32, 32, 3)).astype(np.float32)
    last, first = (run_float(graph, v) for v in (x, x.transpose(0, 3, 1, 2)))
    assert (last[graph.outputs[0]] == first[graph.outputs[0]]).all()
    made = quantize_graph(graph, x, Scheme(), "onnxruntime").graph
    found = [
        simulate(
            made, exact_device(), Dataset("x", v, np.zeros(4, np.int64)), inputs="real"
        ).accuracy
        for v in (x, x.transpose(0, 3, 1, 2), x.transpose(0, 3, 1, 2).reshape(4, -1))
    ]
    predictions = [accuracy.predictions.tolist() for accuracy in found if accuracy]
    assert predictions[0] == predictions[1] == predictions[2]
