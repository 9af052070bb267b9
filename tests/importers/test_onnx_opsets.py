"""What older operator sets write as attributes and newer ones as inputs reads the same."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_builder import MICROSOFT, OnnxBuilder
from onnx_models import (
    lines,
)


@pytest.mark.parametrize(
    ("operator", "attrs", "inputs"),
    [
        ("Squeeze", {"axes": [0, 2]}, {}),
        ("Squeeze", {}, {"a": [0, 2]}),
        ("Slice", {"starts": [1], "ends": [9], "axes": [1]}, {}),
        ("Slice", {}, {"s": [1], "e": [9], "a": [1]}),
        ("Pad", {"pads": [0, 0, 0, 1, 0, 0, 0, 2]}, {}),
        ("Pad", {}, {"p": [0, 0, 0, 1, 0, 0, 0, 2]}),
        ("Split", {"split": [1, 3], "axis": 1}, {}),
        ("Split", {"axis": 1}, {"p": [1, 3]}),
        ("Clip", {"min": -0.5, "max": 0.5}, {}),
        ("Clip", {}, {"lo": -0.5, "hi": 0.5}),
        ("ReduceMean", {"axes": [2, 3]}, {}),
        ("ReduceMean", {}, {"a": [2, 3]}),
    ],
)
def test_old_attributes_and_new_inputs_mean_the_same(
    operator: str, attrs: dict, inputs: dict
) -> None:
    def graph(opset: int, attrs: dict, inputs: dict) -> list[str]:
        b = OnnxBuilder(opset)
        b.input("x", (1, 4, 1, 8))
        b.node("QuantizeLinear", ["x", *b.scale("x", 0.02, 120, np.uint8)], "x_q", _domain(opset))
        stated = ["x_scale", "x_zero_point"]
        b.node("DequantizeLinear", ["x_q", *stated], "x_dq", _domain(opset))
        for name, value in inputs.items():
            b.constant(name, value, np.float32 if isinstance(value, float) else np.int64)
        outputs = ["y", "z"] if operator == "Split" else ["y"]
        b.node(operator, ["x_dq", *inputs], outputs, **attrs)
        for name in outputs:
            b.node("QuantizeLinear", [name, *stated], f"{name}_q", _domain(opset))
            b.output(f"{name}_q", "UINT8")
        return lines(b.write())

    old = {"Squeeze": 12, "Slice": 9, "Pad": 10, "Split": 12, "Clip": 10, "ReduceMean": 17}
    new = {"Slice": 10, "ReduceMean": 18}
    version = new.get(operator, 18) if inputs else old[operator]
    other = old[operator] if inputs else new.get(operator, 18)
    mine = graph(version, attrs, inputs)
    names = {
        "Squeeze": "a",
        "Slice": "s",
        "Pad": "p",
        "Split": "p",
        "Clip": "lo",
        "ReduceMean": "a",
    }
    assert names[operator]
    again = graph(other, *_other_form(operator, attrs, inputs))
    assert mine == again
    assert len(mine) > 1


def _domain(opset: int) -> str:
    """QuantizeLinear is ONNX's from operator set 10 on, ONNX Runtime's own before."""
    return MICROSOFT if opset < 10 else ""


def _other_form(operator: str, attrs: dict, inputs: dict) -> tuple[dict, dict]:
    kept = {k: v for k, v in attrs.items() if operator == "Split" and k == "axis"}
    keys = {
        "Squeeze": {"a": "axes"}, "Slice": {"s": "starts", "e": "ends", "a": "axes"},
        "Pad": {"p": "pads"}, "Split": {"p": "split"}, "Clip": {"lo": "min", "hi": "max"},
        "ReduceMean": {"a": "axes"},
    }[operator]  # fmt: skip
    if inputs:
        return {**kept, **{keys[k]: v for k, v in inputs.items()}}, {}
    return kept, {name: attrs[key] for name, key in keys.items()}
