"""Samples of a data set to the codes of a model's input, by a stated rule."""

from __future__ import annotations

import numpy as np

from simulator.errors import DataError, UsageError
from simulator.program.program import Placement
from simulator.workload import samples_as

RULES = {
    "auto": "codes if the types are equal; pixels if x is uint8, the input int8 with zero point -128; "
    "real if x is float; otherwise an error",
    "codes": "x holds the input's codes already",
    "pixels": "uint8 pixels to int8: x - 128",
    "unsigned": "int8 codes to uint8: x + 128",
    "real": "x holds real values: code = round(x / scale) + zero point, ties away from 0, clamped",
}


def choose_rule(x: np.ndarray, place: Placement, rule: str, where: str) -> str:
    """The rule to use: ``rule`` itself, or what ``auto`` stands for."""
    if rule not in RULES:
        raise UsageError("inputs", f"rule {rule!r}", ", ".join(RULES))
    if place.spec.real and (rule not in ("auto", "real") or x.dtype.kind != "f"):
        given = f"{x.dtype} by the rule {rule!r} for float32 input {place.name!r}"
        raise DataError(where, given, "real numbers, by the rule real")
    if rule != "auto":
        return rule
    if x.dtype.kind == "f":
        return "real"
    if x.dtype == place.spec.container:
        return "codes"
    zero_point = place.quantization.zero_point if place.quantization else 0
    if x.dtype == np.uint8 and place.spec.dtype == "i8" and zero_point == -128:
        return "pixels"
    raise DataError(
        where,
        f"no stated rule brings {x.dtype} to input {place.name!r} ({place.spec.dtype}, zero point "
        f"{zero_point})",
        "an explicit rule: codes, pixels, unsigned or real",
    )


def to_codes(x: np.ndarray, place: Placement, rule: str, where: str) -> np.ndarray:
    """(samples, ...) of a data set -> (samples, *input shape) codes.

    The axes of a sample are brought to those of the input (``workload.sample_axes``).
    """
    spec = place.spec
    flat = samples_as(x, spec.shape, where)
    chosen = choose_rule(x, place, rule, where)
    if spec.real:
        return flat.astype(np.float32)
    if chosen == "real":
        assert place.quantization is not None
        with np.errstate(over="ignore"):  # beyond every code, and clamped like it
            scaled = flat.astype(np.float64) / place.quantization.scale
        scaled = np.clip(scaled, -(2.0**40), 2.0**40)
        whole = np.trunc(scaled)
        # Adding 0.5 before cutting would round 0.49999999999999994 up.
        codes = whole + np.copysign(np.abs(scaled - whole) >= 0.5, scaled)
        codes += place.quantization.zero_point
        return np.clip(codes, spec.minimum, spec.maximum).astype(spec.container)
    if flat.dtype.kind == "f":
        raise DataError(where, f"x is {x.dtype}", f"integers for the rule {chosen!r}")
    shift = {"pixels": 128, "unsigned": -128}.get(chosen, 0)
    low, high = int(flat.min()) - shift, int(flat.max()) - shift
    if low < spec.minimum or high > spec.maximum:
        raise DataError(
            where, f"codes {low}..{high} by the rule {chosen!r}", f"{spec.minimum}..{spec.maximum}"
        )
    return (flat.astype(np.int64) - shift).astype(spec.container)
