"""How each TensorFlow Lite operator is written in a file: its options table and what that may hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tflite

from simulator.errors import ModelError
from simulator.graph import attributes
from simulator.graph.ir import Attributes

# Strides, dilations and pooling windows: far above any model's, far below what overflows a count.
_LONGEST = 32767


def names_by_code(enum: type) -> dict[int, str]:
    """Number -> name of a schema enumeration."""
    return {v: k for k, v in vars(enum).items() if isinstance(v, int) and not k.startswith("_")}


_ACTIVATIONS = names_by_code(tflite.ActivationFunctionType)
_PADDINGS = names_by_code(tflite.Padding)
_WEIGHT_FORMATS = names_by_code(tflite.FullyConnectedOptionsWeightsFormat)
_OPTIONS = names_by_code(tflite.BuiltinOptions)


class Form(NamedTuple):
    """One operator as files hold it. ``dimensions``: fewest and most, of each leading input."""

    options: str
    dimensions: tuple[tuple[int, int], ...]
    read: Callable[[Any], Attributes] | None
    defaults: Attributes | None = (
        None  # what an absent options table stands for, if it may be absent
    )


def _named(names: dict[int, str], number: int, what: str) -> str:
    if number not in names:
        raise ModelError("", f"{what} number {number}", ", ".join(names.values()))
    return names[number]


def _window(**values: int) -> dict[str, int]:
    for key, value in values.items():
        if not 1 <= value <= _LONGEST:
            raise ModelError("", f"{key} = {value}", f"1..{_LONGEST}")
    return values


def _activation(options: Any) -> str:
    return _named(_ACTIVATIONS, options.FusedActivationFunction(), "fused activation")


def _convolution(o: Any) -> Attributes:
    return attributes(
        padding=_named(_PADDINGS, o.Padding(), "padding"), activation=_activation(o),
        **_window(
            stride_h=o.StrideH(), stride_w=o.StrideW(), dilation_h=o.DilationHFactor(),
            dilation_w=o.DilationWFactor(),
        ),
    )  # fmt: skip


def _pooling(o: Any) -> Attributes:
    return attributes(
        padding=_named(_PADDINGS, o.Padding(), "padding"), activation=_activation(o),
        **_window(
            stride_h=o.StrideH(), stride_w=o.StrideW(), kernel_h=o.FilterHeight(),
            kernel_w=o.FilterWidth(),
        ),
    )  # fmt: skip


def _fully_connected(o: Any) -> Attributes:
    return attributes(
        activation=_activation(o),
        weights_format=_named(_WEIGHT_FORMATS, o.WeightsFormat(), "weights format"),
        keep_dims=int(o.KeepNumDims()),
    )


def _softmax(o: Any) -> Attributes:
    beta = float(o.Beta())
    if not (math.isfinite(beta) and beta > 0):
        raise ModelError("", f"beta = {beta}", "finite and above 0")
    return attributes(beta=beta)


_IMAGE = (4, 4)
_ROWS = (1, 8)
_ANY = (0, 8)

FORMS: dict[str, Form] = {
    "CONV_2D": Form("Conv2DOptions", (_IMAGE, _IMAGE), _convolution),
    "DEPTHWISE_CONV_2D": Form("DepthwiseConv2DOptions", (_IMAGE, _IMAGE), _convolution),
    "FULLY_CONNECTED": Form("FullyConnectedOptions", (_ROWS, (2, 2)), _fully_connected),
    "ADD": Form(
        "AddOptions", (_ANY, _ANY), lambda o: attributes(activation=_activation(o)),
        attributes(activation="NONE"),
    ),
    "AVERAGE_POOL_2D": Form("Pool2DOptions", (_IMAGE,), _pooling),
    "MAX_POOL_2D": Form("Pool2DOptions", (_IMAGE,), _pooling),
    "RESHAPE": Form("", (_ANY,), None),
    "SOFTMAX": Form("SoftmaxOptions", (_ROWS,), _softmax),
    "QUANTIZE": Form("", (_ANY,), None),
    "RELU": Form("", (_ANY,), None),
    "RELU6": Form("", (_ANY,), None),
    "RELU_N1_TO_1": Form("", (_ANY,), None),
    "PAD": Form("", (_ANY, (2, 2)), None),
}  # fmt: skip


def read_attributes(operator: Any, form: Form) -> Attributes:
    """The attributes in an operator's options table; a :class:`ModelError` without a place otherwise."""
    if form.read is None:
        return ()
    table = operator.BuiltinOptions()
    given = operator.BuiltinOptionsType()
    if table is None or given == tflite.BuiltinOptions.NONE:
        if form.defaults is None:
            raise ModelError("", "has no options", form.options)
        return form.defaults
    if _OPTIONS.get(given) != form.options:
        name = _OPTIONS.get(given, f"number {given}")
        raise ModelError("", f"its options are of type {name}", form.options)
    options = getattr(tflite, form.options)()
    options.Init(table.Bytes, table.Pos)
    return form.read(options)
