"""Pooling, reductions, softmax and resizing in TensorFlow Lite files."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from simulator.errors import ModelError
from simulator.graph import attributes
from simulator.graph.ir import Attributes
from simulator.importers._tflite_form import (
    ANY,
    CUSTOM,
    IMAGE,
    PADDINGS,
    ROWS,
    Form,
    activation,
    named,
    window,
)


def _pooling(o: Any) -> Attributes:
    return attributes(
        padding=named(PADDINGS, o.Padding(), "padding"), activation=activation(o),
        **window(
            stride_h=o.StrideH(), stride_w=o.StrideW(), kernel_h=o.FilterHeight(),
            kernel_w=o.FilterWidth(),
        ),
    )  # fmt: skip


def _softmax(o: Any) -> Attributes:
    beta = float(o.Beta())
    if not (math.isfinite(beta) and beta > 0):
        raise ModelError("", f"beta = {beta}", "finite and above 0")
    return attributes(beta=beta)


def _reducer(o: Any) -> Attributes:
    return attributes(keep_dims=int(o.KeepDims()))


def _resizing(o: Any) -> Attributes:
    return attributes(
        align_corners=int(o.AlignCorners()), half_pixel_centers=int(o.HalfPixelCenters())
    )


class _Numbers:
    """A flexbuffer map, of which only what is asked for is read.

    Its vectors may name each other any number of times, so that reading all of it need not end.
    """

    def __init__(self, options: bytes) -> None:
        self.found: Any = flexbuffers.GetRoot(options).AsMap

    def get(self, key: str, default: float) -> float:
        try:
            value = self.found[key]
        except KeyError:
            return default
        if value.IsFloat:
            return value.AsFloat
        return value.AsBool if value.IsBool else value.AsInt

    def __getitem__(self, key: str) -> float:
        return self.get(key, 0)


def _detection(options: bytes) -> Attributes:
    """A flexbuffer map; what it does not hold is 0, but for ``detections_per_class``."""
    try:
        found = _Numbers(options)
        integers = ("max_detections", "max_classes_per_detection", "num_classes")
        reals = (
            "nms_score_threshold", "nms_iou_threshold", "y_scale", "x_scale", "h_scale", "w_scale"
        )  # fmt: skip
        return attributes(
            regular=int(bool(found["use_regular_nms"])),
            detections_per_class=int(found.get("detections_per_class", 100)),
            **{key: int(found[key]) for key in integers},
            **{key: float(np.float32(found[key])) for key in reals},
        )  # fmt: skip
    except MemoryError:
        raise
    except Exception:  # the reader of flexbuffers checks nothing
        given = f"{len(options)} bytes of options that cannot be read"
        raise ModelError("", given, "a flexbuffer map of numbers") from None


_REDUCTION = Form("ReducerOptions", (ROWS, (0, 1)), _reducer, attributes(keep_dims=0), result=ANY)
# The output's type says all that the options would.
_PLACE = Form("", (ROWS, (0, 1)), None, result=ANY)

FORMS: dict[str, Form] = {
    "AVERAGE_POOL_2D": Form("Pool2DOptions", (IMAGE,), _pooling),
    "MAX_POOL_2D": Form("Pool2DOptions", (IMAGE,), _pooling),
    "SOFTMAX": Form("SoftmaxOptions", (ROWS,), _softmax),
    "MEAN": _REDUCTION,
    "SUM": _REDUCTION,
    "REDUCE_MAX": _REDUCTION,
    "REDUCE_MIN": _REDUCTION,
    "ARG_MAX": _PLACE,
    "ARG_MIN": _PLACE,
    "RESIZE_BILINEAR": Form("ResizeBilinearOptions", (IMAGE, (1, 1)), _resizing, result=IMAGE),
    "RESIZE_NEAREST_NEIGHBOR": Form(
        "ResizeNearestNeighborOptions", (IMAGE, (1, 1)), _resizing, result=IMAGE
    ),
    "CUSTOM TFLite_Detection_PostProcess": Form(
        CUSTOM, ((3, 3), (3, 3), (2, 2)), _detection, outputs=(4, 4), result=(1, 3),
        operator="detection_postprocess",
    ),
}  # fmt: skip
