"""Operators that move elements, in TensorFlow Lite files."""

from __future__ import annotations

from typing import Any

import tflite

from simulator.errors import ModelError
from simulator.graph import attributes
from simulator.graph.ir import Attributes
from simulator.importers._tflite_form import (
    ANY,
    IMAGE,
    Form,
    activation,
    named,
    names_by_code,
    window,
)

_MIRRORS = names_by_code(tflite.MirrorPadMode)
_MOST_OUTPUTS = 1 << 12  # far above any model
_MOST_DIMENSIONS = 8  # as of tensors
_LIST = (0, 1)  # dimensions of a list of numbers, or of one number
_PAIRS = (2, 2)


def _numbers(values: Any) -> tuple[int, ...]:
    """A vector of an options table, as many as there are dimensions; the schema package returns 0 for an
    absent one."""
    if isinstance(values, int):
        return ()
    if len(values) > _MOST_DIMENSIONS:
        raise ModelError("", f"lists {len(values)} dimensions", f"at most {_MOST_DIMENSIONS}")
    return tuple(int(v) for v in values)


def _strided_slice(o: Any) -> Attributes:
    return attributes(
        begin_mask=o.BeginMask(), end_mask=o.EndMask(), ellipsis_mask=o.EllipsisMask(),
        new_axis_mask=o.NewAxisMask(), shrink_axis_mask=o.ShrinkAxisMask(), offset=int(o.Offset()),
    )  # fmt: skip


def _block(o: Any) -> Attributes:
    return attributes(**window(block_size=o.BlockSize()))


FORMS: dict[str, Form] = {
    "BATCH_TO_SPACE_ND": Form("", (ANY, _LIST, _PAIRS), None),
    "BROADCAST_TO": Form("", (ANY, _LIST), None, result=ANY),
    "CAST": Form("", (ANY,), None),
    "CONCATENATION": Form(
        "ConcatenationOptions", (ANY,),
        lambda o: attributes(axis=o.Axis(), activation=activation(o)),
    ),
    "DEPTH_TO_SPACE": Form("DepthToSpaceOptions", (IMAGE,), _block),
    "EXPAND_DIMS": Form("", (ANY, ANY), None),
    "GATHER": Form(
        "GatherOptions", (ANY, ANY),
        lambda o: attributes(axis=o.Axis(), batch_dims=o.BatchDims()),
        attributes(axis=0, batch_dims=0),
    ),
    "GATHER_ND": Form("", (ANY, ANY), None),
    "MIRROR_PAD": Form(
        "MirrorPadOptions", (ANY, _PAIRS),
        lambda o: attributes(mode=named(_MIRRORS, o.Mode(), "mode")),
    ),
    "PACK": Form("PackOptions", (ANY,), lambda o: attributes(axis=o.Axis())),
    "PAD": Form("", (ANY, _PAIRS), None),
    "PADV2": Form("", (ANY, _PAIRS, ANY), None),
    "RESHAPE": Form(
        "ReshapeOptions", (ANY,), lambda o: attributes(new_shape=_numbers(o.NewShapeAsNumpy())),
        (),
    ),
    "SLICE": Form("", (ANY, _LIST, _LIST), None),
    "SPACE_TO_BATCH_ND": Form("", (ANY, _LIST, _PAIRS), None),
    "SPACE_TO_DEPTH": Form("SpaceToDepthOptions", (IMAGE,), _block),
    "SPLIT": Form(
        "SplitOptions", (ANY, ANY), lambda o: attributes(num_splits=o.NumSplits()),
        outputs=(1, _MOST_OUTPUTS),
    ),
    "SPLIT_V": Form(
        "SplitVOptions", (ANY, _LIST, ANY), lambda o: attributes(num_splits=o.NumSplits()),
        outputs=(1, _MOST_OUTPUTS), operator="split",
    ),
    "SQUEEZE": Form(
        "SqueezeOptions", (ANY,),
        lambda o: attributes(squeeze_dims=_numbers(o.SqueezeDimsAsNumpy())),
        attributes(squeeze_dims=()),
    ),
    "STRIDED_SLICE": Form("StridedSliceOptions", (ANY, _LIST, _LIST, _LIST), _strided_slice),
    "TILE": Form("", (ANY, _LIST), None),
    "TRANSPOSE": Form("", (ANY, _LIST), None),
    "UNPACK": Form(
        "UnpackOptions", (ANY,), lambda o: attributes(axis=o.Axis(), num=o.Num()),
        outputs=(1, _MOST_OUTPUTS),
    ),
}  # fmt: skip
