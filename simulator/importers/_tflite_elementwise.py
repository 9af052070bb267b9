"""Element-wise operators in TensorFlow Lite files."""

from __future__ import annotations

from typing import Any

from simulator.graph import attributes
from simulator.graph.ir import Attributes
from simulator.importers._tflite_form import ANY, Form, activation


def _sum(o: Any) -> Attributes:
    return attributes(activation=activation(o), pot_scale_int16=int(o.PotScaleInt16()))


_BINARY, _UNARY = (ANY, ANY), (ANY,)
_NO_ACTIVATION = attributes(activation="NONE")

FORMS: dict[str, Form] = {
    "ABS": Form("", _UNARY, None),
    "ADD": Form("AddOptions", _BINARY, _sum, attributes(activation="NONE", pot_scale_int16=1)),
    "DEQUANTIZE": Form("", _UNARY, None),
    "DIV": Form(
        "DivOptions", _BINARY, lambda o: attributes(activation=activation(o)), _NO_ACTIVATION
    ),
    "EXP": Form("", _UNARY, None),
    "FLOOR_DIV": Form("", _BINARY, None),
    "GELU": Form(
        "GeluOptions", _UNARY, lambda o: attributes(approximate=int(o.Approximate())),
        attributes(approximate=0),
    ),
    "HARD_SWISH": Form("", _UNARY, None),
    "LEAKY_RELU": Form("LeakyReluOptions", _UNARY, lambda o: attributes(alpha=float(o.Alpha()))),
    "LOGISTIC": Form("", _UNARY, None),
    "MAXIMUM": Form("", _BINARY, None),
    "MINIMUM": Form("", _BINARY, None),
    "MUL": Form(
        "MulOptions", _BINARY, lambda o: attributes(activation=activation(o)), _NO_ACTIVATION
    ),
    "PRELU": Form("", _BINARY, None),
    "QUANTIZE": Form("", _UNARY, None),
    "RELU": Form("", _UNARY, None),
    "RELU6": Form("", _UNARY, None),
    "RELU_N1_TO_1": Form("", _UNARY, None),
    "RSQRT": Form("", _UNARY, None),
    "SQRT": Form("", _UNARY, None),
    "SUB": Form("SubOptions", _BINARY, _sum, attributes(activation="NONE", pot_scale_int16=1)),
    "TANH": Form("", _UNARY, None),
}  # fmt: skip
