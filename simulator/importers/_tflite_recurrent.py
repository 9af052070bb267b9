"""Recurrent operators in TensorFlow Lite files."""

from __future__ import annotations

import math
from typing import Any

from simulator.errors import ModelError
from simulator.graph import attributes
from simulator.graph.ir import Attributes
from simulator.importers._tflite_form import Form, activation, window

_MATRIX = (2, 2)
_SEQUENCE = (3, 3)


def _clips(**values: float) -> dict[str, float]:
    """``values`` unchanged, each finite and not negative."""
    for key, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ModelError("", f"{key} = {value}", "finite and not negative; 0: no clipping")
    return values


def _lstm(o: Any) -> Attributes:
    clips = _clips(cell_clip=float(o.CellClip()), proj_clip=float(o.ProjClip()))
    return attributes(
        activation=activation(o), time_major=int(o.TimeMajor()),
        diagonal=int(o.DiagonalRecurrentTensors()), **clips,
    )  # fmt: skip


def _svdf(o: Any) -> Attributes:
    return attributes(activation=activation(o), **window(rank=o.Rank()))


FORMS: dict[str, Form] = {
    "SVDF": Form("SVDFOptions", (_MATRIX, _MATRIX, _MATRIX), _svdf),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Form("UnidirectionalSequenceLSTMOptions", (_SEQUENCE,), _lstm),
}
