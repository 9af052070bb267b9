"""Convolutions and products in TensorFlow Lite files."""

from __future__ import annotations

from typing import Any

import tflite

from simulator.graph import attributes
from simulator.graph.ir import Attributes
from simulator.importers._tflite_form import (
    IMAGE,
    PADDINGS,
    ROWS,
    Form,
    activation,
    named,
    names_by_code,
    window,
)

_WEIGHT_FORMATS = names_by_code(tflite.FullyConnectedOptionsWeightsFormat)
_TYPES = names_by_code(tflite.TensorType)


def _bias_type(options: Any) -> Attributes:
    """What the bias of 16-bit inputs is said to be; FLOAT32, the schema's default, says nothing."""
    said = named(_TYPES, options.QuantizedBiasType(), "type of the bias")
    return () if said == "FLOAT32" else attributes(bias_type=said)


def _depthwise(o: Any) -> Attributes:
    return attributes(
        padding=named(PADDINGS, o.Padding(), "padding"), activation=activation(o),
        **window(
            stride_h=o.StrideH(), stride_w=o.StrideW(), dilation_h=o.DilationHFactor(),
            dilation_w=o.DilationWFactor(),
        ),
    )  # fmt: skip


def _convolution(o: Any) -> Attributes:
    return (*_depthwise(o), *_bias_type(o))


def _transpose_conv(o: Any) -> Attributes:
    padding = named(PADDINGS, o.Padding(), "padding")
    values = attributes(
        same=int(padding == "SAME"), activation=activation(o),
        **window(stride_h=o.StrideH(), stride_w=o.StrideW()),
    )  # fmt: skip
    return (*values, *_bias_type(o))


def _fully_connected(o: Any) -> Attributes:
    values = attributes(
        activation=activation(o),
        weights_format=named(_WEIGHT_FORMATS, o.WeightsFormat(), "weights format"),
        keep_dims=int(o.KeepNumDims()),
    )
    return (*values, *_bias_type(o))


def _batch_matmul(o: Any) -> Attributes:
    return attributes(adj_x=int(o.AdjX()), adj_y=int(o.AdjY()))


_MATRICES = (2, 5)
FORMS: dict[str, Form] = {
    "CONV_2D": Form("Conv2DOptions", (IMAGE, IMAGE), _convolution),
    "DEPTHWISE_CONV_2D": Form("DepthwiseConv2DOptions", (IMAGE, IMAGE), _depthwise),
    "FULLY_CONNECTED": Form("FullyConnectedOptions", (ROWS, (2, 2)), _fully_connected),
    "TRANSPOSE_CONV": Form(
        "TransposeConvOptions", ((1, 1), IMAGE, IMAGE), _transpose_conv, result=IMAGE
    ),
    "BATCH_MATMUL": Form("BatchMatMulOptions", (_MATRICES, _MATRICES), _batch_matmul),
}
