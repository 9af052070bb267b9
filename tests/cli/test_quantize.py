"""``npusim quantize``, ``methods`` and ``mixed`` on the shipped float model, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simulator import cli
from simulator.hwconfig import device_names
from simulator.quantizers import quantizer_names, range_names

Captured = pytest.CaptureFixture[str]
GIVEN = ("digits-float", "--calibrate", "digits-float", "--input-scale", "0.00392156862745098")
TO = ("-o", "out.onnx")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantized_model_is_written_scored_and_confirmed(
    suffix: str, bits: int, capsys: Captured
) -> None:
    target = f"out{suffix}"
    command = [
        "quantize",
        *GIVEN,
        "-o",
        target,
        "--weights",
        str(bits),
        "--adaround",
        "--correct-bias",
    ]
    assert cli.main([*command, "--data", "digits", "--json", "out.json"]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == target
    assert "% top-1, quantized" in shown
    content = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert content["top1"]["float"] == pytest.approx(0.988)
    assert content["top1"]["quantized"] >= 0.975
    assert [layer["code_bits"] for layer in content["layers"]] == [bits] * 9
    assert cli.main(["verify", target, "--samples", "10"]) == 0
    assert "equal" in capsys.readouterr().out
    assert cli.main(["run", target, "--device", "wear", "--data", "digits", "--limit", "50"]) == 0


def test_every_scheme_is_written(capsys: Captured) -> None:
    for name in quantizer_names():
        per = ["--per", "tensor"] if name == "asymmetric" else []
        bits = {"binary": "1", "ternary": "2", "trained_ternary": "2", "kmeans": "4",
                "power_of_two": "4", "binary_sum": "4", "groups": "4",
                "additive_power_of_two": "4"}.get(name, "8")  # fmt: skip
        command = ["quantize", *GIVEN, *TO, "--scheme", name, "--weights", bits, "--samples", "20"]
        assert cli.main([*command, *per]) == 0, name
        assert Path("out.onnx").is_file()
        Path("out.onnx").unlink()
    assert capsys.readouterr().out


def test_methods_side_by_side(capsys: Captured) -> None:
    command = ["methods", *GIVEN, "--device", "wear", "--device", "gap9", "--samples", "50"]
    command += ["--methods", "nearest,kmeans,powers", "--data", "digits", "--json", "out.json"]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2 + 1 + 6 + 3 + 2
    rows = json.loads(Path("out.json").read_text(encoding="utf-8"))["rows"]
    of = {(row["method"], row["bits"]): row for row in rows}
    assert of["float", 32]["top1"] == pytest.approx(0.988)
    assert of["nearest", 8]["top1"] >= 0.98
    assert of["powers", 4]["hardware"] == "shifter"
    assert [c["device"] for c in of["kmeans", 2]["costs"]] == ["wear", "gap9"]
    assert cli.main([*command[:-2], "--precision-scaling", "fused"]) == 0
    assert cli.main([*command[:-2], "--markdown"]) == 0
    assert "| method" in capsys.readouterr().out


def test_bits_for_each_layer(capsys: Captured) -> None:
    command = ["mixed", *GIVEN, *TO, "--device", "wear", "--size", "0.5", "--data", "digits"]
    assert cli.main([*command, "--bits", "2,4,8", "--samples", "50", "--json", "out.json"]) == 0
    content = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert content["within"]
    assert content["parts"]["size"] <= 0.5
    assert {row["bits"] for row in content["layers"]} <= {2, 4, 8}
    assert content["top1"]["quantized"] >= 0.9
    assert "at most 50.0 % asked for" in capsys.readouterr().out
    assert cli.main(["verify", "out.onnx", "--samples", "5"]) == 0


def test_quantizers_are_listed(capsys: Captured) -> None:
    assert cli.main(["quantizers"]) == 0
    shown = capsys.readouterr().out
    first = {line.split()[0] for line in shown.splitlines() if line.strip()}
    assert {*quantizer_names(), *range_names(), "float", "power_of_two", "dyadic"} <= first
    assert cli.main(["quantizers", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("| weights")


DEVICES = ", ".join(device_names())
ARGUMENTS: list[tuple[str, tuple[str, ...], str]] = [
    ("a-quantized-model", ("quantize", "digits", "--calibrate", "digits", *TO),
     "digits_int8.tflite: input 'image' is i8[1,28,28,1]; allowed: a float32 model"),
    ("running-a-float-model", ("run", "digits-float", "--device", "wear"),
     "digits_float.tflite: CONV_2D 'conv1/Relu': not supported as given (f32[1,28,28,1], f32[16,3,3,1], "
     "f32[16] -> f32[1,28,28,16]); allowed: input and output are of the same type, int8, uint8 or int16, "
     "each with one scale and zero point; an output of int32 takes the sums as they are; in profile qonnx "
     "codes of at most 8 bits, compared with thresholds (quantize the model first)"),
    ("no-suffix", ("quantize", *GIVEN, "-o", "out"), "out: no suffix; allowed: .tflite, .onnx"),
    ("another-suffix", ("quantize", *GIVEN, "-o", "out.pt"),
     "out.pt: suffix '.pt'; allowed: .tflite, .onnx"),
    ("no-folder", ("quantize", *GIVEN, "-o", "no/out.onnx"),
     "no/out.onnx: cannot be written: there is no folder 'no'; allowed: a file in a folder that exists, "
     "or -"),
    ("no-scale", ("quantize", *GIVEN[:3], *TO),
     "input scale: is not given, and samples are uint8; allowed: what a step of them stands for"),
    ("no-samples", ("quantize", *GIVEN, *TO, "--samples", "0"), "--samples: 0; allowed: at least 1"),
    ("narrow-activations", ("quantize", *GIVEN, *TO, "--activations", "4"),
     "activations: 4 bits; allowed: 8, or 2 to 8 in form qonnx"),
    ("unknown-scheme", ("quantize", *GIVEN, *TO, "--scheme", "magic"),
     f"quantizer: 'magic'; allowed: {', '.join(quantizer_names())}"),
    ("bits-of-a-scheme", ("quantize", *GIVEN, *TO, "--scheme", "ternary"),
     "weights ternary: 8 bits; allowed: 2"),
    ("unknown-limits", ("quantize", *GIVEN, *TO, "--limits", "max"),
     f"limits: 'max'; allowed: {', '.join(range_names())}"),
    ("a-layer-without-bits", ("quantize", *GIVEN, *TO, "--layer", "conv1"),
     "--layer: 'conv1'; allowed: NAME=BITS"),
    ("no-such-layer", ("quantize", *GIVEN, *TO, "--layer", "conv9=4"),
     "layer bits: there is no layer 'conv9'; allowed: conv1/Relu, conv2/Relu, dw3/Relu, pw3/Conv2D, "
     "dw5/Relu, pw5/Relu, dw6/Relu, pw6/Relu, logits/MatMul"),
    ("3-bits-in-tflite", ("quantize", *GIVEN, "-o", "out.tflite", "--weights", "3"),
     "digits_float.tflite: 'conv1/Relu/weights': weights in 3 bits are nothing a .tflite file can say; "
     "allowed: 8 or 4 bits, or an .onnx file"),
    ("like-and-scale", ("quantize", *GIVEN, *TO, "--input-like", "digits"),
     "--input-like: with --input-scale or --input-zero-point; allowed: one of them"),
    ("no-such-samples", ("quantize", "digits-float", "--calibrate", "no.npz", *TO),
     "no.npz: no such file or data set; allowed: an .npz file with x, or an .npy file"),
    ("methods-unscored", ("methods", *GIVEN, "--device", "wear"),
     "--data: missing; allowed: a labelled set to score on"),
    ("unknown-method",
     ("methods", *GIVEN, "--device", "wear", "--data", "digits", "--methods", "nearest,magic"),
     "methods: no method 'magic'; allowed: nearest, corrected, adaround, per-tensor, equalized, "
     "asymmetric, dynamic-ranges, power-of-two-scales, groups, kmeans, product, additive-powers, "
     "powers, binary-sums, trained-ternary, ternary, binary"),
    ("methods-on-no-device", ("methods", *GIVEN, "--device", "abacus", "--data", "digits"),
     f"device: no device called 'abacus'; allowed: {DEVICES}, or the path of a .toml file"),
    ("mixed-without-limits", ("mixed", *GIVEN, *TO, "--device", "wear"),
     "limits: none; allowed: one or more of latency, energy, size"),
    ("mixed-bits-of-words", ("mixed", *GIVEN, *TO, "--device", "wear", "--bits", "2,x"),
     "--bits: '2,x'; allowed: numbers with commas: 2,4,8"),
    ("mixed-beyond-all", ("mixed", *GIVEN, *TO, "--device", "wear", "--size", "2"),
     "limits: size 2; allowed: latency, energy, size; above 0, at most 1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"), [pytest.param(*row[1:], id=row[0]) for row in ARGUMENTS]
)
def test_arguments_that_are_refused(
    arguments: tuple[str, ...], message: str, refused: Callable[..., None]
) -> None:
    refused(message, *arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"y": np.zeros(3)}, "holds y; allowed: array x"),
        ({"x": np.zeros(3)}, "x is float64 of shape [3]; allowed: numbers of shape (samples, ...), "
         "none of them 0"),
        ({"x": np.full((2, 784), np.nan, np.float32)}, None),
        ({"x": np.zeros((2, 5), np.float32)}, None),
    ],
)  # fmt: skip
def test_samples_that_are_refused(
    content: dict[str, np.ndarray], message: str | None, refused: Callable[..., None]
) -> None:
    np.savez("my.npz", **content)  # type: ignore[arg-type]
    given = ("quantize", "digits-float", "--calibrate", "my.npz", *TO)
    if message is not None:
        refused(f"my.npz: {message}", *given)
    elif np.isnan(content["x"]).any():
        refused(
            "samples to calibrate with: NaN or infinity; allowed: finite samples, at least one",
            *given,
        )
    else:
        refused(
            "samples: a sample has shape [5]; allowed: [28, 28, 1], its 784 elements in a row, channels "
            "first or last",
            *given,
        )


def test_a_damaged_npy_file_is_refused(refused: Callable[..., None]) -> None:
    Path("my.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(AssertionError, match="cannot be read"):
        refused("", "quantize", "digits-float", "--calibrate", "my.npy", *TO)
