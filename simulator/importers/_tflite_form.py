"""The form in which a file holds an operator, and what the readers of options tables share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tflite

from simulator.errors import ModelError
from simulator.graph.ir import Attributes

# Strides, dilations and pooling windows: far above any model's, far below what overflows a count.
_LONGEST = 32767


def names_by_code(enum: type) -> dict[int, str]:
    """Number -> name of a schema enumeration."""
    return {v: k for k, v in vars(enum).items() if isinstance(v, int) and not k.startswith("_")}


_ACTIVATIONS = names_by_code(tflite.ActivationFunctionType)
PADDINGS = names_by_code(tflite.Padding)


class Form(NamedTuple):
    """One operator as files hold it.

    ``dimensions``: fewest and most, of each leading input; ``result`` of the outputs, where those differ
    from the first input's. ``defaults``: what an absent options table stands for, if it may be absent.
    ``outputs``: fewest and most. ``operator``: the name of ours, if not the same in lower case.
    """

    options: str
    dimensions: tuple[tuple[int, int], ...]
    read: Callable[[Any], Attributes] | None
    defaults: Attributes | None = None
    outputs: tuple[int, int] = (1, 1)
    result: tuple[int, int] | None = None
    operator: str = ""


def named(names: dict[int, str], number: int, what: str) -> str:
    """The name of ``number``, or an error about ``what``."""
    if number not in names:
        raise ModelError("", f"{what} number {number}", ", ".join(names.values()))
    return names[number]


def window(**values: int) -> dict[str, int]:
    """``values`` unchanged, each within 1.._LONGEST."""
    for key, value in values.items():
        if not 1 <= value <= _LONGEST:
            raise ModelError("", f"{key} = {value}", f"1..{_LONGEST}")
    return values


def activation(options: Any) -> str:
    """The fused activation of an options table."""
    return named(_ACTIVATIONS, options.FusedActivationFunction(), "fused activation")


# The options of a custom operator: bytes, which ``Form.read`` is given.
CUSTOM = "custom options"

# Fewest and most dimensions.
IMAGE = (4, 4)
ROWS = (1, 8)
ANY = (0, 8)
