"""``verify`` against LiteRT's reference kernels: equal where it must be, else the first difference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from broken_tflite import Op, T, conv_model

from simulator import cli, load_dataset, load_device, load_model, verify
from simulator.graph import Graph
from simulator.hwconfig import Device, parse_device
from simulator.resources import data_folder

pytest.importorskip("ai_edge_litert", reason="the reference runtime is an extra: npusim[verify]")

WEAR = (data_folder("hwconfigs") / "devices" / "wear.toml").read_text(encoding="utf-8")
NARROW = WEAR.replace("accumulator_bits = 32", 'accumulator_bits = 8\noverflow = "saturate"')


def narrow() -> Device:
    """Sums of 8 bits that saturate: almost every product overflows."""
    return parse_device(NARROW, "narrow")


@pytest.mark.parametrize("samples", [1, 17])
def test_a_single_sample_in_the_last_chunk_is_compared_rightly(samples: int) -> None:
    assert verify("digits", load_device("wear"), samples=samples).different == 0


@pytest.mark.parametrize("device", ["wear", "ethos-u55-256"])
def test_every_tensor_of_digits_is_equal(device: str) -> None:
    random = verify("digits", load_device(device), samples=20)
    real = verify("digits", load_device(device), samples=20, data=load_dataset("digits"))
    for found in (random, real):
        assert found.different == 0
        assert found.first_difference is None
        assert found.samples == 20
        assert found.fused == ()
        assert [t.name for t in found.tensors] == [n.outputs[0] for n in load_model("digits").nodes]
        assert all(t.different == t.largest_difference == 0 for t in found.tensors)
        assert all(t.equal == t.elements and not t.not_visible for t in found.tensors)
        assert sum(t.elements for t in found.tensors) == 933_520
        assert "BUILTIN_REF" in found.runtime_version


def test_progress_counts_every_sample_once() -> None:
    done: list[int] = []
    verify("digits", load_device("wear"), samples=21, progress=done.append)
    assert sum(done) == 21


def test_first_difference_says_where_and_how() -> None:
    found = verify("digits", narrow(), samples=2)
    first = found.first_difference
    assert found.different == sum(t.different for t in found.tensors) > 0
    assert first is not None
    assert (first.sample, first.tensor, first.operator) == (0, "conv1/Relu", "conv_2d")
    assert len(first.index) == 4
    assert first.ours != first.theirs
    e = first.explanation
    assert e is not None
    # The exact sum, requantized as stated, is what the reference found.
    exact = round(e.accumulator * e.multiplier * 2.0 ** (e.shift - 31)) + e.zero_point
    assert min(max(exact, e.clamp_min), e.clamp_max) == first.theirs


def test_differences_are_counted_and_measured() -> None:
    found = verify("digits", narrow(), samples=2)
    first = found.tensors[0]
    assert 0 < first.different <= first.elements == 2 * 28 * 28 * 16
    assert 0 < first.largest_difference <= 255
    assert first.equal + first.off_by_one + first.worse == first.elements
    assert first.first is not None
    assert first.first.sample == 0


def test_command_says_equal_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "digits", "--device", "wear", "--samples", "3"]) == 0
    shown = capsys.readouterr()
    assert "equal: 14 tensors, 140,028 elements" in shown.out
    assert shown.err == ""


def test_command_reports_a_difference_and_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device, out = tmp_path / "narrow.toml", tmp_path / "out.json"
    device.write_text(NARROW, encoding="utf-8")
    arguments = ["verify", "digits", "--device", str(device), "--samples", "2"]
    assert cli.main([*arguments, "--json", str(out)]) == 1
    text = capsys.readouterr().out
    found = json.loads(out.read_text(encoding="utf-8"))
    first = found["first_difference"]
    assert f"{found['different']:,} of 93,352 elements differ" in text
    assert "first difference: sample 0, operator 0, conv_2d 'conv1/Relu' " in text
    assert f"ours {first['ours']}, theirs {first['theirs']}" in text
    explained = first["explanation"]
    kept = f"accumulator {explained['accumulator']} (bias {explained['bias']}), kept as "
    assert f"{kept}{explained['kept']}, {explained['requantizer']}" in text
    assert f"multiplier {explained['multiplier']} shift {explained['shift']}" in text


def test_json_has_the_stable_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "digits", "--samples", "1", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {
        "schema_version", "versions", "model", "device", "profile", "against", "runtime_version",
        "samples", "tensors", "different", "first_difference", "fused",
    }  # fmt: skip
    assert (found["schema_version"], found["profile"], found["against"]) == (2, "tflite", "litert")
    for tensor in found["tensors"]:
        assert set(tensor) == {
            "name", "operator", "unit", "elements", "equal", "off_by_one", "worse",
            "largest_difference", "first", "evidence", "not_visible",
        }  # fmt: skip
        assert (tensor["unit"], tensor["first"], tensor["not_visible"]) == ("codes", None, "")
    assert found["first_difference"] is None
    assert found["different"] == 0


def conv_then_relu() -> bytes:
    """A convolution whose RELU is an operator of its own."""
    model = conv_model()
    model.tensors.append(T("clamped", [1, 4, 4, 2]))
    model.operators.append(Op("RELU", [3], [4]))
    model.outputs = [4]
    return model.write()


def test_fused_tensors_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fused.tflite"
    path.write_bytes(conv_then_relu())
    graph: Graph = load_model(path)
    assert graph.fused == ("maps",)
    assert [n.operator for n in graph.nodes] == ["conv_2d"]
    found = verify(path, load_device("wear"), samples=10)
    assert found.fused == ("maps",)
    assert found.different == 0
    assert [t.name for t in found.tensors] == ["clamped"]
    assert cli.main(["verify", str(path), "--samples", "1"]) == 0
    assert "fused into the operator before, not compared: maps" in capsys.readouterr().out


def test_the_inputs_reach_both_sides_alike(tmp_path: Path) -> None:
    x = np.arange(5 * 784, dtype=np.int64).reshape(5, 784) % 256
    np.savez(tmp_path / "set.npz", x=x, y=np.zeros(5, np.int64))
    data = load_dataset(tmp_path / "set.npz")
    found = verify("digits", load_device("wear"), samples=100, data=data, inputs="pixels")
    assert (found.samples, found.different) == (5, 0)


def test_what_litert_refuses_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = conv_model()
    model.operators[
        0
    ].version = 99  # we read the options; LiteRT looks for a kernel of that version
    path = tmp_path / "odd.tflite"
    path.write_bytes(model.write())
    assert cli.main(["verify", str(path), "--samples", "1"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("npusim: litert: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""
