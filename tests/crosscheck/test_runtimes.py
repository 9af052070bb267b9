"""Runtimes by name: which profile each confirms, and LiteRT's three ways to compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator import load_device, verify
from simulator.crosscheck.runtimes import RUNTIMES, Entry, Runtime, other_side
from simulator.errors import ModelError
from simulator.profiles import PROFILES, Profile
from simulator.workload import model_path

LITERT = ("litert", "litert-xnnpack", "litert-ruy")
DIGITS = model_path("digits")
INPUT, FIRST, LAST = 0, 3, 33  # numbers of tensors in the file


def test_every_profile_that_names_a_runtime_names_one_of_these() -> None:
    named = {p.runtime: p.name for p in PROFILES.values() if p.runtime}
    assert {name: entry.profile for name, entry in RUNTIMES.items()} == named


def test_a_runtime_is_a_file_of_the_folder() -> None:
    folder = Path(__file__).resolve().parents[2] / "simulator" / "crosscheck"
    for entry in RUNTIMES.values():
        if entry.module == "onnxruntime" and not (folder / "onnxruntime.py").exists():
            continue
        assert (folder / f"{entry.module}.py").is_file()


@pytest.mark.parametrize(
    ("name", "file", "found"),
    [
        (None, "a.tflite", "litert"),
        (None, "a.ONNX", "onnxruntime"),
        (None, "b.onnx", "qonnx"),
        ("litert-ruy", "a.tflite", "litert-ruy"),
        ("onnxruntime", "a.onnx", "onnxruntime"),
    ],
)
def test_a_runtime_is_named_or_confirms_the_profile_of_the_file(
    name: str | None, file: str, found: str
) -> None:
    own = {"a.tflite": "tflite", "b.onnx": "qonnx"}.get(file, "onnxruntime")
    entry = other_side(name, Path(file), own)
    assert isinstance(entry, Entry)
    assert entry.name == found


@pytest.mark.parametrize(
    ("name", "found"), [("dyadic", "dyadic"), ("profile:onnxruntime", "onnxruntime")]
)
def test_a_profile_is_named(name: str, found: str) -> None:
    profile = other_side(name, Path("a.tflite"), "tflite")
    assert isinstance(profile, Profile)
    assert profile.name == found


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("litert", "a.onnx",
         "a.onnx: litert does not run .onnx files; allowed: .tflite, or against profile:tflite"),
        ("onnxruntime", "a",
         "a: onnxruntime does not run such files; allowed: .onnx, or against profile:onnxruntime"),
    ],
)  # fmt: skip
def test_a_runtime_of_other_files(name: str, file: str, message: str) -> None:
    with pytest.raises(ModelError) as raised:
        other_side(name, Path(file), "tflite")
    assert str(raised.value) == message


def opened(name: str) -> Runtime:
    pytest.importorskip(
        "ai_edge_litert", reason="the reference runtime is an extra: npusim[verify]"
    )
    return RUNTIMES[name].open(DIGITS)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(-128, 128, (count, 1, 28, 28, 1)).astype(np.int8)


@pytest.mark.parametrize("name", LITERT)
def test_litert_shows_every_tensor(name: str) -> None:
    runtime = opened(name)
    found = runtime.run({INPUT: images(1)[0]}, [FIRST, LAST])
    assert {k: v.shape for k, v in found.items()} == {FIRST: (1, 28, 28, 16), LAST: (1, 10)}


def test_the_three_ways_of_litert_differ() -> None:
    versions = {opened(name).version for name in LITERT}
    assert len(versions) == 3
    codes: dict[str, list[np.ndarray]] = {name: [] for name in LITERT}
    runtimes = {name: opened(name) for name in LITERT}
    logits = 32
    for image in images(20):
        for name, runtime in runtimes.items():
            codes[name].append(runtime.run({INPUT: image}, [logits])[logits])
    one, two, three = (np.stack(codes[name]) for name in LITERT)
    assert (one != two).any()
    assert (one != three).any()
    assert (two != three).any()


def test_outputs_under_xnnpack_are_those_a_user_gets() -> None:
    runtime = opened("litert-xnnpack")
    module = pytest.importorskip("ai_edge_litert.interpreter")
    plain = module.Interpreter(model_path=str(DIGITS))
    plain.allocate_tensors()
    for image in images(20):
        plain.set_tensor(INPUT, image)
        plain.invoke()
        found = runtime.run({INPUT: image}, [LAST])[LAST]
        np.testing.assert_array_equal(found, plain.get_tensor(LAST))


def test_a_tensor_that_no_kernel_wrote_is_left_out() -> None:
    runtime = opened("litert")
    assert runtime.run({INPUT: images(1)[0]}, [LAST, 10_000]).keys() == {LAST}


def test_our_side_computes_in_the_runtimes_profile() -> None:
    pytest.importorskip(
        "ai_edge_litert", reason="the reference runtime is an extra: npusim[verify]"
    )
    wear = load_device("wear")
    for name in LITERT:
        assert verify("digits", wear, name, samples=1).profile == RUNTIMES[name].profile
    other = verify("digits", wear, "litert-ruy", profile="tflite", samples=20)
    assert other.profile == "tflite"
    assert other.different > 0
