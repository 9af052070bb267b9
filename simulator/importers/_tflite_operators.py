"""Every operator that is read from TensorFlow Lite files, and its attributes."""

from __future__ import annotations

from typing import Any

import tflite

from simulator.errors import ModelError
from simulator.graph.ir import Attributes
from simulator.importers import (
    _tflite_elementwise,
    _tflite_movement,
    _tflite_products,
    _tflite_recurrent,
    _tflite_reductions,
)
from simulator.importers._memory import Allowance
from simulator.importers._tflite_form import CUSTOM, Form, names_by_code

_OPTIONS = names_by_code(tflite.BuiltinOptions)

FORMS: dict[str, Form] = {
    **_tflite_products.FORMS, **_tflite_movement.FORMS, **_tflite_elementwise.FORMS,
    **_tflite_reductions.FORMS, **_tflite_recurrent.FORMS,
}  # fmt: skip


def read_attributes(operator: Any, form: Form, allowance: Allowance) -> Attributes:
    """The attributes in an operator's options table; a :class:`ModelError` without a place otherwise."""
    if form.read is None:
        return ()
    if form.options == CUSTOM:
        allowance.take(operator.CustomOptionsLength())
        return form.read(bytes(operator.CustomOptionsAsNumpy()))
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
