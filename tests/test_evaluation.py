"""Runs over labelled data: kept, interrupted, gone on from; the same numbers however they are cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from real_models import SHARED

from simulator import load_dataset, load_device, load_model, simulate
from simulator.errors import DataError, UsageError
from simulator.hwconfig import with_array
from simulator.result import Result
from simulator.workload import Dataset

DIGITS = load_dataset("digits")
FEW = Dataset("few", DIGITS.x[:60], DIGITS.y[:60])
NARROW = with_array(load_device("wear"), accumulator_bits=17, psum_bits=14, overflow="saturate")


def seen(result: Result) -> tuple[object, ...]:
    """All numbers that come of data."""
    assert result.accuracy is not None
    layers = [
        (x.overflows, x.first_overflow, x.worst_excess, x.data_accumulator_bits, x.data_psum_bits)
        for x in result.layers
    ]
    return result.accuracy.predictions.tolist(), result.accuracy.correct, layers


@pytest.fixture(scope="module")
def whole() -> tuple[object, ...]:
    return seen(simulate(load_model("digits"), NARROW, FEW, widths=True, threads=1))


@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (7, 2), (60, 3), (13, 1)])
def test_numbers_do_not_depend_on_batches_and_threads(
    whole: tuple[object, ...], batch: int, threads: int
) -> None:
    result = simulate(load_model("digits"), NARROW, FEW, widths=True, batch=batch, threads=threads)
    assert seen(result) == whole
    assert any(layer.first_overflow for layer in result.layers)


class Stop(Exception):
    """In place of an interrupt."""


@pytest.mark.parametrize("stops", [[20], [7, 33, 50]])
def test_a_run_goes_on_where_it_stopped(
    whole: tuple[object, ...], stops: list[int], tmp_path: Path
) -> None:
    model, kept, done = load_model("digits"), tmp_path / "run.npz", 0

    for stop in stops:
        done = 0

        def progress(samples: int, stop: int = stop) -> None:
            nonlocal done
            done += samples
            if done >= stop:
                raise Stop

        with pytest.raises(Stop):
            simulate(model, NARROW, FEW, widths=True, batch=5, resume=kept, progress=progress)
        assert stop <= done < stop + 5
        assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    left: list[int] = []
    result = simulate(model, NARROW, FEW, widths=True, batch=9, resume=kept, progress=left.append)
    assert seen(result) == whole
    assert (left[0], sum(left)) == (done, 60)
    again: list[int] = []
    result = simulate(model, NARROW, FEW, widths=True, resume=kept, progress=again.append)
    assert (seen(result), again) == (whole, [60])


@pytest.mark.parametrize("carry_state", [True, False])
def test_streams_go_on_with_what_they_remember(carry_state: bool, tmp_path: Path) -> None:
    path = SHARED / "wake_word" / "okay_nabu.tflite"
    if not path.is_file():
        pytest.skip(f"needs {path.name}, which is not part of the project")
    model, device = load_model(path), load_device("wear")
    spec = model.spec(model.inputs[0])
    x = np.random.default_rng(0).integers(-128, 128, (24, *spec.shape[1:])).astype(np.int8)
    data = Dataset("frames", x, np.zeros(24, np.int64))
    options = {"inputs": "codes", "carry_state": carry_state}
    expected = simulate(model, device, data, **options)
    kept = tmp_path / "run.npz"

    def progress(samples: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        simulate(model, device, data, batch=10, resume=kept, progress=progress, **options)
    result = simulate(model, device, data, batch=4, resume=kept, **options)
    assert seen(result) == seen(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": load_device("wear")}, "is of another model or device"),
        ({"data": Dataset("few", FEW.x[1:], FEW.y[1:])}, "is of another data set"),
        ({"widths": False}, "is of another widths"),
        ({"inputs": "real"}, "is of another inputs"),
    ],
)
def test_a_run_of_something_else_is_refused(change: dict, message: str, tmp_path: Path) -> None:
    kept = tmp_path / "run.npz"
    given = {"device": NARROW, "data": FEW, "widths": True, "resume": kept}
    simulate(load_model("digits"), **given)
    before = kept.read_bytes()
    with pytest.raises(UsageError, match=message):
        simulate(load_model("digits"), **given | change)
    assert kept.read_bytes() == before


def test_what_is_no_kept_run_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "run.npz"
    for content in (b"", b"PK no archive", (tmp_path / "run.npz.other")):
        if isinstance(content, Path):
            np.savez(kept, x=np.zeros(3))
        else:
            kept.write_bytes(content)
        with pytest.raises(UsageError, match="cannot be read"):
            simulate(load_model("digits"), NARROW, FEW, resume=kept)
    with pytest.raises(UsageError, match="there is no folder"):
        simulate(load_model("digits"), NARROW, FEW, resume=tmp_path / "no" / "run.npz")


def test_labels_with_an_offset() -> None:
    model, device = load_model("digits"), load_device("wear")
    shifted = Dataset("from one", FEW.x, FEW.y.astype(np.uint8) + 1)
    plain = simulate(model, device, FEW)
    moved = simulate(model, device, shifted, label_offset=-1)
    assert moved.accuracy is not None
    assert plain.accuracy is not None
    assert moved.accuracy.correct == plain.accuracy.correct
    with pytest.raises(DataError, match=r"labels 1\.\.10, with 1 added; allowed: 0\.\.9"):
        simulate(model, device, shifted, label_offset=1)
