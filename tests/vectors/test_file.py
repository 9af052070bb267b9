"""The file of vectors: what is in it, that numpy alone can use it, and how it is written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator import cli
from simulator.profiles import PROFILES
from simulator.vectors import CASES, write_vectors
from simulator.vectors.generate import SCHEMA_VERSION


def load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Meta data, and all other arrays."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("meta"))), arrays


def test_the_file_says_what_it_holds(tmp_path: Path) -> None:
    written = write_vectors("conv_2d", tmp_path / "v.npz", count=7, seed=3)
    meta, arrays = load(written.path)
    assert set(meta) == {
        "schema_version", "versions", "operator", "profile", "evidence", "runtime", "seed", "layout",
        "cases",
    }  # fmt: skip
    assert (meta["schema_version"], meta["operator"], meta["seed"]) == (
        SCHEMA_VERSION,
        "conv_2d",
        3,
    )
    assert (meta["profile"], meta["evidence"]) == ("tflite", "run")
    assert meta["runtime"].startswith("litert: ai-edge-litert ")
    assert "npusim" in meta["versions"]
    assert len(meta["cases"]) == written.cases == 7
    assert {name.split("/")[0] for name in arrays} == {f"{i:04d}" for i in range(7)}
    for number, case in enumerate(meta["cases"]):
        for name, tensor in case["tensors"].items():
            role = "constant" if name in ("w", "b") else "output" if name == "y" else "input"
            assert list(arrays[f"{number:04d}/{role}/{name}"].shape) == tensor["shape"]
    outputs = [v for name, v in arrays.items() if "/output/" in name]
    assert sum(v.size for v in outputs) == written.outputs


def test_a_kernel_of_three_lines_passes_with_numpy_alone(tmp_path: Path) -> None:
    """QUANTIZE from the file: no part of the simulator is needed to use it."""
    meta, arrays = load(write_vectors("quantize", tmp_path / "v.npz", count=42).path)
    checked = 0
    for number, case in enumerate(meta["cases"]):
        kinds = {case["tensors"][name]["dtype"] for name in "xy"}
        if case["kind"] == "empty" or not kinds <= {"i8", "u8"}:
            continue
        (command,) = case["commands"]
        p, x = command["parameters"], arrays[f"{number:04d}/input/x"].astype(np.int64)
        high = ((x - p["zero_point_in"] << max(p["shift"], 0)) * p["multiplier"] + 2**30) >> 31
        right = max(-p["shift"], 0)
        away = np.sign(high) * ((np.abs(high) + (1 << right >> 1)) >> right)
        codes = np.clip(away + p["zero_point_out"], p["clamp_min"], p["clamp_max"])
        np.testing.assert_array_equal(codes, arrays[f"{number:04d}/output/y"])
        checked += 1
    assert checked > 5


def test_a_product_from_its_parameters(tmp_path: Path) -> None:
    meta, arrays = load(write_vectors("fully_connected", tmp_path / "v.npz", count=42).path)
    for number, case in enumerate(meta["cases"]):
        if case["kind"] == "empty":
            assert case["commands"] == []
            continue
        (command,) = case["commands"]
        one = {k.removeprefix(f"{number:04d}/"): v for k, v in arrays.items()}
        x = one["input/x"].astype(np.int64) - command["ifmap_offset"]
        w = one["constant/w"].astype(np.int64) - command["weight_offset"]
        sums = x @ w.T + one["parameter/bias"]
        assert command["requantizer"] == "float64_away"
        assert command["fraction_bits"] == 0
        real = sums * (one["parameter/multiplier"] * 2.0 ** one["parameter/shift"])
        away = np.trunc(real + np.copysign(0.5, real)) + command["zero_point"]
        codes = np.clip(away, command["clamp_min"], command["clamp_max"])
        np.testing.assert_array_equal(codes, one["output/y"])


def test_calls_of_an_operator_that_remembers(tmp_path: Path) -> None:
    """SVDF in three lines: the state after the last call is that of the first one, moved on."""
    meta, arrays = load(write_vectors("svdf", tmp_path / "v.npz", count=8).path)
    for number, case in enumerate(meta["cases"]):
        one = {
            k.removeprefix(f"{number:04d}/"): v
            for k, v in arrays.items()
            if k[:4] == f"{number:04d}"
        }
        assert case["calls"] == one["input/x"].shape[0] == one["output/y"].shape[0] == 6
        assert case["inputs"][-1] == "s"
        assert not one["constant/s"].any()
        memory = one["constant/t"].shape[1]
        scales = {n: np.float32(case["tensors"][n]["scales"][0]) for n in ("x", "f", "s")}
        x = one["input/x"].astype(np.int64) - case["tensors"]["x"]["zero_points"][0]
        features = (
            x
            @ one["constant/f"].T.astype(np.int64)
            * float(scales["x"] * scales["f"] / scales["s"])
        )
        newest = np.clip(np.rint(features[-1]), -(2**15), 2**15 - 1)
        left = one["state/s"].reshape(*newest.shape, memory)[..., -1]
        assert np.abs(left - newest).max() <= 1


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_vectors("add", tmp_path / name, count=6, seed=1)
    write_vectors("add", tmp_path / "c.npz", count=6, seed=2)
    one, two, three = ((tmp_path / f"{n}.npz").read_bytes() for n in "abc")
    assert one == two != three


def test_evidence_other_than_run(tmp_path: Path) -> None:
    meta, _ = load(write_vectors("reshape", tmp_path / "v.npz", profile="dyadic", count=1).path)
    assert (meta["evidence"], meta["runtime"]) == ("movement", None)


def test_command_writes_to_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["vectors", "max_pool_2d", "--count", "5", "--profile", "ruy"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["max_pool_2d_ruy.npz"]
    shown = capsys.readouterr().out
    meta, arrays = load(tmp_path / "max_pool_2d_ruy.npz")
    outputs = sum(v.size for name, v in arrays.items() if "/output/" in name)
    assert shown == f"max_pool_2d_ruy.npz: 5 cases of max_pool_2d, {outputs:,} outputs\n"
    assert meta["profile"] == "ruy"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lstm",), "vectors: operator 'lstm'; allowed: " + ", ".join(sorted(CASES))),
        (("add", "--count", "0"), "count: 0; allowed: 1..10000"),
        (("add", "--profile", "float"),
         "profile: 'float'; allowed: " + ", ".join(PROFILES)),
        (("add", "-o", "no/v.npz"),
         "no/v.npz: cannot be written: there is no folder 'no'; allowed: a file in a folder that "
         "exists, or -"),
        (("add", "-o", "."), ".: is a folder; allowed: the path of a file to write, or -"),
    ],
)  # fmt: skip
def test_bad_input_leaves_nothing(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main(["vectors", *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"npusim: {message}"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object, __: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    assert cli.main(["vectors", "add", "--count", "1", "-o", str(tmp_path / "v.npz")]) == 130
    assert list(tmp_path.iterdir()) == []
