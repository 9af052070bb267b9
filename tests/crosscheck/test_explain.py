"""One element step by step: the numbers of each step are right, on every kind of command, on both sides."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from stand_in import StandIn, off_by

from simulator import cli, load_device, load_model
from simulator.crosscheck import explain, litert
from simulator.crosscheck.account import FRACTION_BITS, ROUNDING, decimal, real_scale
from simulator.crosscheck.inputs import random_inputs
from simulator.errors import UsageError
from simulator.fixedpoint.requantize import REQUANTIZERS, requantize
from simulator.hwconfig import parse_device
from simulator.resources import data_folder
from simulator.result import Account, ElementExplanation

WEAR = load_device("wear")
NARROW = (data_folder("hwconfigs") / "devices" / "wear.toml").read_text(encoding="utf-8").replace(
    "accumulator_bits = 32", 'accumulator_bits = 12\noverflow = "saturate"'
)  # fmt: skip
GRAPH = load_model("digits")


def step(account: Account, name: str) -> dict[str, Any]:
    (found,) = (s for s in account.steps if s.name == name)
    return found.numbers


def explained(
    node: str, index: tuple[int, ...], sample: int = 0, device: Any = WEAR
) -> ElementExplanation:
    return explain("digits", device, node, index, "tflite", sample=sample)


def test_every_requantizer_has_words_and_a_scale() -> None:
    assert set(REQUANTIZERS) == set(ROUNDING)
    assert set(REQUANTIZERS) == set(FRACTION_BITS)


@pytest.mark.parametrize("index", [(0, 0, 0, 5), (0, 13, 7, 1), (0, 27, 27, 15)])
@pytest.mark.parametrize("sample", [0, 2])
def test_steps_of_a_convolution(index: tuple[int, ...], sample: int) -> None:
    e = explained("conv1/Relu", index, sample)
    assert (e.node, e.operator, e.tensor, e.sample, e.index) == (
        0, "conv_2d", "conv1/Relu", sample, index
    )  # fmt: skip
    image = random_inputs(GRAPH, sample + 1, 0)["image"][sample, 0, :, :, 0].astype(int)
    node = GRAPH.nodes[0]
    weights, bias = (GRAPH.constants[n].astype(int) for n in node.inputs[1:])
    params = [GRAPH.quantization(n) for n in (*node.inputs[:2], node.outputs[0])]
    _, oy, ox, c = index
    window = np.pad(image - params[0].zero_point, 1)[oy : oy + 3, ox : ox + 3]
    total = int((window * weights[c, :, :, 0]).sum() + bias[c])
    inside = (3 - (oy in (0, 27))) * (3 - (ox in (0, 27)))
    for account in (e.ours, e.other):
        assert account is not None
        assert step(account, "sum") == {
            "terms": inside, "bias": int(bias[c]), "accumulator": total
        }  # fmt: skip
        assert step(account, "accumulator") == {"kept": total}
        scale = step(account, "scale")
        assert scale["fraction_bits"] == 31
        exact = (
            Fraction(params[0].scale) * Fraction(params[1].scales[c]) / Fraction(params[2].scale)
        )
        assert Fraction(scale["model_scale"]) == pytest.approx(exact, rel=1e-20)
        assert float(Fraction(scale["scale"])) == pytest.approx(float(exact), rel=2.0**-30)
        product = step(account, "product")
        value = total * Fraction(scale["multiplier"]) / 2 ** (31 - scale["shift"])
        tie = value.__floor__() + Fraction(1, 2)
        assert product["value"] == decimal(value)
        assert product["beyond_tie"] == decimal(value - tie)
        assert Fraction(product["model_value"]) == pytest.approx(total * exact, rel=1e-20)
        rounded = step(account, "round")["rounded"]
        assert rounded == requantize(0, total, scale["multiplier"], scale["shift"])
        assert abs(rounded - value) < 0.5 + 1e-6
        code = step(account, "code")
        assert code["code"] == max(rounded + params[2].zero_point, code["clamp_min"])
        assert account.value == code["code"] == e.returned
    assert e.operands_different == 0


def test_a_fully_connected_layer_has_a_mantissa_of_its_own() -> None:
    e = explained("logits/MatMul", (0, 7))
    assert step(e.ours, "sum")["terms"] == 96
    assert step(e.ours, "scale")["fraction_bits"] == 0
    assert step(e.ours, "round")["requantizer"] == "float64_away"
    assert step(e.ours, "code")["code"] == e.ours.value == e.returned


def test_what_a_narrow_device_keeps_is_told_from_the_exact_sum() -> None:
    device = parse_device(NARROW, "narrow")
    e = next(
        found
        for i in range(28)
        if abs(step((found := explained("conv1/Relu", (0, i, 3, 2), 0, device)).ours, "sum")[
            "accumulator"
        ]) > 5000
    )  # fmt: skip
    assert e.other is not None
    total = step(e.ours, "sum")["accumulator"]
    assert step(e.ours, "accumulator")["kept"] in range(-2048, 2048)
    assert step(e.ours, "accumulator")["kept"] != total
    assert step(e.other, "sum")["accumulator"] == step(e.other, "accumulator")["kept"] == total
    assert (e.ours.device, e.other.device) == ("wear", "exact")
    assert e.other.value == e.returned


def test_steps_of_an_addition() -> None:
    e = explained("add3/Relu", (0, 4, 5, 6))
    numbers = [step(e.ours, f"operand {i}") for i in (1, 2)]
    reals = [n["scale"] * (int(n["codes"]) - n["zero_point"]) for n in numbers]
    real = step(e.ours, "real")
    assert real["real"] == sum(reals)
    assert real["in_codes"] == real["real"] / real["scale"] + real["zero_point"]
    assert abs(max(real["in_codes"], -128) - e.ours.value) <= 1
    assert step(e.ours, "function")["left_shift"] == 20
    assert step(e.ours, "function")["multiplier_out"] > 2**30


def test_windows_and_rows() -> None:
    pool = explained("pool4/MaxPool", (0, 1, 2, 3))
    codes = [int(c) for c in step(pool.ours, "operand 1")["codes"].split()]
    assert len(codes) == 4
    assert max(codes) == pool.ours.value == pool.returned
    mean = explained("pool7/AvgPool", (0, 0, 0, 3))
    taps = [int(c) for c in step(mean.ours, "operand 1")["codes"].split()]
    assert len(taps) == 16
    assert abs(sum(taps) / 16 - mean.ours.value) <= 0.5
    soft = explained("probabilities/Softmax", (0, 4))
    assert len(step(soft.ours, "operand 1")["codes"].split()) == 10
    assert soft.ours.value == soft.returned


def test_a_second_name_says_whose_bytes_it_is() -> None:
    e = explained("flatten/Reshape", (0, 9))
    assert step(e.ours, "alias") == {"input": "pool7/AvgPool"}
    assert e.other is not None
    # Alone it is a graph output, which is copied.
    assert step(e.other, "copy")["index"] == "0,0,0,9"
    assert step(e.other, "copy")["code"] == e.ours.value == e.returned


def test_a_command_on_the_host_says_so() -> None:
    text = NARROW.replace("lanes = 8", 'lanes = 8\nfunctions = ["max_pool"]')
    e = explained("add3/Relu", (0, 1, 2, 3), 0, parse_device(text, "bare"))
    assert e.ours.steps[0].name == "host"
    assert "the vector unit has the function 'add'" in e.ours.steps[0].words


def test_a_node_is_found_by_number_name_and_tensor() -> None:
    assert explained("3", (0, 0, 0, 0)).tensor == "pw3/Conv2D"
    assert explained("pw3/Conv2D", (0, 0, 0, 0)).node == 3


@pytest.mark.parametrize(
    ("node", "index", "message"),
    [
        ("conv9", (0,), "explain: no operator 'conv9' in digits_int8.tflite; allowed: 0..13, or a "
         "name that npusim compile --graph prints"),
        ("14", (0,), "explain: no operator '14' in digits_int8.tflite; allowed: 0..13, or a name "
         "that npusim compile --graph prints"),
        ("0", (0, 1), "explain: index 0,1 in tensor 'conv1/Relu'; allowed: 0..0,0..27,0..27,0..15"),
        ("0", (0, 28, 0, 0),
         "explain: index 0,28,0,0 in tensor 'conv1/Relu'; allowed: 0..0,0..27,0..27,0..15"),
        ("12", (0, -1), "explain: index 0,-1 in tensor 'logits/MatMul'; allowed: 0..0,0..9"),
        ("12", (), "explain: index of nothing in tensor 'logits/MatMul'; allowed: 0..0,0..9"),
    ],
)  # fmt: skip
def test_what_is_not_there(node: str, index: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        explained(node, index)
    assert str(raised.value) == message


def test_what_the_other_side_returned_and_where_its_operands_differ(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change = off_by("conv2/Relu", 2, element=0, after=0)
    monkeypatch.setattr(litert, "open_runtime", lambda path, kernels: StandIn(GRAPH, change))
    arguments = ["verify", "digits", "--device", "wear", "--explain"]
    assert cli.main([*arguments, "conv2/Relu", "0,0,0,0"]) == 1
    shown = capsys.readouterr().out
    assert "its operands equal ours" in shown
    assert cli.main([*arguments, "dw3/Relu", "0,9,9,9", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["operands_different"], found["equal"]) == (1, True)
    assert cli.main([*arguments, "dw3/Relu", "0,9,9,9"]) == 0
    assert "its operands differ from ours in 1 elements: the first" in capsys.readouterr().out


def test_what_the_other_side_does_not_show(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = {"conv2/Relu"}
    monkeypatch.setattr(litert, "open_runtime", lambda path, kernels: StandIn(GRAPH, None, hidden))
    assert cli.main(["verify", "digits", "--explain", "conv2/Relu", "0,0,0,0"]) == 0
    assert "litert (stand-in) does not show it; ours is" in capsys.readouterr().out
    assert cli.main(["verify", "digits", "--explain", "dw3/Relu", "0,0,0,0", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["operands_different"] is None
    assert found["equal"] is True


def test_json_has_the_stable_names(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["verify", "digits", "--against", "tflite", "--explain", "0", "0,3,2,5"]
    assert cli.main([*arguments, "--sample", "1", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {
        "schema_version", "versions", "model", "node", "operator", "tensor", "sample", "index",
        "ours", "other", "against", "runtime_version", "returned", "operands_different", "equal",
    }  # fmt: skip
    assert (found["schema_version"], found["sample"], found["index"]) == (2, 1, [0, 3, 2, 5])
    for account in (found["ours"], found["other"]):
        assert set(account) == {"profile", "device", "steps", "value"}
        assert [s["name"] for s in account["steps"]] == [
            "sum", "accumulator", "scale", "product", "round", "code"
        ]  # fmt: skip
        assert all(set(s) == {"name", "words", "numbers"} for s in account["steps"])


def test_scales_and_decimals_are_exact() -> None:
    assert real_scale("double_rounding", 3 << 29, -4) == Fraction(3, 64)
    assert real_scale("float64_away", 5, -3) == Fraction(5, 8)
    assert real_scale("reduced_multiplier", 3 << 13, 0) == Fraction(3, 4)
    assert decimal(Fraction(-3, 8)) == "-0.375"
    assert decimal(Fraction(1, 3)) == "0." + "3" * 25
    assert decimal(Fraction(-(10**13))) == "-10000000000000"
