"""Every command on the model that ships: what it prints, where, its JSON and its exit code."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from simulator import cli, jit, load_device, load_model, simulate
from simulator.hwconfig import device_names, with_array
from simulator.ops import operator_names
from simulator.profiles import PROFILES
from simulator.resources import data_folder
from simulator.workload import catalogue

TOTALS = {
    "cycles", "samples", "first_cycles", "period_cycles", "latency_s", "inferences_per_s",
    "steady_inferences_per_s", "macs", "utilization", "energy_pj", "energy_low_pj", "energy_high_pj",
    "energy_lowest_pj", "energy_highest_pj", "area_mm2", "area_low_mm2", "area_high_mm2",
    "peak_tops_per_mm2", "die_cost_usd", "average_power_w", "peak_tops", "tops", "tops_per_watt",
    "inferences_per_joule", "dram_bytes", "scratchpad_bytes", "scratchpad_peak_bytes",
    "resident_weight_bytes", "overflows",
}  # fmt: skip
LAYER = {
    "name", "operator", "tile", "cycles", "latency_s", "cycles_by_cause", "macs", "utilization",
    "energy_pj", "energy_by_component_pj", "average_power_w", "tops", "dram_bytes",
    "scratchpad_bytes", "scratchpad_peak_bytes", "overflows", "accumulator_bits",
    "first_overflow", "worst_excess", "data_accumulator_bits", "data_psum_bits", "note",
    "zero_share", "toggle_rate",
}  # fmt: skip
CAUSES = {
    "compute", "fill_drain", "weight_load", "scratchpad_stall", "dram_stall", "vector", "host",
    "control",
}  # fmt: skip
COMPONENTS = {
    "mac", "register", "scratchpad", "accumulator", "vector", "wire", "instruction", "dram", "host",
    "leakage", "idle",
}  # fmt: skip
RUN = ("run", "digits", "--device", "wear", "--data", "digits", "--limit", "70")
Captured = pytest.CaptureFixture[str]


def numbers(value: Any) -> Iterator[float]:
    """Every number anywhere in a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@cache
def _run_json(device: str) -> str:
    import contextlib
    import io

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        code = cli.main(
            [
                "run",
                "digits",
                "--device",
                device,
                "--data",
                "digits",
                "--limit",
                "70",
                "--json",
                "-",
            ]
        )
    assert code == 0
    return shown.getvalue()


