"""Comparisons and explanations in words."""

from __future__ import annotations

from dataclasses import replace

from simulator.datapath.explain import Explanation
from simulator.report.machine_readable import (
    element_equal,
    explanation_to_dict,
    verification_to_dict,
)
from simulator.report.verification import explanation_report, verification_report
from simulator.result import (
    Account,
    Difference,
    ElementExplanation,
    Place,
    Step,
    TensorComparison,
    Verification,
)

EQUAL = TensorComparison("conv;bias", "conv_2d", "codes", 1200, 1200, 0, 0, 0, None, "run")
APART = TensorComparison("sum", "add", "codes", 1000, 990, 7, 3, 4, Place(2, (0, 5)), "chosen")
REAL = TensorComparison("logits", "dequantize", "ulp", 10, 9, 1, 0, 1, Place(2, (3,)), "run")
HIDDEN = TensorComparison(
    "t", "pad", "codes", 0, 0, 0, 0, 0, None, "movement", "the runtime does not show it"
)
WHY = Explanation(5, 40, 31, "double_rounding", 1 << 30, -3, 2, -128, 127)
FIRST = Difference(2, "sum", 1, "add", (0, 5), 7, 9, WHY)


def verification(*tensors: TensorComparison, first: Difference | None = None) -> Verification:
    different = sum(t.different for t in tensors)
    return Verification(
        "m.tflite", "wear", "tflite", "litert", "LiteRT 2", 3, tensors, different, first, ()
    )


def test_an_equal_model_is_called_equal() -> None:
    text = verification_report(verification(EQUAL))
    assert text.startswith(
        "m.tflite in profile tflite on wear against litert (LiteRT 2), 3 samples\n\ntensor"
    )
    assert text.endswith("\n\nequal: 1 tensors, 1,200 elements")
    assert "ulp" not in text
    row = text.splitlines()[4].split()
    assert row == ["conv", "conv_2d", "1,200", "1,200", "0", "0", "0", "run"]


def test_differences_are_counted_placed_and_explained() -> None:
    text = verification_report(verification(EQUAL, APART, first=FIRST))
    row = text.splitlines()[5].split()
    assert row == [
        "sum",
        "add",
        "1,000",
        "990",
        "7",
        "3",
        "4",
        "sample",
        "2",
        "[0,",
        "5]",
        "chosen",
    ]
    assert text.endswith(
        "10 of 2,200 elements differ\n"
        "first difference: sample 2, operator 1, add 'sum' [0, 5]: ours 7, theirs 9\n"
        "  ours: accumulator 40 (bias 5), kept as 31, double_rounding multiplier 1073741824 shift -3, "
        "zero point 2, clamp -128..127\n"
        "  step by step: --explain 1 0,5 --sample 2"
    )


def test_what_is_our_own_is_said_to_be() -> None:
    assert "chosen: computed by this project's own" in verification_report(verification(APART))
    assert "chosen" not in verification_report(verification(EQUAL))


def test_a_single_number_has_an_empty_index() -> None:
    first = replace(FIRST, index=(), explanation=None)
    text = verification_report(verification(APART, first=first))
    assert text.endswith("step by step: --explain 1 '' --sample 2")


def test_hidden_tensors_are_neither_equal_nor_different() -> None:
    text = verification_report(verification(EQUAL, HIDDEN))
    assert text.endswith("\n\nequal: 1 tensors, 1,200 elements; 1 tensors not visible")
    row = text.splitlines()[5].split()
    assert row[:7] == ["t", "pad", "-", "-", "-", "-", "-"]
    assert " ".join(row[7:]) == "not visible: the runtime does not show it movement"


def test_float_differences_are_in_ulp_and_said_to_be() -> None:
    text = verification_report(replace(verification(REAL), fused=("relu",), samples=1))
    assert "1 ulp  sample 2 [3]" in text
    assert "ulp: float32 numbers apart; an equal one has the same bits" in text
    assert "fused into the operator before, not compared: relu" in text
    assert ", 1 sample\n" in text


OURS = Account("tflite", "wear", (Step("sum", "products", {"terms": 3, "bias": -1}),), 7)
ELEMENT = ElementExplanation(
    "m.tflite", 1, "add", "sum", 2, (0, 5), OURS, replace(OURS, profile="ruy", device="exact"),
    "litert", "LiteRT 2", 9, 0,
)  # fmt: skip


def test_an_explanation_in_words() -> None:
    assert explanation_report(ELEMENT).splitlines() == [
        "m.tflite, operator 1 (add), tensor 'sum', sample 2, element [0, 5]",
        "",
        "ours, profile tflite, device wear:",
        "  sum          products",
        "               terms 3, bias -1",
        "  = 7",
        "",
        "the same operands, profile ruy, device exact:",
        "  sum          products",
        "               terms 3, bias -1",
        "  = 7",
        "",
        "litert (LiteRT 2) has 9; ours is 7",
        "its operands equal ours",
    ]


def test_an_explanation_without_the_other_side() -> None:
    text = explanation_report(replace(ELEMENT, other=None, returned=None, operands_different=None))
    assert text.endswith(
        "litert (LiteRT 2) does not show it; ours is 7\n"
        "whether its operands equal ours is not visible"
    )
    assert "the same operands" not in text


def test_an_element_is_equal_in_its_bits() -> None:
    def equal(ours: float, theirs: float | None) -> bool | None:
        return element_equal(replace(ELEMENT, ours=replace(OURS, value=ours), returned=theirs))

    nan = float("nan")
    assert (equal(7, 7), equal(7, 9), equal(7, None)) == (True, False, None)
    assert (equal(0.0, -0.0), equal(nan, nan), equal(nan, 1.0)) == (False, True, False)


def test_json_has_no_number_that_json_does_not_know() -> None:
    nan, infinity = float("nan"), float("inf")
    step = Step("real", "", {"real": nan})
    element = replace(ELEMENT, ours=Account("tflite", "wear", (step,), infinity), returned=nan)
    found = explanation_to_dict(element)
    assert (found["returned"], found["ours"]["value"]) == ("nan", "inf")
    assert found["ours"]["steps"][0]["numbers"] == {"real": "nan"}
    assert found["equal"] is False
    wrong = verification(REAL, first=replace(FIRST, ours=nan, theirs=-infinity))
    first = verification_to_dict(wrong)["first_difference"]
    assert (first["ours"], first["theirs"]) == ("nan", "-inf")