@pytest.fixture(params=["wear", "ethos-u55-256"])
def result(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What ``npusim run … --json -`` prints, which is JSON and nothing else."""
    return json.loads(_run_json(request.param))


def test_json_has_the_stable_names(result: dict[str, Any]) -> None:
    assert set(result) == {
        "schema_version", "versions", "model", "device", "operating_point", "totals",
        "cycles_by_cause", "energy_by_component_pj", "layers", "accuracy", "effects",
    }  # fmt: skip
    assert result["schema_version"] == 1
    assert set(result["versions"]) == {"python", "npusim", "numpy", "numba"}
    assert set(result["model"]) == set(result["device"]) == {"name", "sha256"}
    assert set(result["operating_point"]) == {"name", "voltage_v", "clock_mhz"}
    assert set(result["totals"]) == TOTALS
    assert set(result["cycles_by_cause"]) == CAUSES
    assert set(result["energy_by_component_pj"]) == COMPONENTS
    assert set(result["accuracy"]) == {"dataset", "inputs", "samples", "correct", "top1"}
    for effect in result["effects"]:
        assert set(effect) == {
            "key", "value", "low", "high", "unit", "status", "low_pj", "high_pj"
        }  # fmt: skip
        assert effect["low_pj"] <= effect["high_pj"]
    for layer in result["layers"]:
        assert set(layer) == LAYER
        assert set(layer["cycles_by_cause"]) == CAUSES
        assert set(layer["energy_by_component_pj"]) == COMPONENTS


def test_json_names_the_model_and_the_device(result: dict[str, Any]) -> None:
    assert result["model"]["sha256"] == catalogue()["digits"].sha256
    assert len(result["device"]["sha256"]) == 64
    assert result["accuracy"]["samples"] == 70
    assert result["accuracy"]["top1"] == result["accuracy"]["correct"] / 70
    assert result["accuracy"]["inputs"] == "pixels"


def test_json_numbers_are_finite_and_not_negative(result: dict[str, Any]) -> None:
    found = list(numbers(result))
    assert len(found) > 300
    assert all(math.isfinite(n) and n >= 0 for n in found)


def test_layers_sum_to_totals(result: dict[str, Any]) -> None:
    layers, totals = result["layers"], result["totals"]
    for key in ("cycles", "macs", "dram_bytes", "scratchpad_bytes", "overflows"):
        assert sum(layer[key] for layer in layers) == totals[key], key
    for key in ("latency_s", "energy_pj"):
        assert sum(layer[key] for layer in layers) == pytest.approx(totals[key], rel=1e-12), key
    assert max(x["scratchpad_peak_bytes"] for x in layers) == totals["scratchpad_peak_bytes"]


def test_causes_sum_to_cycles_and_components_to_energy(result: dict[str, Any]) -> None:
    for part in (*result["layers"], {**result["totals"], **result}):
        assert sum(part["cycles_by_cause"].values()) == part["cycles"]
        energy = sum(part["energy_by_component_pj"].values())
        assert energy == pytest.approx(part["energy_pj"], rel=1e-12)
    for key in ("cycles_by_cause", "energy_by_component_pj"):
        for name, value in result[key].items():
            parts = sum(layer[key][name] for layer in result["layers"])
            assert parts == pytest.approx(value, rel=1e-12), name


def test_rates_follow_from_latency_and_energy(result: dict[str, Any]) -> None:
    t = result["totals"]
    clock_hz = result["operating_point"]["clock_mhz"] * 1e6
    assert t["latency_s"] == pytest.approx(t["cycles"] / clock_hz)
    assert t["inferences_per_s"] == pytest.approx(1 / t["latency_s"])
    assert t["inferences_per_joule"] == pytest.approx(1e12 / t["energy_pj"])
    assert t["steady_inferences_per_s"] == pytest.approx(clock_hz / t["period_cycles"])
    assert t["period_cycles"] <= t["cycles"] <= t["first_cycles"]
    assert t["average_power_w"] == pytest.approx(t["energy_pj"] * 1e-12 / t["latency_s"])
    assert t["tops"] == pytest.approx(2e-12 * t["macs"] / t["latency_s"])
    assert t["tops_per_watt"] == pytest.approx(t["tops"] / t["average_power_w"])
    assert t["utilization"] == pytest.approx(t["tops"] / t["peak_tops"])
    for layer in result["layers"]:
        assert layer["latency_s"] == pytest.approx(layer["cycles"] / clock_hz)


def test_run_prints_a_report_and_writes_the_same_json(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out.json"
    assert cli.main([*RUN, "--json", str(out)]) == 0
    shown = capsys.readouterr()
    assert json.loads(out.read_text(encoding="utf-8")) == json.loads(_run_json("wear"))
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    assert shown.err == ""  # no progress bar where standard error is not a terminal
    for words in ("cycles by cause", "energy by part", "accuracy", "of 70 samples", "overflows"):
        assert words in shown.out


def test_without_data_nothing_is_said_of_accuracy(capsys: Captured) -> None:
    assert cli.main(["run", "digits", "--device", "wear", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] is None
    assert found["totals"] == json.loads(_run_json("wear"))["totals"]


def test_layers_option_adds_columns(capsys: Captured) -> None:
    assert cli.main(["run", "digits", "--device", "wear", "--layers"]) == 0
    header = capsys.readouterr().out.splitlines()[2]
    for name in ("fill drain", "weight load", "dram stall", "overflows", "enough bits", "tile"):
        assert name in header


def test_accumulators_in_place_of_the_devices(tmp_path: Path, capsys: Captured) -> None:
    """The same as a device file that says so; narrow ones overflow, and cost accuracy."""
    text = (data_folder("hwconfigs") / "devices" / "wear.toml").read_text(encoding="utf-8")
    assert text.count("accumulator_bits = 32\n") == 1
    text = text.replace("accumulator_bits = 32", 'accumulator_bits = 12\noverflow = "saturate"')
    stated = tmp_path / "narrow.toml"
    stated.write_text(text, encoding="utf-8")
    overrides = ("--accumulator-bits", "12", "--overflow", "saturate")
    found = []
    for device, more in (("wear", ()), ("wear", overrides), (str(stated), ())):
        arguments = ["run", "digits", "--device", device, *RUN[4:], *more, "--json", "-"]
        assert cli.main(arguments) == 0
        found.append(json.loads(capsys.readouterr().out))
    plain, overridden, written = found
    for key in ("totals", "layers", "accuracy", "device"):
        assert overridden[key] == written[key]
    assert plain["totals"]["overflows"] == 0
    assert overridden["totals"]["overflows"] > 1000
    assert overridden["accuracy"]["top1"] < plain["accuracy"]["top1"]


def test_the_bits_that_are_enough_are_no_more_than_enough() -> None:
    """With as many no input can overflow a layer; with one less the weights do not rule it out."""
    model, device = load_model("digits"), load_device("wear")
    enough = {x.name: x.accumulator_bits for x in simulate(model, device).layers}
    assert {"conv2/Relu", "logits/MatMul"} <= {name for name, bits in enough.items() if bits > 16}
    for bits in range(8, 33):
        narrow = with_array(device, accumulator_bits=bits)
        for layer in simulate(model, narrow).layers:
            assert (layer.overflows == 0) == (bits >= layer.accumulator_bits), layer.name
            assert layer.accumulator_bits == enough[layer.name]


def test_progress_bar_goes_to_the_terminal_alone(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: self is sys.stderr, raising=False)
    assert cli.main(list(RUN)) == 0
    shown = capsys.readouterr()
    assert "digits_test.npz: " in shown.err
    assert "sample/s" in shown.err
    assert "sample/s" not in shown.out


@pytest.mark.parametrize(("state", "words"), [("cold", "later runs"), ("none", "so will every")])
def test_compilation_is_announced_in_one_line(
    state: str, words: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit, "cache_state", lambda: state)
    assert cli.main(["run", "digits", "--device", "wear", "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert f"npusim: compiling the kernels, up to a minute; {words}" in shown.err
    json.loads(shown.out)


def test_cache_is_cold_until_a_kernel_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(jit.numba_config, "DISABLE_JIT", 0)
    monkeypatch.setattr(jit, "_CACHE_FOLDER", str(tmp_path))
    assert jit.cache_state() == "cold"
    (tmp_path / "timing").mkdir()
    (tmp_path / "timing" / "kernel.nbi").touch()
    assert jit.cache_state() == "warm"
    monkeypatch.setattr(jit, "_CACHE_FOLDER", None)
    assert jit.cache_state() == "none"
    monkeypatch.setattr(jit.numba_config, "DISABLE_JIT", 1)
    assert jit.cache_state() == "warm"


def test_compile_prints_program_or_graph(capsys: Captured) -> None:
    assert cli.main(["compile", "digits", "--device", "wear"]) == 0
    assert 'program name="digits_int8.tflite"' in capsys.readouterr().out
    assert cli.main(["compile", "digits", "--device", "wear", "--graph"]) == 0
    assert capsys.readouterr().out.startswith('graph "digits_int8.tflite" profile=tflite')


def test_devices_ops_and_models_list_what_there_is(capsys: Captured) -> None:
    for command, names in (
        ("devices", device_names()),
        ("ops", [n.upper() for n in operator_names()]),
        ("models", list(catalogue())),
    ):
        assert cli.main([command]) == 0
        first_words = {line.split()[0].rstrip(":") for line in capsys.readouterr().out.splitlines()}
        assert set(names) <= first_words, command


@pytest.mark.parametrize("command", ["run", "compile", "verify"])
def test_profile_option_chooses_the_arithmetic(command: str, capsys: Captured) -> None:
    more = {"run": ["--device", "wear"], "compile": ["--device", "wear"],
            "verify": ["--against", "tflite", "--samples", "1"]}  # fmt: skip
    assert cli.main([command, "digits", *more[command], "--profile", "tflite_micro"]) == 0
    shown = capsys.readouterr().out
    if command != "run":
        assert "tflite_micro" in shown
    if command == "compile":
        assert 'profile="tflite_micro"' in shown or "profile=tflite_micro" in shown
        assert cli.main(["compile", "digits", *more[command], "--graph", "--profile", "ruy"]) == 0
        assert capsys.readouterr().out.startswith('graph "digits_int8.tflite" profile=ruy')


@pytest.mark.parametrize("markdown", [False, True])
def test_profiles_have_a_row_for_every_operator(markdown: bool, capsys: Captured) -> None:
    assert cli.main(["profiles", *(["--markdown"] if markdown else [])]) == 0
    shown = capsys.readouterr().out
    rows = [line.replace("|", " ").split() for line in shown.splitlines() if line.strip()]
    first_words = [row[0].strip("`") for row in rows if row]
    for name in (*PROFILES, *(n.upper() for n in operator_names())):
        assert name in first_words
    assert ("| operator" in shown) == markdown


def test_devices_shows_one_with_its_sources(capsys: Captured) -> None:
    assert cli.main(["devices", "fsd"]) == 0
    shown = capsys.readouterr().out
    assert "array.rows" in shown
    assert "published" in shown
    assert cli.main(["devices", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Device"


@pytest.mark.parametrize("before", [None, "kept"])
def test_a_failed_run_leaves_the_old_file(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    out = tmp_path / "out.json"
    if before is not None:
        out.write_text(before)

    assert cli.main(RUN) == 0  # kernels that must be compiled are kept by renaming files too
    capsys.readouterr()

    def full(_: object, __: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert cli.main([*RUN, "--json", str(out)]) == 2
    shown = capsys.readouterr()
    assert shown.err == f"npusim: {out}: cannot be written: No space left on device\n"
    assert shown.out == ""
    assert [p.read_text() for p in tmp_path.iterdir()] == ([before] if before else [])


def test_interrupt_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def interrupted(_: object, __: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    assert cli.main([*RUN, "--json", str(tmp_path / "out.json")]) == 130
    assert capsys.readouterr().err == "npusim: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_json_through_a_link_and_into_a_device(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "real.json").touch()
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert cli.main([*RUN, "--json", str(tmp_path / "link.json")]) == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["schema_version"] == 1
    assert cli.main([*RUN, "--json", os.devnull]) == 0
    assert not Path(os.devnull).is_file()
    capsys.readouterr()


def npusim(*arguments: str, stdout: int) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "simulator.cli", *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False)


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = npusim("ops", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_standard_output_is_reported() -> None:
    with open("/dev/full", "wb") as full:
        done = npusim("ops", stdout=full.fileno())
    assert done.returncode == 2
    assert done.stderr == b"npusim: the system reports: [Errno 28] No space left on device\n"


def test_a_lack_of_memory_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("simulator.npu.load_model", too_large)
    assert cli.main(["run", "digits", "--device", "wear"]) == 2
    wanted = "npusim: run: needs more memory than there is; allowed: a smaller model\n"
    assert capfd.readouterr().err == wanted
